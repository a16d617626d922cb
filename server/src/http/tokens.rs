//! Logging in, staying in, logging out.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, post, web};
use entities::tokens::{self, NewToken, RefreshToken, Rotation};
use entities::users::User;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::auth::login::check_password;
use super::auth::{logged_out, password};
use super::extract::{Json, Session, check_active, read_json};
use super::problem::Problem;
use super::rates::network;
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
pub async fn log_in(
    request: HttpRequest,
    credentials: Json<Credentials>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let Credentials { email, password } = credentials.into_inner();
    // No account has such an address or password; the throttle is not to remember them.
    if email.len() > LONGEST_EMAIL || password.len() > password::LONGEST {
        return Err(wrong_credentials());
    }
    let network = state.forwarding.client(&request).map(network);
    let found = check_password(&state, network, &email, password).await?;
    let (user, tenant) = found.ok_or_else(wrong_credentials)?;
    check_active(&tenant)?;
    begin_session(&state, &user, network).await?.ok_or_else(wrong_credentials)
}

/// Exchanges a refresh token for a new pair. The same token within 10 seconds gives the same refresh token again, as long
/// as that was not exchanged itself; any other second use ends every token of its login.
#[utoipa::path(tag = "auth", security(()), responses((status = 200, description = "the new tokens", body = TokenPair), WriteRefusals))]
#[post("/auth/refresh")]
pub async fn refresh_tokens(
    request: HttpRequest,
    body: Json<RefreshRequest>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let refused = || Problem::unauthorized("invalid_refresh_token", "the refresh token is not valid; log in again");
    let id = state.refresh.read(&body.refresh_token).ok_or_else(refused)?;
    let network = state.forwarding.client(&request).map(network);
    let new = |user| NewToken {
        expires_at: state.refresh.expires_at(),
        network: network.map(|network| state.networks.of(user, network)),
    };
    match tokens::rotate(&state.db, id, new).await? {
        Rotation::Fresh { token, user } => pair(&state, &user, &token),
        Rotation::Suspended(tenant) => {
            check_active(&tenant)?;
            Err(refused())
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
    let request: Option<RefreshRequest> = match body.trim_ascii() {
        b"" | b"null" => None,
        _ => Some(read_json(&body)?),
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

/// The tokens of a new session; none when the user has another password meanwhile.
pub(super) async fn begin_session(
    state: &State,
    user: &User,
    network: Option<IpAddr>,
) -> Result<Option<HttpResponse>, Problem> {
    let network = network.map(|network| state.networks.of(user.id, network));
    let new = NewToken { expires_at: state.refresh.expires_at(), network };
    let token = tokens::issue(&state.db, user, new).await?;
    token.map(|token| pair(state, user, &token)).transpose()
}

fn pair(state: &State, user: &User, refresh: &RefreshToken) -> Result<HttpResponse, Problem> {
    let access_token = state.tokens.issue(user).map_err(|error| Problem::internal("signing an access token", error))?;
    Ok(HttpResponse::Ok().json(TokenPair {
        access_token,
        refresh_token: state.refresh.write(refresh.id),
        token_type: "Bearer",
        expires_in: state.tokens.life_seconds(),
    }))
}
