//! Videos: what was uploaded.

use actix_web::{HttpRequest, HttpResponse, delete, get, route, web};
use actors::videos::service::Deletion;
use chrono::{DateTime, Utc};
use entities::videos::{self, Video, VideoState};
use entities::{Subject, VideoId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::content::{FileAnswers, StoredFile, strong_tag};
use super::detections::{Detections, DetectionsQuery, read_detections};
use super::extract::{Editor, Id, Listing, PageQuery, Query, Row, Viewer};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(read_video_detections)
        .service(list_videos)
        .service(download_video)
        .service(get_video)
        .service(delete_video);
}

/// An uploaded source file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Video)]
pub struct VideoView {
    /// The upload's id, too.
    pub id: VideoId,
    /// The file's name as the client gave it.
    pub name: String,
    /// `processing` while its frames are indexed, then `ready` or `failed`.
    pub state: VideoState,
    /// Size of the file.
    pub bytes: i64,
    /// Displayed width in pixels.
    pub width: Option<i32>,
    /// Displayed height in pixels.
    pub height: Option<i32>,
    /// Seconds.
    pub duration: Option<f64>,
    /// What probing found: codec, rate, colour, sound.
    pub facts: Option<serde_json::Value>,
    /// Why it failed, as a problem object.
    pub problem: Option<serde_json::Value>,
    /// When it was complete.
    pub created_at: DateTime<Utc>,
}

impl From<Video> for VideoView {
    fn from(video: Video) -> Self {
        Self {
            id: video.id,
            name: video.name,
            state: video.state,
            bytes: video.bytes,
            width: video.width,
            height: video.height,
            duration: video.duration,
            facts: video.facts,
            problem: video.problem,
            created_at: video.created_at,
        }
    }
}

/// The query of `DELETE /videos/{id}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Cancel the exports that use it, instead of refusing.
    #[serde(default)]
    pub force: bool,
}

/// Lists the tenant's videos, newest first.
#[utoipa::path(tag = "videos", params(PageQuery), responses((status = 200, description = "a page", body = Listing<VideoView>), ReadRefusals))]
#[get("/videos")]
pub async fn list_videos(
    viewer: Viewer,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = videos::list(&state.db, viewer.tenant, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(VideoView::from))))
}

/// Reads a video.
#[utoipa::path(tag = "videos", params(("id" = VideoId, Path)), responses((status = 200, description = "the video", body = VideoView), ReadRefusals))]
#[get("/videos/{id}")]
pub async fn get_video(_: Viewer, video: Row<Video>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(VideoView::from(video.0)))
}

/// Deletes a video and its file. 409 while exports use it, unless forced: then they are cancelled.
#[utoipa::path(tag = "videos", params(("id" = VideoId, Path), DeleteQuery), responses((status = 204, description = "gone"), WriteRefusals))]
#[delete("/videos/{id}")]
pub async fn delete_video(
    editor: Editor,
    id: Id<VideoId>,
    query: Query<DeleteQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    match state.node.videos.delete(editor.tenant, id.0, query.force).await? {
        Deletion::Done => Ok(HttpResponse::NoContent().finish()),
        Deletion::NotFound => Err(Problem::not_found("video")),
        Deletion::InUse(exports) => {
            let detail = format!("{} unfinished exports use the video; cancel them or add ?force=true", exports.len());
            Err(Problem::conflict("in_use", detail))
        }
    }
}

/// Sends the file as it was uploaded.
#[utoipa::path(
    tag = "videos",
    params(("id" = VideoId, Path)),
    responses(
        FileAnswers,
        (status = 304, description = "the client has it already"),
        (status = 416, description = "the range lies outside the file"),
        ReadRefusals
    )
)]
#[route("/videos/{id}/file", method = "GET", method = "HEAD")]
pub async fn download_video(
    _: Viewer,
    video: Row<Video>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    stored_file(&state, &video.0, false)?.answer(&request).await
}

/// Reads what was detected in a video, in source pixels. Never starts inference.
#[utoipa::path(
    tag = "videos",
    params(("id" = VideoId, Path), DetectionsQuery),
    responses(
        (status = 200, description = "the stored detections", body = Detections, headers(("ETag" = String))),
        (status = 304, description = "the client has them already"),
        ReadRefusals
    )
)]
#[get("/videos/{id}/detections")]
pub async fn read_video_detections(
    viewer: Viewer,
    id: Id<VideoId>,
    query: Query<DetectionsQuery>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    read_detections(&state, &viewer, Subject::Video(id.0), query, &request).await
}

/// A video's file, to be sent. Its bytes never change, so its id is its validator.
pub(super) fn stored_file(state: &State, video: &Video, download: bool) -> Result<StoredFile, Problem> {
    if video.state == VideoState::Failed {
        return Err(Problem::not_found("file"));
    }
    Ok(StoredFile {
        path: state.node.videos.file_path(video),
        etag: strong_tag(&video.id.to_string()),
        content_type: media_type(&video.name),
        name: video.name.clone(),
        download,
    })
}

/// A media type that browsers play, by the name's ending.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("mp4" | "m4v") => "video/mp4",
        Some("mov") => "video/quicktime",
        Some("webm") => "video/webm",
        Some("mkv") => "video/x-matroska",
        Some("avi") => "video/x-msvideo",
        Some("ts" | "mts" | "m2ts") => "video/mp2t",
        _ => "application/octet-stream",
    }
}
