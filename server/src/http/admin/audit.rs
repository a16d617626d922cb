//! The audit log: administrative actions and who took them.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use entities::audit::{self, AuditEntry, Deed, Filter};
use entities::{AuditId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::http::extract::{Identity, Listing, Operator, PageQuery, Principal, Query};
use crate::http::problem::Problem;
use crate::http::refusals::ReadRefusals;
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_audit);
}

/// Something that was administered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditView {
    /// The entry.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Whose thing it was; null for the deployment's.
    pub tenant_id: Option<TenantId>,
    /// Who did it, such as `user ID` or `command line`.
    pub actor: String,
    /// What was done.
    #[schema(example = "tenant.change")]
    pub action: String,
    /// What it was done to: an id or a name.
    pub target: String,
    /// What changed; never a secret.
    #[schema(value_type = Object)]
    pub details: Value,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, tenant_id, actor, action, target, details } = entry;
        Self { id, at, tenant_id, actor, action, target, details }
    }
}

/// Which entries are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what was done to this tenant's things.
    pub tenant_id: Option<TenantId>,
    /// Only this action.
    pub action: Option<String>,
}

/// Lists audit entries, newest first.
#[utoipa::path(tag = "admin", params(AuditQuery, PageQuery), responses((status = 200, description = "a page", body = Listing<AuditView>), ReadRefusals))]
#[get("/admin/audit")]
pub async fn list_audit(
    _: Operator,
    query: Query<AuditQuery>,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let AuditQuery { tenant_id, action } = query.into_inner();
    let page = audit::list(&state.db, &Filter { tenant: tenant_id, action }, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(AuditView::from))))
}

/// As the log names who did something.
pub(in crate::http) fn actor(who: &Principal) -> String {
    match who.identity {
        Identity::User(id) => format!("user {id}"),
        other => other.to_string(),
    }
}

/// Remembers what was done. What is done stays done if that fails; then the server's own log has it.
pub(in crate::http) async fn note(
    state: &State,
    who: &Principal,
    tenant: Option<TenantId>,
    action: &'static str,
    target: impl ToString,
    details: Value,
) {
    let deed = Deed { tenant, actor: actor(who), action, target: target.to_string(), details };
    if let Err(error) = audit::note(&state.db, deed.clone()).await {
        tracing::error!(%error, ?deed, "the audit log could not be written");
    }
}
