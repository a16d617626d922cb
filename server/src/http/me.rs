//! Who asks.

use actix_web::{HttpResponse, get, web};
use entities::users::Role;
use entities::{TenantId, UserId, tenants, users};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Viewer;
use super::problem::Problem;
use super::refusals::ReadRefusals;
use super::state::State;

/// The account behind a token.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The user.
    pub id: UserId,
    /// The address used to log in.
    pub email: String,
    /// What the user may do.
    pub role: Role,
    /// Where the user belongs.
    pub tenant: MyTenant,
}

/// A tenant, as its users see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MyTenant {
    /// The tenant.
    pub id: TenantId,
    /// Its name.
    pub name: String,
}

/// Tells who the token belongs to.
#[utoipa::path(tag = "tenant", responses((status = 200, description = "the account", body = Me), ReadRefusals))]
#[get("/me")]
pub async fn read_me(viewer: Viewer, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let gone = || Problem::unauthorized("invalid_token", "the account does not exist any more");
    let user = users::get(&state.node.db, viewer.tenant, viewer.user).await?.ok_or_else(gone)?;
    let tenant = tenants::get(&state.node.db, viewer.tenant).await?.ok_or_else(gone)?;
    Ok(HttpResponse::Ok().json(Me {
        id: user.id,
        email: user.email,
        role: viewer.role,
        tenant: MyTenant { id: tenant.id, name: tenant.name },
    }))
}
