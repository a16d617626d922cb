//! Persons in one frame, answered at once.

use actix_web::{HttpResponse, post, web};
use actors::videos::error::FrameDetectionError;
use actors::videos::frame::FrameChoice;
use entities::VideoId;
use entities::videos::Video;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::detections::Detections;
use super::extract::{Editor, Id, Json, find};
use super::problem::Problem;
use super::refusals::WriteRefusals;
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(detect_in_frame);
}

/// Which frame to search: `time` or `frame`, exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FrameQuestion {
    /// Source seconds: the frame shown then.
    #[schema(minimum = 0)]
    pub time: Option<f64>,
    /// Frame number, from 0.
    pub frame: Option<u64>,
    /// Leave out boxes below it, 0 to 1.
    #[serde(default = "default_confidence")]
    #[schema(default = 0.5, minimum = 0, maximum = 1)]
    pub confidence: f64,
}

fn default_confidence() -> f64 {
    f64::from(actors::detections::cache::DEFAULT_CONFIDENCE)
}

impl FrameQuestion {
    fn choice(&self) -> Result<FrameChoice, Problem> {
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err(Problem::invalid_field("/confidence", "out_of_range", "confidence is 0 to 1"));
        }
        match (self.time, self.frame) {
            (Some(time), None) if time.is_finite() && time >= 0.0 => Ok(FrameChoice::Time(time)),
            (Some(_), None) => Err(Problem::invalid_field("/time", "out_of_range", "time is 0 or later")),
            (None, Some(frame)) => Ok(FrameChoice::Number(frame)),
            (None, None) => Err(Problem::invalid_field("/time", "required", "say `time` or `frame`")),
            (Some(_), Some(_)) => {
                Err(Problem::invalid_field("/frame", "not_allowed", "say `time` or `frame`, not both"))
            }
        }
    }
}

/// Detects persons in one frame now, and stores them with the video's detections. `Server-Timing` gives how
/// long the frame waited for a device and how long that took (W3C Server Timing, in milliseconds).
#[utoipa::path(
    tag = "videos",
    params(("id" = VideoId, Path)),
    request_body = FrameQuestion,
    responses((status = 200, description = "what is in the frame, in source pixels", body = Detections), WriteRefusals)
)]
#[post("/videos/{id}/detections/frame")]
pub async fn detect_in_frame(
    editor: Editor,
    id: Id<VideoId>,
    question: Json<FrameQuestion>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let choice = question.choice();
    // Another tenant's video is refused before the body is checked.
    find::<Video>(&state, editor.tenant, id.0).await?;
    let choice = choice?;
    let pointer = if question.time.is_some() { "/time" } else { "/frame" };
    let found = state.node.videos.detect_in_frame(editor.tenant, id.0, choice).await.map_err(|error| match error {
        FrameDetectionError::NotFound => Problem::not_found("video"),
        FrameDetectionError::Limit(reached) => reached.into(),
        FrameDetectionError::NotReady => Problem::conflict("not_ready", error.to_string()),
        FrameDetectionError::Outside { .. } => Problem::invalid_field(pointer, "outside_video", error.to_string()),
        FrameDetectionError::Stopping => Problem::unavailable("stopping", error.to_string()),
        FrameDetectionError::Process(error) => Problem::unread("decoding a frame", error),
        error => Problem::internal("detecting in a frame", error),
    })?;
    let mut frame = found.frame;
    frame.boxes.retain(|person| f64::from(person.confidence) >= question.confidence);
    let milliseconds = |seconds: f64| seconds * 1e3;
    let timing = format!(
        "queue;dur={:.3}, device;dur={:.3}",
        milliseconds(found.waited.as_secs_f64()),
        milliseconds(found.device_seconds)
    );
    Ok(HttpResponse::Ok().insert_header(("Server-Timing", timing)).json(Detections {
        width: found.width as i32,
        height: found.height as i32,
        fps: found.fps,
        model: Some(found.model),
        frames: vec![frame],
    }))
}
