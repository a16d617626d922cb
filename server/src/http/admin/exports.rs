//! The exports of every tenant.

use actix_web::{HttpResponse, get, post, web};
use entities::exports::{self, Export, ExportKind, ExportState, Filter};
use entities::{ExportId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::audit;
use crate::http::exports::{ExportView, cancel, latest};
use crate::http::extract::{Id, Listing, Operator, PageQuery, Query};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_every_export).service(get_any_export).service(cancel_any_export);
}

/// An export, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantExport)]
pub struct TenantExportView {
    /// Whose.
    pub tenant_id: TenantId,
    /// The export as its tenant sees it.
    #[serde(flatten)]
    pub export: ExportView,
}

impl TenantExportView {
    /// An export with what was asked for.
    async fn with_spec(state: &State, export: Export) -> Result<Self, Problem> {
        Ok(Self { tenant_id: export.tenant_id, export: ExportView::with_spec(state, export).await? })
    }
}

/// Which exports are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AnyExportQuery {
    /// Only this tenant's.
    pub tenant_id: Option<TenantId>,
    /// Only of this kind.
    pub kind: Option<ExportKind>,
    /// Only in this state.
    pub state: Option<ExportState>,
}

/// Lists exports of all tenants, newest first, without their `spec`.
#[utoipa::path(tag = "admin", params(AnyExportQuery, PageQuery), responses((status = 200, description = "a page", body = Listing<TenantExportView>), ReadRefusals))]
#[get("/admin/exports")]
pub async fn list_every_export(
    _: Operator,
    query: Query<AnyExportQuery>,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let AnyExportQuery { tenant_id, kind, state: in_state } = query.into_inner();
    let filter = Filter { kind, state: in_state };
    let page = exports::list_any(&state.db, tenant_id, filter, &page.request()?).await?;
    let latest = latest(&state, &page.items).await?;
    let view =
        |export: Export| TenantExportView { tenant_id: export.tenant_id, export: ExportView::live(export, &latest) };
    Ok(HttpResponse::Ok().json(Listing::from(page.map(view))))
}

/// Reads an export of any tenant.
#[utoipa::path(tag = "admin", params(("id" = ExportId, Path)), responses((status = 200, description = "the export", body = TenantExportView), ReadRefusals))]
#[get("/admin/exports/{id}")]
pub async fn get_any_export(_: Operator, id: Id<ExportId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let export = find(&state, id.0).await?;
    Ok(HttpResponse::Ok().json(TenantExportView::with_spec(&state, export).await?))
}

/// Cancels an export of any tenant; takes effect within one batch.
#[utoipa::path(tag = "admin", params(("id" = ExportId, Path)), responses((status = 200, description = "the export", body = TenantExportView), WriteRefusals))]
#[post("/admin/exports/{id}/cancel")]
pub async fn cancel_any_export(
    operator: Operator,
    id: Id<ExportId>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let tenant = find(&state, id.0).await?.tenant_id;
    let export = cancel(&state, tenant, id.0).await?;
    audit::note(&state, &operator, Some(tenant), "export.cancel", id.0, json!({})).await;
    Ok(HttpResponse::Ok().json(TenantExportView::with_spec(&state, export).await?))
}

async fn find(state: &State, id: ExportId) -> Result<Export, Problem> {
    exports::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("export"))
}
