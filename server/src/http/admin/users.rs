//! The people of every tenant.

use actix_web::{HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use entities::users::{self, NewUser, Role, User};
use entities::{TenantId, UserId, tenants};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::auth::password::{self, PasswordError};
use crate::http::extract::{Listing, Operator, PageQuery};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

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

/// An account to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Where the user belongs.
    pub tenant_id: TenantId,
    /// Unique in the deployment.
    #[schema(example = "ann@club.example")]
    pub email: String,
    /// At least 8 characters.
    pub password: String,
    /// What the user may do.
    pub role: Role,
}

/// Which tenant's users are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    /// The tenant; the operator's own when not given.
    pub tenant_id: Option<TenantId>,
}

/// Lists the users of a tenant, newest first.
#[utoipa::path(tag = "admin", params(TenantQuery, PageQuery), responses((status = 200, description = "a page", body = Listing<UserView>), ReadRefusals))]
#[get("/admin/users")]
pub async fn list_users(
    operator: Operator,
    tenant: web::Query<TenantQuery>,
    page: web::Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant.tenant_id.unwrap_or(operator.tenant);
    let page = users::list(&state.node.db, tenant, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(UserView::from))))
}

/// Makes an account, which can log in at once.
#[utoipa::path(tag = "admin", responses((status = 201, description = "the account", body = UserView), WriteRefusals))]
#[post("/admin/users")]
pub async fn create_user(
    _: Operator,
    new: web::Json<CreateUser>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let CreateUser { tenant_id, email, password, role } = new.into_inner();
    if !looks_like_an_address(email.trim()) {
        return Err(Problem::invalid_field("/email", "invalid", "this is no e-mail address"));
    }
    if tenants::get(&state.node.db, tenant_id).await?.is_none() {
        return Err(Problem::invalid_field("/tenant_id", "not_found", "there is no such tenant"));
    }
    let hashed = web::block(move || password::hash(&password))
        .await
        .map_err(|error| Problem::internal("hashing a password", error))?;
    let password_hash = hashed.map_err(|error| match error {
        PasswordError::Hash(error) => Problem::internal("hashing a password", error),
        wrong => Problem::invalid_field("/password", "length", wrong.to_string()),
    })?;
    let user = users::create(&state.node.db, NewUser { tenant_id, email, password_hash, role }).await?;
    Ok(HttpResponse::Created().json(UserView::from(user)))
}

/// Whether mail could be sent there: something, an at sign, something, no blanks (`admin@localhost` is fine).
fn looks_like_an_address(email: &str) -> bool {
    let parts = email.split_once('@');
    email.len() <= 254
        && !email.contains(char::is_whitespace)
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_two_sides() {
        assert!(looks_like_an_address("ann@club.example") && looks_like_an_address("admin@localhost"));
        for wrong in ["", "ann", "@club", "ann@", "a@b@c", "a b@c"] {
            assert!(!looks_like_an_address(wrong), "{wrong:?}");
        }
    }
}
