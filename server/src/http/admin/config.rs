//! The settings that change while the server runs.

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use actors::settings::config_keeper::{Author, ChangeError, PatchConfig, RollBack, Versioned};
use chrono::{DateTime, Utc};
use config::Live;
use entities::UserId;
use entities::config_versions::{self, ConfigVersion};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::audit;
use crate::http::extract::{Json, Listing, Operator, PageQuery, Query};
use crate::http::precondition;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(read_config).service(change_config).service(list_config_versions).service(roll_config_back);
}

/// The settings in force.
#[derive(Debug, Serialize)]
pub struct LiveConfig<'a> {
    /// Grows with every change; also the `ETag`.
    pub version: u64,
    /// The settings.
    #[serde(flatten)]
    pub live: &'a Live,
}

impl ToSchema for LiveConfig<'_> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Live::schemas(schemas);
    }
}

impl PartialSchema for LiveConfig<'_> {
    fn schema() -> RefOr<Schema> {
        // One object: `Live` knows no further fields, so that nothing can stand beside it.
        let mut schema = Live::schema();
        if let RefOr::T(Schema::Object(live)) = &mut schema {
            live.description = Some("The settings in force.".to_owned());
            live.properties.insert("version".to_owned(), u64::schema());
            live.required.insert(0, "version".to_owned());
        }
        schema
    }
}

/// Reads the live settings; the `ETag` is for `If-Match` of a change.
#[utoipa::path(
    tag = "admin",
    responses((status = 200, description = "the settings in force", body = LiveConfig, headers(("ETag" = String))), ReadRefusals)
)]
#[get("/admin/config")]
pub async fn read_config(_: Operator, request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let config = state.node.config.get().await?;
    let body = LiveConfig { version: config.version, live: &config.live };
    Ok(precondition::answer(&request, config.version as i64, &body))
}

/// Changes live settings by a JSON merge patch (RFC 7396), validated as a whole; takes effect at once.
#[utoipa::path(
    tag = "admin",
    params(("If-Match" = String, Header, description = "the `ETag` that was read, or `*`")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = 200, description = "the new settings", body = LiveConfig, headers(("ETag" = String))),
        (status = 412, description = "they were changed meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals
    )
)]
#[patch("/admin/config")]
pub async fn change_config(
    operator: Operator,
    request: HttpRequest,
    patch: Json<serde_json::Value>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let in_force = state.node.config.get().await?;
    let if_match = precondition::seen(&request, in_force.version as i64)?.map(i64::unsigned_abs);
    let change = PatchConfig { if_match, patch: patch.into_inner(), by: author(&operator) };
    state.node.config.patch(change).await?.map(|config| answer(&config)).map_err(refused)
}

/// Goes back to the settings of an older version, as a new version. 0 stands for those of the start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The version to roll back to.
    #[schema(example = 3)]
    pub version: u64,
}

/// Settings as they once were set.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigVersion)]
pub struct ConfigVersionView {
    /// Counts from 1.
    pub version: i64,
    /// The live settings as a whole.
    #[schema(value_type = Live)]
    pub settings: serde_json::Value,
    /// Who set them.
    pub author: Option<UserId>,
    /// The older version whose settings these are, when they came by a rollback.
    pub rolled_back_to: Option<i64>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Lists the versions of the live settings, newest first.
#[utoipa::path(tag = "admin", params(PageQuery), responses((status = 200, description = "a page", body = Listing<ConfigVersionView>), ReadRefusals))]
#[get("/admin/config/history")]
pub async fn list_config_versions(
    _: Operator,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = config_versions::history(&state.db, &page.request()?).await?;
    let view = |row: ConfigVersion| ConfigVersionView {
        version: row.version,
        settings: row.body,
        author: row.author,
        rolled_back_to: row.rolled_back_to,
        created_at: row.created_at,
    };
    Ok(HttpResponse::Ok().json(Listing::from(page.map(view))))
}

/// Rolls back to the settings of an older version, validated as a whole; takes effect at once, as a new version.
#[utoipa::path(
    tag = "admin",
    params(("If-Match" = Option<String>, Header, description = "the `ETag` that was read, or `*`")),
    responses(
        (status = 200, description = "the new settings", body = LiveConfig, headers(("ETag" = String))),
        (status = 412, description = "they were changed meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals
    )
)]
#[post("/admin/config/rollback")]
pub async fn roll_config_back(
    operator: Operator,
    request: HttpRequest,
    to: Json<Rollback>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let in_force = state.node.config.get().await?;
    let if_match = precondition::expected_version(&request, in_force.version as i64)?.map(i64::unsigned_abs);
    let change = RollBack { if_match, to: to.version, by: author(&operator) };
    state.node.config.roll_back(change).await?.map(|config| answer(&config)).map_err(refused)
}

fn author(operator: &Operator) -> Author {
    Author { user: operator.user(), named: audit::actor(operator) }
}

fn refused(error: ChangeError) -> Problem {
    match error {
        ChangeError::Stale(version) => precondition::stale(version as i64),
        ChangeError::Invalid(errors) => {
            Problem::invalid("invalid_config", "the settings would not be valid; nothing was changed", errors)
        }
        ChangeError::NoSuchVersion(_) => Problem::invalid_field("/version", "unknown_version", error.to_string()),
        ChangeError::Database(error) => error.into(),
    }
}

fn answer(config: &Versioned) -> HttpResponse {
    let body = LiveConfig { version: config.version, live: &config.live };
    precondition::with_tag(&mut HttpResponse::Ok(), config.version as i64).json(body)
}
