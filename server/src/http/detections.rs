//! Detections as they are answered, and the answer of those that are stored of a video or an export.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use actors::detections::cache::GetDetections;
use entities::Subject;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::content::{is_known, not_modified, strong_tag};
use super::extract::{Viewer, noun};
use super::problem::Problem;
use super::state::State;

/// The query of stored detections.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DetectionsQuery {
    /// Leave out boxes below it, 0 to 1, rounded to hundredths; 0.5 when not given.
    #[param(minimum = 0, maximum = 1)]
    pub confidence: Option<f32>,
    /// Only this model's results.
    pub model: Option<String>,
}

/// Stored detections.
#[derive(Debug, Serialize, ToSchema)]
pub struct Detections {
    /// Width of the picture the boxes are in, in pixels.
    pub width: i32,
    /// Its height.
    pub height: i32,
    /// Frames a second.
    pub fps: f64,
    /// The model that found them; `null` while there are none.
    pub model: Option<String>,
    /// The frames that were searched, by time; a frame without persons has no boxes.
    pub frames: Vec<edits::FrameDetections>,
}

/// Answers the stored detections of a subject: what is ready, else what the cache actor finds.
pub(super) async fn read_detections(
    state: &State,
    viewer: &Viewer,
    subject: Subject,
    query: DetectionsQuery,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let DetectionsQuery { confidence, model } = query;
    if confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence)) {
        return Err(Problem::bad_request("bad_query", "confidence is 0 to 1"));
    }
    let get = GetDetections { tenant: viewer.tenant, subject, confidence, model };
    let found = state.node.detections.get(get).await??.ok_or_else(|| Problem::not_found(noun(subject.kind())))?;
    let etag = strong_tag(&found.etag);
    if is_known(request, &etag) {
        return Ok(not_modified(&etag));
    }
    Ok(HttpResponse::Ok()
        .insert_header(header::ETag(etag))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .content_type("application/json")
        .body(found.body.clone()))
}
