//! Who asks.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use entities::users::Role;
use entities::{TenantId, api_keys, tenants, users};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::auth::login::check_password;
use super::extract::{Identity, Json, Viewer};
use super::problem::Problem;
use super::rates::network;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;
use super::tokens::{TokenPair, begin_session};
use super::users::{self as accounts, UserPatch};

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(read_me).service(change_my_password);
}

/// Who stands behind a credential.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The user, the API key, or an id for the issuer's subject.
    pub id: Uuid,
    /// Which of them it is.
    pub kind: MyKind,
    /// The address used to log in; users have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What the API key is called; keys have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What may be done.
    pub role: Role,
    /// Where it belongs.
    pub tenant: MyTenant,
}

/// What a credential stands for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MyKind {
    /// A user of this deployment.
    User,
    /// A program with an API key.
    Key,
    /// A user of a foreign issuer.
    Foreign,
}

/// A tenant, as its users see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MyTenant {
    /// The tenant.
    pub id: TenantId,
    /// Its name.
    pub name: String,
}

/// A new password for one's own account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password until now.
    pub current: String,
    /// The password from now on, at least 8 characters.
    #[schema(min_length = 8, max_length = 1024)]
    pub new: String,
}

/// Returns the current account: that of the credential.
#[utoipa::path(tag = "tenant", responses((status = 200, description = "the account", body = Me), ReadRefusals))]
#[get("/me")]
pub async fn read_me(viewer: Viewer, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let db = &state.db;
    let gone = || Problem::unauthorized("invalid_token", "the account does not exist any more");
    let (id, kind, email, name) = match viewer.identity {
        Identity::User(id) => {
            let user = users::get(db, viewer.tenant, id).await?.ok_or_else(gone)?;
            (id.uuid(), MyKind::User, Some(user.email), None)
        }
        Identity::Foreign { subject, .. } => (subject, MyKind::Foreign, None, None),
        Identity::Key(id) => {
            let key = api_keys::get(db, viewer.tenant, id).await?.ok_or_else(gone)?;
            (id.uuid(), MyKind::Key, None, Some(key.name))
        }
    };
    let tenant = tenants::get(db, viewer.tenant).await?.ok_or_else(gone)?;
    let tenant = MyTenant { id: tenant.id, name: tenant.name };
    Ok(HttpResponse::Ok().json(Me { id, kind, email, name, role: viewer.role, tenant }))
}

/// Changes one's own password. Every session of the account ends, also the one of the request: the answer begins a new one.
#[utoipa::path(tag = "tenant", responses((status = 200, description = "changed: the tokens of a new session", body = TokenPair), WriteRefusals))]
#[post("/me/password")]
pub async fn change_my_password(
    viewer: Viewer,
    request: HttpRequest,
    passwords: Json<NewPassword>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let Some(id) = viewer.user() else {
        return Err(Problem::forbidden("not_a_login", "only an account here has a password"));
    };
    let gone = || Problem::unauthorized("invalid_token", "the account does not exist any more");
    let user = users::get(&state.db, viewer.tenant, id).await?.ok_or_else(gone)?;
    let NewPassword { current, new } = passwords.into_inner();
    // Guessing here is no quicker than logging in.
    let network = state.forwarding.client(&request).map(network);
    if check_password(&state, network, &user.email, current).await?.is_none() {
        return Err(Problem::forbidden("wrong_password", "`current` is not the account's password"));
    }
    let changed = UserPatch { email: None, password: Some(new), role: None };
    let user = accounts::change(&state, &viewer, user, changed).await?;
    let ended = || Problem::conflict("changed", "another request has changed the password meanwhile; log in again");
    begin_session(&state, &user, network).await?.ok_or_else(ended)
}
