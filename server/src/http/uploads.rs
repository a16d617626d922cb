//! Uploads: videos on their way in, by tus 1.0. The upload's id becomes the video's id.
//!
//! A byte is acknowledged only after it is on disk: data first, then the row with the offset. The last
//! piece is answered after the file was probed and one frame decoded; what is refused leaves nothing.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue, HttpDate};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, delete, head, options, patch, post, web};
use actors::failpoints::{self, Point};
use chrono::{DateTime, Utc};
use config::Limits;
use entities::uploads::{self, NewUpload, Upload};
use entities::{TenantId, VideoId, videos};
use utoipa_actix_web::service_config::ServiceConfig;

use super::extract::{Editor, Id, Principal};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;
use super::tus::{self, Checksum, Metadata};
use super::upload_writer::{self, UploadWriter, Written};

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(upload_capabilities)
        .service(begin_upload)
        .service(read_upload_offset)
        .service(append_to_upload)
        .service(terminate_upload);
}

/// A piece of a file, in the OpenAPI document: bytes.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Piece(#[expect(dead_code, reason = "only described, never read")] Vec<u8>);

/// Answers the protocol version, the extensions and the size limit.
#[utoipa::path(tag = "uploads", security(()), responses((status = 204, description = "in the headers `Tus-Version`, `Tus-Extension`, `Tus-Checksum-Algorithm`, `Tus-Max-Size`"), ReadRefusals))]
#[options("/uploads")]
pub async fn upload_capabilities(state: web::Data<State>) -> HttpResponse {
    answer(StatusCode::NO_CONTENT)
        .insert_header((tus::TUS_VERSION, tus::VERSION))
        .insert_header((tus::TUS_EXTENSION, tus::EXTENSIONS))
        .insert_header((tus::TUS_CHECKSUM_ALGORITHM, tus::CHECKSUM_ALGORITHMS))
        .insert_header((tus::TUS_MAX_SIZE, state.node.live.borrow().live.limits.upload_bytes.to_string()))
        .finish()
}

/// Begins an upload; with `Content-Type: application/offset+octet-stream` the body is its first piece.
#[utoipa::path(
    tag = "uploads",
    params(
        ("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$", description = "`1.0.0`"),
        ("Upload-Length" = u64, Header, description = "bytes of the whole file"),
        ("Upload-Metadata" = Option<String>, Header, description = "`filename` and its base64 value"),
        ("Upload-Checksum" = Option<String>, Header, pattern = "^(sha1|sha256) [A-Za-z0-9+/]+={0,2}$", description = "`sha1` or `sha256`, a blank and the digest of the first piece in base64")
    ),
    request_body(content = Option<Piece>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 201, description = "begun; `Location` is where its pieces go", headers(("Location" = String), ("Upload-Offset" = u64), ("Upload-Expires" = String))),
        (status = 412, description = "another version of tus"),
        (status = 460, description = "the piece does not have its `Upload-Checksum`; nothing was begun"),
        WriteRefusals
    )
)]
#[post("/uploads")]
pub async fn begin_upload(
    editor: Editor,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    begin(&editor, &request, payload, state).await.map_err(tus::refusal)
}

async fn begin(
    editor: &Principal,
    request: &HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    tus::check_version(request)?;
    let length = tus::length(request.headers())?;
    let metadata = Metadata::from_headers(request.headers())?;
    let checksum = Checksum::from_headers(request.headers())?;
    let limits = limits_of(&state, editor.tenant).await?;
    check_size(&limits, length)?;
    let has_piece = tus::is_piece(request.headers());
    if !has_piece && content_length(request).is_some_and(|bytes| bytes > 0) {
        tus::check_content_type(request)?;
    }
    if has_piece {
        check_piece(request, length)?;
    }
    let new = NewUpload {
        tenant_id: editor.tenant,
        length: i64::try_from(length).map_err(|_| Problem::too_large("the length is absurd"))?,
        metadata: metadata.to_json(),
        expires_at: upload_writer::expires_at(),
    };
    failpoints::at(Point::UploadBeginning).map_err(|error| Problem::io("beginning an upload", &error))?;
    let upload = uploads::create(&state.db, new, limits.storage_bytes).await?.map_err(Problem::from)?;
    let location = format!("/api/v1/uploads/{}", upload.id);
    let written = if has_piece {
        let lock = state.writing.lock(upload.id).ok_or_else(locked)?;
        let (id, shared) = (upload.id, state.clone());
        match UploadWriter::new(state, upload, lock, checksum).write(payload).await {
            // Its address was not answered, so it cannot be resumed.
            Err(problem) if problem.status() == tus::checksum_mismatch().status() => {
                uploads::delete(&shared.db, editor.tenant, id).await?;
                upload_writer::remove(upload_writer::path(&shared, editor.tenant, id)).await;
                return Err(problem);
            }
            written => written?,
        }
    } else {
        Written::Part { received: 0, expires_at: upload.expires_at }
    };
    Ok(acknowledge(StatusCode::CREATED, &written).insert_header((header::LOCATION, location)).finish())
}

/// Answers how many bytes have arrived. An older request to the upload that has received none for a second is ended.
#[utoipa::path(
    tag = "uploads",
    params(("id" = VideoId, Path), ("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$", description = "`1.0.0`")),
    responses(
        (status = 200, description = "where to go on", headers(("Upload-Offset" = u64), ("Upload-Length" = u64), ("Upload-Expires" = String))),
        (status = 412, description = "another version of tus"),
        WriteRefusals
    )
)]
#[head("/uploads/{id}")]
pub async fn read_upload_offset(
    editor: Editor,
    id: Id<VideoId>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    answer_offset(&editor, id.0, &request, &state).await.map_err(tus::refusal)
}

async fn answer_offset(
    editor: &Principal,
    id: VideoId,
    request: &HttpRequest,
    state: &State,
) -> Result<HttpResponse, Problem> {
    tus::check_version(request)?;
    let db = &state.db;
    let mut response = answer(StatusCode::OK);
    let mut found = uploads::get(db, editor.tenant, id).await?;
    // A client that asks has given its last request up: what that one received counts.
    if found.is_some() && state.writing.end_silent(id).await {
        found = uploads::get(db, editor.tenant, id).await?;
    }
    if let Some(upload) = found {
        check_expiry(&upload)?;
        response
            .insert_header((tus::UPLOAD_OFFSET, upload.received.to_string()))
            .insert_header((tus::UPLOAD_LENGTH, upload.length.to_string()))
            .insert_header((tus::UPLOAD_EXPIRES, http_date(upload.expires_at)));
        let raw = Metadata::from_json(&upload.metadata).raw;
        if let Some(raw) = HeaderValue::try_from(raw).ok().filter(|raw| !raw.is_empty()) {
            response.insert_header((tus::UPLOAD_METADATA, raw));
        }
    } else {
        // A client that missed the last answer learns that everything has arrived.
        let video = videos::get(db, editor.tenant, id).await?.ok_or_else(|| Problem::not_found("upload"))?;
        response
            .insert_header((tus::UPLOAD_OFFSET, video.bytes.to_string()))
            .insert_header((tus::UPLOAD_LENGTH, video.bytes.to_string()));
    }
    Ok(response.insert_header((header::CACHE_CONTROL, "no-store")).finish())
}

/// Appends a piece. An older request to the upload that has received nothing for a second is ended. The last piece is answered when the file was probed: 422, and the upload is gone, if it
/// is no video that can be used.
#[utoipa::path(
    tag = "uploads",
    params(
        ("id" = VideoId, Path),
        ("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$", description = "`1.0.0`"),
        ("Upload-Offset" = u64, Header, description = "bytes that have arrived"),
        ("Upload-Checksum" = Option<String>, Header, pattern = "^(sha1|sha256) [A-Za-z0-9+/]+={0,2}$", description = "`sha1` or `sha256`, a blank and the digest of the piece in base64: the piece counts whole or not at all")
    ),
    request_body(content = Piece, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "the bytes are on disk", headers(("Upload-Offset" = u64), ("Upload-Expires" = String))),
        (status = 410, description = "the upload has expired"),
        (status = 412, description = "another version of tus"),
        (status = 423, description = "bytes of another request are arriving"),
        (status = 460, description = "the piece does not have its `Upload-Checksum`"),
        WriteRefusals
    )
)]
#[patch("/uploads/{id}")]
pub async fn append_to_upload(
    editor: Editor,
    id: Id<VideoId>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    append_piece(&editor, id.0, &request, payload, state).await.map_err(tus::refusal)
}

async fn append_piece(
    editor: &Principal,
    id: VideoId,
    request: &HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    tus::check_version(request)?;
    tus::check_content_type(request)?;
    let offset = tus::offset(request.headers())?;
    let checksum = Checksum::from_headers(request.headers())?;
    let find = || uploads::get(&state.db, editor.tenant, id);
    find().await?.ok_or_else(|| Problem::not_found("upload"))?;
    let lock = state.writing.take(id).await.ok_or_else(locked)?;
    // Read again under the lock: the writer before may have moved the offset.
    let upload = find().await?.ok_or_else(|| Problem::not_found("upload"))?;
    check_expiry(&upload)?;
    let received = upload.received.unsigned_abs();
    if offset != received {
        let problem = Problem::conflict("upload_offset", format!("{received} bytes have arrived; go on from there"));
        return Err(problem.header(tus::UPLOAD_OFFSET, HeaderValue::from(received)));
    }
    check_piece(request, upload.length.unsigned_abs() - received)?;
    let written = UploadWriter::new(state, upload, lock, checksum).write(payload).await?;
    Ok(acknowledge(StatusCode::NO_CONTENT, &written).finish())
}

/// Ends an unfinished upload and frees its bytes.
#[utoipa::path(
    tag = "uploads",
    params(("id" = VideoId, Path), ("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$", description = "`1.0.0`")),
    responses((status = 204, description = "gone"), (status = 412, description = "another version of tus"), (status = 423, description = "bytes of another request are arriving"), WriteRefusals)
)]
#[delete("/uploads/{id}")]
pub async fn terminate_upload(
    editor: Editor,
    id: Id<VideoId>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    end(&editor, id.0, &request, &state).await.map_err(tus::refusal)
}

async fn end(editor: &Principal, id: VideoId, request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    tus::check_version(request)?;
    if uploads::get(&state.db, editor.tenant, id).await?.is_none() {
        return Err(Problem::not_found("upload"));
    }
    let _lock = state.writing.take(id).await.ok_or_else(locked)?;
    if !uploads::delete(&state.db, editor.tenant, id).await? {
        return Err(Problem::not_found("upload"));
    }
    upload_writer::remove(upload_writer::path(state, editor.tenant, id)).await;
    Ok(answer(StatusCode::NO_CONTENT).finish())
}

/// What holds for a tenant.
async fn limits_of(state: &State, tenant: TenantId) -> Result<Limits, Problem> {
    let everywhere = state.node.live.borrow().live.limits.clone();
    Ok(actors::settings::tenant_limits::of(&state.db, &everywhere, tenant).await?)
}

fn check_size(limits: &Limits, length: u64) -> Result<(), Problem> {
    if length == 0 {
        return Err(Problem::invalid("empty_upload", "a file of zero bytes is no video", Vec::new()));
    }
    let most = limits.upload_bytes;
    if length > most {
        return Err(Problem::too_large(format!("an upload has at most {most} bytes, and this one {length}")));
    }
    Ok(())
}

/// A piece that is announced as longer than what is missing is refused before it is read.
fn check_piece(request: &HttpRequest, missing: u64) -> Result<(), Problem> {
    match content_length(request) {
        Some(bytes) if bytes > missing => Err(upload_writer::too_long(missing)),
        _ => Ok(()),
    }
}

fn content_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_expiry(upload: &Upload) -> Result<(), Problem> {
    if upload.expires_at <= Utc::now() {
        return Err(Problem::new(StatusCode::GONE, "upload_expired", "the upload has expired; begin again"));
    }
    Ok(())
}

fn locked() -> Problem {
    Problem::new(
        StatusCode::LOCKED,
        "upload_locked",
        "another request is writing to this upload; try again when it has ended",
    )
}

fn answer(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((tus::TUS_RESUMABLE, tus::VERSION));
    response
}

fn acknowledge(status: StatusCode, written: &Written) -> HttpResponseBuilder {
    let mut response = answer(status);
    match written {
        Written::Part { received, expires_at } => {
            response.insert_header((tus::UPLOAD_OFFSET, received.to_string()));
            response.insert_header((tus::UPLOAD_EXPIRES, http_date(*expires_at)));
        }
        Written::Whole { length } => {
            response.insert_header((tus::UPLOAD_OFFSET, length.to_string()));
        }
    }
    response
}

/// The date format of RFC 9110 §5.6.7.
fn http_date(time: DateTime<Utc>) -> HttpDate {
    HttpDate::from(std::time::SystemTime::from(time))
}
