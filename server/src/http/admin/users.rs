//! The people of every tenant.

use actix_web::http::header;
use actix_web::{HttpResponse, delete, get, patch, post, web};
use entities::users::{self, Role, User};
use entities::{TenantId, UserId, tenants};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::http::extract::{Id, Json, Listing, Operator, PageQuery, Query};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;
use crate::http::users::{self as accounts, UserPatch, UserView};

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_users).service(create_user).service(get_user).service(change_user).service(delete_user);
}

/// An account to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Where the user belongs.
    pub tenant_id: TenantId,
    /// Unique in the deployment.
    #[schema(example = "ann@club.example")]
    pub email: String,
    /// At least 8 characters.
    #[schema(min_length = 8)]
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
    tenant: Query<TenantQuery>,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant.tenant_id.unwrap_or(operator.tenant);
    let page = users::list(&state.db, tenant, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(UserView::from))))
}

/// Creates an account, which can log in at once.
#[utoipa::path(tag = "admin", responses((status = 201, description = "the account", body = UserView, headers(("Location" = String))), WriteRefusals))]
#[post("/admin/users")]
pub async fn create_user(
    operator: Operator,
    new: Json<CreateUser>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let CreateUser { tenant_id, email, password, role } = new.into_inner();
    if tenants::get(&state.db, tenant_id).await?.is_none() {
        return Err(Problem::invalid_field("/tenant_id", "not_found", "there is no such tenant"));
    }
    let user = accounts::create(&state, &operator, tenant_id, email, password, role).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/admin/users/{}", user.id)))
        .json(UserView::from(user)))
}

/// Reads an account of any tenant.
#[utoipa::path(tag = "admin", params(("id" = UserId, Path)), responses((status = 200, description = "the account", body = UserView), ReadRefusals))]
#[get("/admin/users/{id}")]
pub async fn get_user(_: Operator, id: Id<UserId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(UserView::from(find(&state, id.0).await?)))
}

/// Changes an account of any tenant; a new role holds at once.
#[utoipa::path(tag = "admin", params(("id" = UserId, Path)), responses((status = 200, description = "the account", body = UserView), WriteRefusals))]
#[patch("/admin/users/{id}")]
pub async fn change_user(
    operator: Operator,
    id: Id<UserId>,
    patch: Json<UserPatch>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let user = find(&state, id.0).await?;
    let user = accounts::change(&state, &operator, user, patch.into_inner()).await?;
    Ok(HttpResponse::Ok().json(UserView::from(user)))
}

/// Deletes an account of any tenant, with every login. What the user made stays.
#[utoipa::path(tag = "admin", params(("id" = UserId, Path)), responses((status = 204, description = "gone"), WriteRefusals))]
#[delete("/admin/users/{id}")]
pub async fn delete_user(operator: Operator, id: Id<UserId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let user = find(&state, id.0).await?;
    accounts::remove(&state, &operator, user).await
}

async fn find(state: &State, id: UserId) -> Result<User, Problem> {
    users::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("user"))
}
