//! Shared links: a signed, revocable address of one file that needs no header, so that a browser plays it.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, route, web};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use entities::links::{self, Link};
use entities::{ExportId, LinkId, Subject, SubjectKind, VideoId, exports, tenants, videos};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::content::FileAnswers;
use super::extract::{Editor, Id, Json, Query, Viewer, noun};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;
use super::whole::whole;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(share_video).service(share_export).service(download_shared_file).service(get_link).service(revoke_link);
}

/// How long a link holds unless asked otherwise, in seconds: a day.
const DEFAULT_LIFE: i64 = 24 * 3600;
/// How long a link may hold at most, in seconds: a year.
const LONGEST_LIFE: i64 = 366 * 24 * 3600;
/// Allows pages of other origins to embed the file.
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A link to create.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// Seconds until it ends, up to a year; a day when not given.
    #[schema(example = 86400, minimum = 1, maximum = 31622400)]
    #[serde(default, deserialize_with = "whole")]
    pub expires_in: Option<i64>,
    /// Tell browsers to save the file rather than to play it.
    #[serde(default)]
    pub download: bool,
}

/// A shared link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Link)]
pub struct LinkView {
    /// The link.
    pub id: LinkId,
    /// The address that plays: it is all that is needed to read the file.
    pub url: String,
    /// What it opens.
    pub subject_kind: SubjectKind,
    /// The video or export.
    pub subject_id: Uuid,
    /// Browsers save rather than play.
    pub download: bool,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// The query of a shared file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SignatureQuery {
    /// When the link ends, in seconds since 1970.
    pub expires: Option<i64>,
    /// The server's signature.
    pub signature: Option<String>,
}

/// Shares a video's file.
#[utoipa::path(tag = "links", params(("id" = VideoId, Path)), responses((status = 201, description = "the link", body = LinkView, headers(("Location" = String))), WriteRefusals))]
#[post("/videos/{id}/links")]
pub async fn share_video(
    editor: Editor,
    id: Id<VideoId>,
    new: Json<NewLink>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    create(&state, &editor, Subject::Video(id.0), new.into_inner(), &request).await
}

/// Shares an export's result.
#[utoipa::path(tag = "links", params(("id" = ExportId, Path)), responses((status = 201, description = "the link", body = LinkView, headers(("Location" = String))), WriteRefusals))]
#[post("/exports/{id}/links")]
pub async fn share_export(
    editor: Editor,
    id: Id<ExportId>,
    new: Json<NewLink>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    create(&state, &editor, Subject::Export(id.0), new.into_inner(), &request).await
}

/// Reads a link.
#[utoipa::path(tag = "links", params(("id" = LinkId, Path)), responses((status = 200, description = "the link", body = LinkView), ReadRefusals))]
#[get("/links/{id}")]
pub async fn get_link(
    viewer: Viewer,
    id: Id<LinkId>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let link = links::get(&state.db, viewer.tenant, id.0).await?;
    let link = link.filter(|link| link.revoked_at.is_none()).ok_or_else(|| Problem::not_found("link"))?;
    Ok(HttpResponse::Ok().json(view(&state, link, &state.forwarding.base(&request)?)))
}

/// Revokes a link: its address stops working at once.
#[utoipa::path(tag = "links", params(("id" = LinkId, Path)), responses((status = 204, description = "revoked"), WriteRefusals))]
#[delete("/links/{id}")]
pub async fn revoke_link(editor: Editor, id: Id<LinkId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    match links::revoke(&state.db, editor.tenant, id.0).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Problem::not_found("link")),
    }
}

/// Sends a shared file, by range where asked. The signature is the credential.
#[utoipa::path(
    tag = "links",
    security(()),
    params(("id" = LinkId, Path), SignatureQuery),
    responses(
        FileAnswers,
        (status = 410, description = "the link has ended or was revoked"),
        (status = 416, description = "the range lies outside the file"),
        ReadRefusals
    )
)]
#[route("/links/{id}/file", method = "GET", method = "HEAD")]
pub async fn download_shared_file(
    id: Id<LinkId>,
    query: Query<SignatureQuery>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let (Some(expires), Some(signature)) = (query.expires, &query.signature) else {
        return Err(bad_signature());
    };
    if !state.links.verify(id.0, expires, signature) {
        return Err(bad_signature());
    }
    if expires <= Utc::now().timestamp() {
        return Err(ended("link_expired", "the link has ended"));
    }
    let link = links::signed(&state.db, id.0).await?;
    let link =
        link.filter(|link| link.is_valid(Utc::now())).ok_or_else(|| ended("link_revoked", "the link was revoked"))?;
    let mut response = shared_file(&state, &link).await?.answer(&request).await?;
    response.headers_mut().insert(RESOURCE_POLICY.clone(), HeaderValue::from_static("cross-origin"));
    Ok(response)
}

/// Whether a path is that of a shared file, which pages of every origin may play.
pub(super) fn is_shared_file(path: &str) -> bool {
    path.strip_prefix("/api/v1/links/").and_then(|rest| rest.strip_suffix("/file")).is_some_and(|id| !id.contains('/'))
}

async fn create(
    state: &State,
    editor: &Editor,
    subject: Subject,
    new: NewLink,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let life = new.expires_in.unwrap_or(DEFAULT_LIFE);
    if !(1..=LONGEST_LIFE).contains(&life) {
        return Err(Problem::invalid_field(
            "/expires_in",
            "out_of_range",
            format!("expires_in is 1 to {LONGEST_LIFE} seconds"),
        ));
    }
    let base = state.forwarding.base(request)?;
    // Whole seconds: the signature covers the end as it stands in the address.
    let expires_at = (Utc::now() + TimeDelta::seconds(life)).trunc_subsecs(0);
    let link = links::create(&state.db, editor.tenant, subject, new.download, expires_at)
        .await?
        .ok_or_else(|| Problem::not_found(noun(subject.kind())))?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/links/{}", link.id)))
        .json(view(state, link, &base)))
}

/// A link as it is answered, to a server whose addresses begin with `base`.
fn view(state: &State, link: Link, base: &str) -> LinkView {
    let expires = link.expires_at.timestamp();
    let signature = state.links.sign(link.id, expires);
    LinkView {
        url: format!("{base}/api/v1/links/{}/file?expires={expires}&signature={signature}", link.id),
        id: link.id,
        subject_kind: link.subject_kind,
        subject_id: link.subject_id,
        download: link.download,
        expires_at: link.expires_at,
        created_at: link.created_at,
    }
}

async fn shared_file(state: &State, link: &Link) -> Result<super::content::StoredFile, Problem> {
    let db = &state.db;
    let tenant = tenants::get(db, link.tenant_id).await?;
    if tenant.is_none_or(|tenant| tenant.state == tenants::TenantState::Suspended) {
        return Err(Problem::forbidden("tenant_suspended", "the link's owner is suspended"));
    }
    let gone = || ended("link_revoked", "what the link opened is gone");
    match link.subject() {
        Subject::Video(id) => {
            let video = videos::get(db, link.tenant_id, id).await?.ok_or_else(gone)?;
            super::videos::stored_file(state, &video, link.download)
        }
        Subject::Export(id) => {
            let export = exports::get(db, link.tenant_id, id).await?.ok_or_else(gone)?;
            super::exports::stored_file(state, &export, link.download)
        }
    }
}

fn bad_signature() -> Problem {
    Problem::unauthorized("invalid_signature", "the link's signature is missing or wrong")
}

fn ended(code: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::GONE, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_of_a_link_is_open_to_every_origin() {
        assert!(is_shared_file("/api/v1/links/0198c0de-0000-7000-8000-000000000000/file"));
        for other in ["/api/v1/links/x", "/api/v1/links/a/b/file", "/api/v1/exports/x/file", "/links/x/file"] {
            assert!(!is_shared_file(other), "{other}");
        }
    }
}
