//! Marked clips: named time ranges of videos.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use edits::FieldError;
use entities::clips::{self, Clip, Mark};
use entities::videos::Video;
use entities::{Changed, ClipId, UserId, VideoId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::extract::{Editor, Id, Json, Listing, PageQuery, Query, Row, Viewer, find};
use super::merge_patch::present;
use super::precondition::{answer, expected_version, stale, with_tag};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(mark_clip).service(list_clips).service(get_clip).service(change_clip).service(delete_clip);
}

const LONGEST_NAME: usize = 200;
const LONGEST_NOTES: usize = 10_000;
const MOST_TAGS: usize = 50;
const LONGEST_TAG: usize = 200;

/// A named time range of a video.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Clip)]
pub struct ClipView {
    /// The clip.
    pub id: ClipId,
    /// The video it is a part of.
    pub video_id: VideoId,
    /// Grows with each change; also the `ETag`.
    pub version: i64,
    /// What it is called.
    pub name: String,
    /// Source seconds.
    pub start: f64,
    /// Source seconds.
    pub end: f64,
    /// What is said about it.
    pub notes: String,
    /// 1 (mental lapse) to 5 (brilliant).
    pub rating: Option<i32>,
    /// What it shows.
    #[schema(value_type = Vec<String>)]
    pub tags: serde_json::Value,
    /// When it was marked.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Who marked it.
    pub created_by: Option<UserId>,
}

impl From<Clip> for ClipView {
    fn from(clip: Clip) -> Self {
        let Clip { id, video_id, version, name, start, end, notes, rating, tags, .. } = clip;
        let Clip { created_at, updated_at, created_by, .. } = clip;
        Self { id, video_id, version, name, start, end, notes, rating, tags, created_at, updated_at, created_by }
    }
}

/// A clip to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClip {
    /// At most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: String,
    /// Source seconds; 0 is the first displayed frame.
    #[schema(minimum = 0)]
    pub start: f64,
    /// Source seconds, after `start`.
    pub end: f64,
    /// At most 10 000 characters.
    #[serde(default)]
    #[schema(max_length = 10_000)]
    pub notes: String,
    /// 1 (mental lapse) to 5 (brilliant).
    #[schema(minimum = 1, maximum = 5)]
    pub rating: Option<i32>,
    /// At most 50, of at most 200 characters.
    #[serde(default)]
    #[schema(max_items = 50)]
    pub tags: Vec<String>,
}

/// What is changed of a clip, as a merge patch (RFC 7396).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipPatch {
    /// At most 200 characters.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Source seconds.
    #[schema(minimum = 0)]
    pub start: Option<f64>,
    /// Source seconds, after `start`.
    pub end: Option<f64>,
    /// At most 10 000 characters.
    #[schema(max_length = 10_000)]
    pub notes: Option<String>,
    /// 1 to 5; null takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(minimum = 1, maximum = 5)]
    pub rating: Option<Option<i32>>,
    /// At most 50, of at most 200 characters.
    #[schema(max_items = 50)]
    pub tags: Option<Vec<String>>,
}

/// Marks a clip of a video.
#[utoipa::path(tag = "clips", params(("id" = VideoId, Path)), responses((status = 201, description = "the clip", body = ClipView, headers(("Location" = String), ("ETag" = String))), WriteRefusals))]
#[post("/videos/{id}/clips")]
pub async fn mark_clip(
    editor: Editor,
    id: Id<VideoId>,
    new: Json<NewClip>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let video = find::<Video>(&state, editor.tenant, id.0).await?;
    let NewClip { name, start, end, notes, rating, tags } = new.into_inner();
    let mark = Mark { name, start, end, notes, rating, tags };
    check(&mark, &video)?;
    let clip = clips::create(&state.db, editor.tenant, id.0, mark, editor.user()).await?;
    let clip = clip.ok_or_else(|| Problem::not_found("video"))?;
    Ok(with_tag(&mut HttpResponse::Created(), clip.version)
        .insert_header((header::LOCATION, format!("/api/v1/clips/{}", clip.id)))
        .json(ClipView::from(clip)))
}

/// Lists the clips of a video, newest first.
#[utoipa::path(tag = "clips", params(("id" = VideoId, Path), PageQuery), responses((status = 200, description = "a page", body = Listing<ClipView>), ReadRefusals))]
#[get("/videos/{id}/clips")]
pub async fn list_clips(
    viewer: Viewer,
    video: Row<Video>,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = clips::list(&state.db, viewer.tenant, video.0.id, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(ClipView::from))))
}

/// Reads a clip.
#[utoipa::path(tag = "clips", params(("id" = ClipId, Path)), responses((status = 200, description = "the clip", body = ClipView, headers(("ETag" = String))), (status = 304, description = "the client has it already"), ReadRefusals))]
#[get("/clips/{id}")]
pub async fn get_clip(_: Viewer, clip: Row<Clip>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Row(clip) = clip;
    Ok(answer(&request, clip.version, &ClipView::from(clip)))
}

/// Changes a clip by a merge patch (RFC 7396). With `If-Match` only the version that was seen is changed.
#[utoipa::path(
    tag = "clips",
    params(("id" = ClipId, Path), ("If-Match" = Option<String>, Header, description = "the `ETag` that was read, or `*`")),
    responses(
        (status = 200, description = "the clip", body = ClipView, headers(("ETag" = String))),
        (status = 412, description = "it was changed meanwhile", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        WriteRefusals
    )
)]
#[patch("/clips/{id}")]
pub async fn change_clip(
    editor: Editor,
    id: Id<ClipId>,
    request: HttpRequest,
    patch: Json<ClipPatch>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let (db, tenant) = (&state.db, editor.tenant);
    let not_found = || Problem::not_found("clip");
    let clip = clips::get(db, tenant, id.0).await?.ok_or_else(not_found)?;
    let expected = expected_version(&request, clip.version)?;
    let video = find::<Video>(&state, tenant, clip.video_id).await?;
    let tags = clip.tags.as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
    let patch = patch.into_inner();
    let mark = Mark {
        name: patch.name.unwrap_or(clip.name),
        start: patch.start.unwrap_or(clip.start),
        end: patch.end.unwrap_or(clip.end),
        notes: patch.notes.unwrap_or(clip.notes),
        rating: patch.rating.unwrap_or(clip.rating),
        tags: patch.tags.unwrap_or(tags),
    };
    check(&mark, &video)?;
    // What was read is what is changed: a patch is never applied to a version that was not read.
    match clips::change(db, tenant, id.0, expected.unwrap_or(clip.version), mark).await? {
        Changed::Now(clip) => Ok(with_tag(&mut HttpResponse::Ok(), clip.version).json(ClipView::from(clip))),
        Changed::Stale(version) => Err(stale(version)),
        Changed::NotFound => Err(not_found()),
    }
}

/// Deletes a clip. What was exported from it stays.
#[utoipa::path(tag = "clips", params(("id" = ClipId, Path)), responses((status = 204, description = "gone"), WriteRefusals))]
#[delete("/clips/{id}")]
pub async fn delete_clip(editor: Editor, id: Id<ClipId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    match clips::delete(&state.db, editor.tenant, id.0).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Problem::not_found("clip")),
    }
}

/// Everything that is wrong with a clip of this video.
fn check(mark: &Mark, video: &Video) -> Result<(), Problem> {
    let Some(duration) = video.duration else {
        return Err(Problem::conflict("not_ready", "the video is not ready; its length is not known yet"));
    };
    // A frame past the end means the end, as in exports.
    let rate = video.facts.as_ref().and_then(|facts| facts["rate"].as_f64()).filter(|rate| *rate > 0.0);
    let last = duration + rate.map_or(0.0, |rate| 1.0 / rate);
    let mut wrong = Vec::new();
    let mut want = |right: bool, pointer: &str, code: &'static str, detail: String| {
        if !right {
            wrong.push(FieldError::new(pointer, code, detail));
        }
    };
    let (start, end) = (mark.start, mark.end);
    let outside = |time: f64| format!("{time} s is outside the video, which lasts {duration:.3} s");
    want((0.0..duration).contains(&start), "/start", "outside_video", outside(start));
    want(end <= last, "/end", "outside_video", outside(end));
    want(end > start, "/end", "empty_range", format!("the end, {end} s, is not after the start, {start} s"));
    let long = |text: &str, most: usize| text.chars().count() > most;
    want(!long(&mark.name, LONGEST_NAME), "/name", "too_long", format!("it has more than {LONGEST_NAME} characters"));
    want(
        !long(&mark.notes, LONGEST_NOTES),
        "/notes",
        "too_long",
        format!("it has more than {LONGEST_NOTES} characters"),
    );
    want(
        mark.rating.is_none_or(|rating| (1..=5).contains(&rating)),
        "/rating",
        "out_of_range",
        "it is 1 to 5".to_owned(),
    );
    want(mark.tags.len() <= MOST_TAGS, "/tags", "too_many", format!("there are more than {MOST_TAGS} tags"));
    for (i, tag) in mark.tags.iter().enumerate() {
        let right = !tag.trim().is_empty() && !long(tag, LONGEST_TAG);
        want(right, &format!("/tags/{i}"), "length", format!("a tag has 1 to {LONGEST_TAG} characters"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid("invalid_clip", "the clip has mistakes; nothing was stored", wrong))
}
