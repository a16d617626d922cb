//! Reels: clips in order with their edits, as people work on them.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use actors::exports::references;
use chrono::{DateTime, Utc};
use edits::spec::limits;
use edits::{FieldError, SourceRule, spec};
use entities::reels::{self, Edits, Reel};
use entities::{Changed, Database, ReelId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::extract::{Editor, Id, Json, Listing, PageQuery, Query, Row, Viewer};
use super::merge_patch::present;
use super::precondition::{answer, seen, stale, with_tag};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(make_reel).service(list_reels).service(get_reel).service(change_reel).service(delete_reel);
}

const LONGEST_NAME: usize = 200;

/// Clips in order with their edits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reel)]
pub struct ReelView {
    /// The reel.
    pub id: ReelId,
    /// Grows with each change; also the `ETag`.
    pub version: i64,
    /// What it is called.
    pub name: String,
    /// A framing spec without its `kind`; null while there are no edits.
    #[schema(value_type = Option<Object>)]
    pub framing: Option<Value>,
    /// An overlay spec without its `kind`, and usually without its `source`, which an export names.
    #[schema(value_type = Option<Object>)]
    pub overlay: Option<Value>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: Option<UserId>,
}

impl From<Reel> for ReelView {
    fn from(reel: Reel) -> Self {
        let Reel { id, version, name, framing, overlay, created_at, updated_at, created_by, .. } = reel;
        Self { id, version, name, framing, overlay, created_at, updated_at, created_by }
    }
}

/// A reel to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReel {
    /// At most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: String,
    /// A framing spec without its `kind`.
    #[schema(value_type = Option<Object>)]
    pub framing: Option<Value>,
    /// An overlay spec without its `kind`; `source` may be left out.
    #[schema(value_type = Option<Object>)]
    pub overlay: Option<Value>,
}

/// What is changed of a reel; what is missing stays. Edits are replaced whole.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReelPatch {
    /// At most 200 characters.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// A framing spec without its `kind`; null takes the edits away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub framing: Option<Option<Value>>,
    /// An overlay spec without its `kind`; null takes the edits away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub overlay: Option<Option<Value>>,
}

/// Creates a reel.
#[utoipa::path(tag = "reels", responses((status = 201, description = "the reel", body = ReelView, headers(("Location" = String), ("ETag" = String))), WriteRefusals))]
#[post("/reels")]
pub async fn make_reel(editor: Editor, new: Json<NewReel>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let NewReel { name, framing, overlay } = new.into_inner();
    let edits = Edits { name, framing, overlay };
    check(&state.db, editor.tenant, &edits).await?;
    let reel = reels::create(&state.db, editor.tenant, edits, editor.user()).await?;
    Ok(with_tag(&mut HttpResponse::Created(), reel.version)
        .insert_header((header::LOCATION, format!("/api/v1/reels/{}", reel.id)))
        .json(ReelView::from(reel)))
}

/// Lists the tenant's reels, newest first.
#[utoipa::path(tag = "reels", params(PageQuery), responses((status = 200, description = "a page", body = Listing<ReelView>), ReadRefusals))]
#[get("/reels")]
pub async fn list_reels(
    viewer: Viewer,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = reels::list(&state.db, viewer.tenant, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(ReelView::from))))
}

/// Reads a reel; the `ETag` is for `If-Match` of a change.
#[utoipa::path(tag = "reels", params(("id" = ReelId, Path)), responses((status = 200, description = "the reel", body = ReelView, headers(("ETag" = String))), (status = 304, description = "the client has it already"), ReadRefusals))]
#[get("/reels/{id}")]
pub async fn get_reel(_: Viewer, reel: Row<Reel>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Row(reel) = reel;
    Ok(answer(&request, reel.version, &ReelView::from(reel)))
}

/// Changes a reel, if it still is what its author saw.
#[utoipa::path(
    tag = "reels",
    params(("id" = ReelId, Path), ("If-Match" = String, Header, description = "the `ETag` that was read, or `*`")),
    responses(
        (status = 200, description = "the reel", body = ReelView, headers(("ETag" = String))),
        (status = 412, description = "it was changed meanwhile", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        WriteRefusals
    )
)]
#[patch("/reels/{id}")]
pub async fn change_reel(
    editor: Editor,
    id: Id<ReelId>,
    request: HttpRequest,
    patch: Json<ReelPatch>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let (db, tenant) = (&state.db, editor.tenant);
    let not_found = || Problem::not_found("reel");
    let reel = reels::get(db, tenant, id.0).await?.ok_or_else(not_found)?;
    seen(&request, reel.version)?;
    let patch = patch.into_inner();
    let edits = Edits {
        name: patch.name.unwrap_or(reel.name),
        framing: patch.framing.unwrap_or(reel.framing),
        overlay: patch.overlay.unwrap_or(reel.overlay),
    };
    check(db, tenant, &edits).await?;
    match reels::change(db, tenant, id.0, reel.version, edits).await? {
        Changed::Now(reel) => Ok(with_tag(&mut HttpResponse::Ok(), reel.version).json(ReelView::from(reel))),
        Changed::Stale(version) => Err(stale(version)),
        Changed::NotFound => Err(not_found()),
    }
}

/// Deletes a reel. What was exported from it stays.
#[utoipa::path(tag = "reels", params(("id" = ReelId, Path)), responses((status = 204, description = "gone"), WriteRefusals))]
#[delete("/reels/{id}")]
pub async fn delete_reel(editor: Editor, id: Id<ReelId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    match reels::delete(&state.db, editor.tenant, id.0).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Problem::not_found("reel")),
    }
}

/// Everything that is wrong with a reel by itself: its edits are read as an export would, but its videos are not
/// opened.
async fn check(db: &Database, tenant: TenantId, edits: &Edits) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    if edits.name.chars().count() > LONGEST_NAME {
        wrong.push(FieldError::new("/name", "too_long", format!("it has more than {LONGEST_NAME} characters")));
    }
    for (kind, edits) in [("framing", &edits.framing), ("overlay", &edits.overlay)] {
        if let Some(edits) = edits {
            wrong.extend(mistakes(db, tenant, kind, edits).await?);
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid("invalid_reel", "the reel has mistakes; nothing was stored", wrong))
}

/// What is wrong with the edits of one kind, placed in the reel.
async fn mistakes(db: &Database, tenant: TenantId, kind: &str, edits: &Value) -> Result<Vec<FieldError>, Problem> {
    let within = |error: FieldError| FieldError { pointer: format!("/{kind}{}", error.pointer), ..error };
    if limits::is_too_long(edits) {
        let detail = format!("the edits have more than {} bytes of JSON", limits::MAX_BYTES);
        return Ok(vec![FieldError::new(format!("/{kind}"), "too_large", detail)]);
    }
    let Value::Object(edits) = edits else {
        return Ok(vec![FieldError::new(format!("/{kind}"), "wrong_type", "edits are an object, or null")]);
    };
    let refused = ["kind", "reel_id"].into_iter().filter(|name| edits.contains_key(*name));
    let mut wrong: Vec<_> = refused
        .map(|name| FieldError::new(format!("/{kind}/{name}"), "not_allowed", "the reel says it: leave it out"))
        .collect();
    let mut body = edits.clone();
    body.remove("reel_id");
    body.insert("kind".to_owned(), json!(kind));
    // An export says what is drawn on; any video will do to read the rest.
    if kind == "overlay" {
        body.entry("source").or_insert_with(|| json!({"video_id": "00000000-0000-0000-0000-000000000000"}));
    }
    let resolved = references::resolve(db, tenant, Value::Object(body)).await?;
    if limits::is_too_long(&resolved.body) {
        return Ok(vec![within(references::too_long())]);
    }
    let parsed = spec::parse(&resolved.body, SourceRule::Named);
    let found = resolved.without_made_up(FieldError::merge(resolved.errors.clone(), parsed.errors));
    wrong.extend(found.into_iter().map(within));
    Ok(wrong)
}
