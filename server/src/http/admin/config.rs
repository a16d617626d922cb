//! The settings that change while the server runs.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, EntityTag, IfMatch};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, get, patch, web};
use actors::{GetConfig, PatchConfig, PatchError, Versioned};
use config::Live;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::content::{is_known, not_modified};
use crate::http::extract::Operator;
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

/// The settings in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveConfig<'a> {
    /// Grows with every change; also the `ETag`.
    pub version: u64,
    /// The settings.
    #[serde(flatten)]
    pub live: &'a Live,
}

/// Reads the live settings; the `ETag` is for `If-Match` of a change.
#[utoipa::path(
    tag = "admin",
    responses((status = 200, description = "the settings in force", body = LiveConfig, headers(("ETag" = String))), ReadRefusals)
)]
#[get("/admin/config")]
pub async fn read_config(_: Operator, request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let config = state.node.config.send(GetConfig).await?;
    let etag = tag(config.version);
    if is_known(&request, &etag) {
        return Ok(not_modified(&etag));
    }
    Ok(answer(&config))
}

/// Changes live settings by a JSON merge patch (RFC 7396), validated whole; takes effect at once.
#[utoipa::path(
    tag = "admin",
    params(("If-Match" = String, Header, description = "the `ETag` that was read, or `*`")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = 200, description = "the new settings", body = LiveConfig, headers(("ETag" = String))),
        (status = 412, description = "somebody else changed them meanwhile"),
        (status = 428, description = "`If-Match` is missing"),
        WriteRefusals
    )
)]
#[patch("/admin/config")]
pub async fn change_config(
    operator: Operator,
    request: HttpRequest,
    patch: web::Json<serde_json::Value>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let in_force = state.node.config.send(GetConfig).await?;
    let if_match = precondition(&request, in_force.version)?;
    let change = PatchConfig { if_match, patch: patch.into_inner(), by: operator.user() };
    match state.node.config.send(change).await? {
        Ok(config) => Ok(answer(&config)),
        Err(PatchError::Stale(version)) => Err(stale(version)),
        Err(PatchError::Invalid(errors)) => {
            Err(Problem::invalid("invalid_config", "the settings would not be valid; nothing was changed", errors))
        }
        Err(error) => Err(Problem::internal("changing the settings", error)),
    }
}

/// The version that the change must find: the one in force if the client saw it, none for `*`.
fn precondition(request: &HttpRequest, in_force: u64) -> Result<Option<u64>, Problem> {
    if !request.headers().contains_key(header::IF_MATCH) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            "send If-Match with the ETag of the settings you saw",
        ));
    }
    match request.get_header::<IfMatch>() {
        Some(IfMatch::Any) => Ok(None),
        Some(IfMatch::Items(seen)) if seen.iter().any(|seen| seen.strong_eq(&tag(in_force))) => Ok(Some(in_force)),
        _ => Err(stale(in_force)),
    }
}

fn stale(version: u64) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "stale",
        format!("the settings have changed since: version {version} is in force; read them again"),
    )
}

fn tag(version: u64) -> EntityTag {
    EntityTag::new_strong(format!("v{version}"))
}

fn answer(config: &Versioned) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(header::ETag(tag(config.version)))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .json(LiveConfig { version: config.version, live: &config.live })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(if_match: Option<&str>) -> Result<Option<u64>, u16> {
        let request = if_match
            .into_iter()
            .fold(TestRequest::default(), |request, value| request.insert_header(("if-match", value)));
        precondition(&request.to_http_request(), 7).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn a_change_names_what_it_saw() {
        assert_eq!(check(None), Err(428));
        assert_eq!(check(Some("\"v6\"")), Err(412));
        assert_eq!(check(Some("W/\"v7\"")), Err(412));
        assert_eq!(check(Some("\"v7\"")), Ok(Some(7)));
        assert_eq!(check(Some("\"v6\", \"v7\"")), Ok(Some(7)));
        assert_eq!(check(Some("*")), Ok(None));
    }
}
