//! A picture of a video.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use actors::videos::error::FrameDetectionError;
use entities::VideoId;
use entities::videos::Video;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::content::{is_known, not_modified, strong_tag};
use super::extract::{Id, Query, Viewer, find};
use super::problem::Problem;
use super::refusals::ReadRefusals;
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(show_thumbnail);
}

/// Width of a picture, unless asked otherwise, at least and at most, in pixels.
const WIDTH: u32 = 320;
const LEAST_WIDTH: u32 = 16;
const MOST_WIDTH: u32 = 1920;

/// Which picture.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ThumbnailQuery {
    /// Source seconds; a tenth into the video when not given.
    #[param(minimum = 0)]
    pub time: Option<f64>,
    /// Pixels, 16 to 1920; 320 when not given. A picture is never wider than its video.
    #[param(minimum = 16, maximum = 1920)]
    pub width: Option<u32>,
}

/// Shows a frame of a video.
#[utoipa::path(
    tag = "videos",
    params(("id" = VideoId, Path), ThumbnailQuery),
    responses(
        (status = 200, description = "the picture", content_type = "image/jpeg", body = Vec<u8>, headers(("ETag" = String))),
        (status = 304, description = "the client has it already"),
        (status = 409, description = "the video is not ready", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the file cannot be read there", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        ReadRefusals
    )
)]
#[get("/videos/{id}/thumbnail")]
pub async fn show_thumbnail(
    viewer: Viewer,
    id: Id<VideoId>,
    query: Query<ThumbnailQuery>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let (time, width) = (query.time, query.width.unwrap_or(WIDTH));
    // Whose video it is comes before what is wrong with the question.
    find::<Video>(&state, viewer.tenant, id.0).await?;
    if time.is_some_and(|time| !(time.is_finite() && time >= 0.0)) {
        return Err(Problem::bad_request("bad_query", "time is 0 or later"));
    }
    if !(LEAST_WIDTH..=MOST_WIDTH).contains(&width) {
        return Err(Problem::bad_request("bad_query", format!("width is {LEAST_WIDTH} to {MOST_WIDTH} pixels")));
    }
    let found = state.node.videos.thumbnail(viewer.tenant, id.0, time, width).await.map_err(|error| match error {
        FrameDetectionError::NotFound => Problem::not_found("video"),
        FrameDetectionError::NotReady => Problem::conflict("not_ready", error.to_string()),
        FrameDetectionError::Outside { .. } => Problem::bad_request("bad_query", format!("time: {error}")),
        FrameDetectionError::Stopping => Problem::unavailable("stopping", error.to_string()),
        FrameDetectionError::Process(error) => Problem::unread("decoding a frame", error),
        error => Problem::internal("showing a frame", error),
    })?;
    // A video never changes: its id, the frame and the size name the bytes.
    let etag = strong_tag(&format!("{}-{}-{width}", id.0, found.frame));
    if is_known(&request, &etag) {
        return Ok(not_modified(&etag));
    }
    Ok(HttpResponse::Ok()
        .content_type("image/jpeg")
        .insert_header(header::ETag(etag))
        .insert_header((header::CACHE_CONTROL, "private, max-age=86400"))
        .body(found.bytes))
}
