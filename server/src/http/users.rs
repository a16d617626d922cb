//! The people of a tenant, run by its admins.

use actix_web::http::header;
use actix_web::{HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use entities::users::{self, NewUser, Role, User, UserChange};
use entities::{TenantId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::admin::audit;
use super::auth::password::PasswordError;
use super::extract::{Id, Json, Listing, PageQuery, Principal, Query, TenantAdmin};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_colleagues)
        .service(create_colleague)
        .service(get_colleague)
        .service(change_colleague)
        .service(delete_colleague);
}

/// The longest address that mail can be sent to, in bytes (RFC 5321, RFC 3696 erratum 1690).
pub(super) const LONGEST_EMAIL: usize = 254;

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    /// The user.
    pub id: UserId,
    /// Where the user belongs.
    pub tenant_id: TenantId,
    /// Unique in the deployment.
    pub email: String,
    /// What the user may do.
    pub role: Role,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let User { id, tenant_id, email, role, created_at, .. } = user;
        Self { id, tenant_id, email, role, created_at }
    }
}

/// An account to be, in the admin's own tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewColleague {
    /// Unique in the deployment.
    #[schema(example = "ann@club.example")]
    pub email: String,
    /// At least 8 characters.
    #[schema(min_length = 8)]
    pub password: String,
    /// What the user may do; not `operator`.
    pub role: Role,
}

/// What is changed of an account; what is missing stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// Unique in the deployment.
    pub email: Option<String>,
    /// At least 8 characters. A new one ends every session of the user.
    #[schema(min_length = 8)]
    pub password: Option<String>,
    /// What the user may do from now on.
    pub role: Option<Role>,
}

/// Lists the tenant's users, newest first.
#[utoipa::path(tag = "tenant", params(PageQuery), responses((status = 200, description = "a page", body = Listing<UserView>), ReadRefusals))]
#[get("/users")]
pub async fn list_colleagues(
    admin: TenantAdmin,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = users::list(&state.db, admin.tenant, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(UserView::from))))
}

/// Creates an account in the tenant, which can log in at once.
#[utoipa::path(tag = "tenant", responses((status = 201, description = "the account", body = UserView, headers(("Location" = String))), WriteRefusals))]
#[post("/users")]
pub async fn create_colleague(
    admin: TenantAdmin,
    new: Json<NewColleague>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let NewColleague { email, password, role } = new.into_inner();
    check_role(&admin, role)?;
    let user = create(&state, &admin, admin.tenant, email, password, role).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/users/{}", user.id)))
        .json(UserView::from(user)))
}

/// Reads an account of the tenant.
#[utoipa::path(tag = "tenant", params(("id" = UserId, Path)), responses((status = 200, description = "the account", body = UserView), ReadRefusals))]
#[get("/users/{id}")]
pub async fn get_colleague(
    admin: TenantAdmin,
    id: Id<UserId>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let user = users::get(&state.db, admin.tenant, id.0).await?.ok_or_else(|| Problem::not_found("user"))?;
    Ok(HttpResponse::Ok().json(UserView::from(user)))
}

/// Changes an account of the tenant; a new role holds at once.
#[utoipa::path(tag = "tenant", params(("id" = UserId, Path)), responses((status = 200, description = "the account", body = UserView), WriteRefusals))]
#[patch("/users/{id}")]
pub async fn change_colleague(
    admin: TenantAdmin,
    id: Id<UserId>,
    patch: Json<UserPatch>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let user = users::get(&state.db, admin.tenant, id.0).await?.ok_or_else(|| Problem::not_found("user"))?;
    let user = change(&state, &admin, user, patch.into_inner()).await?;
    Ok(HttpResponse::Ok().json(UserView::from(user)))
}

/// Deletes an account of the tenant, with every login. What the user made stays.
#[utoipa::path(tag = "tenant", params(("id" = UserId, Path)), responses((status = 204, description = "gone"), WriteRefusals))]
#[delete("/users/{id}")]
pub async fn delete_colleague(
    admin: TenantAdmin,
    id: Id<UserId>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let user = users::get(&state.db, admin.tenant, id.0).await?.ok_or_else(|| Problem::not_found("user"))?;
    remove(&state, &admin, user).await
}

/// Creates an account in any tenant; the caller checks whether that is allowed.
pub(super) async fn create(
    state: &State,
    who: &Principal,
    tenant_id: TenantId,
    email: String,
    password: String,
    role: Role,
) -> Result<User, Problem> {
    check_address(&email)?;
    let password_hash = hashed(state, password).await?;
    let user = users::create(&state.db, NewUser { tenant_id, email, password_hash, role }).await?;
    let details = json!({"email": user.email, "role": user.role});
    audit::note(state, who, Some(tenant_id), "user.create", user.id, details).await;
    Ok(user)
}

/// Changes an account of any tenant, as far as `who` may.
pub(super) async fn change(state: &State, who: &Principal, user: User, patch: UserPatch) -> Result<User, Problem> {
    check_role(who, user.role)?;
    if let Some(role) = patch.role {
        check_role(who, role)?;
        if role < user.role && who.user() == Some(user.id) {
            return Err(own_account("take a right from"));
        }
    }
    if let Some(email) = &patch.email {
        check_address(email)?;
    }
    let password_hash = match patch.password {
        Some(password) => Some(hashed(state, password).await?),
        None => None,
    };
    let details = json!({
        "email": patch.email,
        "role": patch.role.map(|role| json!({"from": user.role, "to": role})),
        "password": password_hash.is_some(),
    });
    let change = UserChange { email: patch.email, password_hash, role: patch.role };
    let changed = users::change(&state.db, user.tenant_id, user.id, change).await?;
    state.principals.forget();
    let changed = changed.ok_or_else(|| Problem::not_found("user"))?;
    audit::note(state, who, Some(user.tenant_id), "user.change", user.id, details).await;
    Ok(changed)
}

/// Deletes an account of any tenant, as far as `who` may.
pub(super) async fn remove(state: &State, who: &Principal, user: User) -> Result<HttpResponse, Problem> {
    check_role(who, user.role)?;
    if who.user() == Some(user.id) {
        return Err(own_account("delete"));
    }
    if !users::delete(&state.db, user.tenant_id, user.id).await? {
        return Err(Problem::not_found("user"));
    }
    state.principals.forget();
    let details = json!({"email": user.email, "role": user.role});
    audit::note(state, who, Some(user.tenant_id), "user.delete", user.id, details).await;
    Ok(HttpResponse::NoContent().finish())
}

/// A user cannot give, or take, a right that is more than their own.
fn check_role(who: &Principal, role: Role) -> Result<(), Problem> {
    if role <= who.role {
        return Ok(());
    }
    Err(Problem::forbidden("missing_right", "only an operator makes, changes or deletes operators"))
}

fn own_account(what: &str) -> Problem {
    let detail = format!("you cannot {what} your own account, as no user might be left to give it back");
    Problem::conflict("own_account", detail)
}

fn check_address(email: &str) -> Result<(), Problem> {
    if looks_like_an_address(email.trim()) {
        return Ok(());
    }
    Err(Problem::invalid_field("/email", "invalid", "this is no e-mail address"))
}

/// Whether mail could be sent there: something, an at sign, something, no blanks (`admin@localhost` is fine).
pub fn looks_like_an_address(email: &str) -> bool {
    let parts = email.split_once('@');
    email.len() <= LONGEST_EMAIL
        && !email.contains(|char: char| char.is_whitespace() || char.is_control())
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

async fn hashed(state: &State, password: String) -> Result<String, Problem> {
    state.hashing.hash(password).await?.map_err(|error| match error {
        PasswordError::Hash(error) => Problem::internal("hashing a password", error),
        wrong => Problem::invalid_field("/password", "length", wrong.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_two_sides() {
        assert!(looks_like_an_address("ann@club.example") && looks_like_an_address("admin@localhost"));
        for wrong in ["", "ann", "@club", "ann@", "a@b@c", "a b@c", "a\0@b"] {
            assert!(!looks_like_an_address(wrong), "{wrong:?}");
        }
    }
}
