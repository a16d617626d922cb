//! Logging in, staying in, logging out.

use actix_web::{HttpResponse, post, web};
use entities::tokens::{self, RefreshToken, Rotation};
use entities::users::{self, User};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::auth::{logged_out, password};
use super::extract::{Session, check_active};
use super::problem::Problem;
use super::refusals::WriteRefusals;
use super::state::State;
use super::users::LONGEST_EMAIL;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(log_in).service(refresh_tokens).service(log_out);
}

/// What a login takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The account's address; upper and lower case are the same.
    #[schema(example = "ann@club.example")]
    pub email: String,
    /// The account's password.
    pub password: String,
}

/// A refresh token to be exchanged or ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// From the last answer of `POST /auth/token` or `POST /auth/refresh`.
    pub refresh_token: String,
}

/// An access token and the refresh token that gets the next one.
#[derive(Serialize, ToSchema)]
pub struct TokenPair {
    /// For `Authorization: Bearer`.
    pub access_token: String,
    /// For `POST /auth/refresh`, once.
    pub refresh_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token ends.
    #[schema(example = 900)]
    pub expires_in: i64,
}

fn wrong_credentials() -> Problem {
    Problem::unauthorized("invalid_credentials", "the e-mail address or the password is wrong")
}

/// Logs in with e-mail address and password.
#[utoipa::path(tag = "auth", security(()), responses((status = 200, description = "the tokens", body = TokenPair), WriteRefusals))]
#[post("/auth/token")]
pub async fn log_in(credentials: web::Json<Credentials>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let Credentials { email, password } = credentials.into_inner();
    // No account has such an address or password; the throttle is not to remember them.
    if email.len() > LONGEST_EMAIL || password.len() > password::LONGEST {
        return Err(wrong_credentials());
    }
    if let Some(seconds) = state.throttle.wait(&email).await {
        return Err(Problem::too_many(
            "too_many_logins",
            "too many failed logins for this address; wait a little",
            seconds,
        ));
    }
    let found = users::find_for_login(&state.db, &email).await?;
    let hash = found.as_ref().map(|(user, _)| user.password_hash.clone());
    let right = password::check(password, hash).await;
    let Some((user, tenant)) = found.filter(|_| right) else {
        state.throttle.failed(&email).await;
        return Err(wrong_credentials());
    };
    state.throttle.succeeded(&email).await;
    check_active(&tenant)?;
    let refresh = tokens::issue(&state.db, &user, state.refresh.expires_at()).await?;
    pair(&state, &user, &refresh)
}

/// Exchanges a refresh token for a new pair. A second use of one ends every token of its login.
#[utoipa::path(tag = "auth", security(()), responses((status = 200, description = "the new tokens", body = TokenPair), WriteRefusals))]
#[post("/auth/refresh")]
pub async fn refresh_tokens(
    request: web::Json<RefreshRequest>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let refused = || Problem::unauthorized("invalid_refresh_token", "the refresh token is not valid; log in again");
    let id = state.refresh.read(&request.refresh_token).ok_or_else(refused)?;
    match tokens::rotate(&state.db, id, state.refresh.expires_at()).await? {
        Rotation::Fresh { token, user, tenant } => {
            check_active(&tenant)?;
            pair(&state, &user, &token)
        }
        Rotation::Reused => {
            tracing::warn!(token = %id, "a refresh token was used twice; its family is revoked");
            Err(refused())
        }
        Rotation::Refused => Err(refused()),
    }
}

/// Ends the access token of the request, and with it the login of the refresh token in the body, or
/// every login of the user when there is no body.
#[utoipa::path(
    tag = "auth",
    request_body(content = Option<RefreshRequest>, content_type = "application/json"),
    responses((status = 204, description = "logged out"), WriteRefusals)
)]
#[post("/auth/logout")]
pub async fn log_out(session: Session, body: web::Bytes, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let request: Option<RefreshRequest> = if body.trim_ascii().is_empty() {
        None
    } else {
        serde_json::from_slice(&body).map_err(|error| match error.is_data() {
            true => Problem::invalid_field("", "invalid", error.to_string()),
            false => Problem::bad_request("malformed_json", format!("the body is not JSON: {error}")),
        })?
    };
    let (Some(user), Some(claims)) = (session.principal.user(), &session.claims) else {
        let detail = "only a login here can be logged out; revoke an API key with DELETE /api/v1/api-keys/{id}";
        return Err(Problem::forbidden("not_a_login", detail));
    };
    match request.map(|request| state.refresh.read(&request.refresh_token)) {
        Some(Some(token)) => drop(tokens::revoke_family_of(&state.db, user, token).await?),
        Some(None) => {}
        None => drop(tokens::revoke_all(&state.db, user).await?),
    }
    state.tokens.log_out(claims);
    if let Some(redis) = &state.node.redis {
        logged_out::publish(redis, claims).await;
    }
    Ok(HttpResponse::NoContent().finish())
}

fn pair(state: &State, user: &User, refresh: &RefreshToken) -> Result<HttpResponse, Problem> {
    let access_token = state
        .tokens
        .issue(user.id, user.tenant_id, user.role)
        .map_err(|error| Problem::internal("signing an access token", error))?;
    Ok(HttpResponse::Ok().json(TokenPair {
        access_token,
        refresh_token: state.refresh.write(refresh.id),
        token_type: "Bearer",
        expires_in: state.tokens.life_seconds(),
    }))
}
