//! The middleware that finds out who asks, before any extractor runs.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use entities::tenants::{self, TenantState};
use entities::{Database, TenantId, UserId, users};

use super::principal::{Outcome, Principal, Session};
use crate::http::problem::Problem;
use crate::http::state::State;

/// Leaves a [`Session`], or the refusal to give, in the request. It never refuses by itself: routes
/// without an extractor of a right are open.
pub async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let outcome = identify(&request).await;
    if let Ok(session) = &outcome {
        let span = tracing::Span::current();
        span.record("tenant", tracing::field::display(session.principal.tenant));
        span.record("user", tracing::field::display(session.principal.user));
    }
    request.extensions_mut().insert(outcome);
    next.call(request).await
}

async fn identify(request: &ServiceRequest) -> Outcome {
    let Some(header) = request.headers().get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized("missing_token", "send Authorization: Bearer with an access token"));
    };
    let token = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| Problem::unauthorized("invalid_token", "the Authorization header is no bearer token"))?;
    let state = request
        .app_data::<web::Data<State>>()
        .ok_or_else(|| Problem::internal("authenticating", "the server's state is missing"))?;
    let claims =
        state.tokens.verify(token).map_err(|error| Problem::unauthorized("invalid_token", error.to_string()))?;
    let mut principal = standing(&state.node.db, claims.tid, claims.sub).await?;
    principal.role = principal.role.min(claims.role);
    Ok(Session { principal, claims })
}

/// The principal that a user is right now.
///
/// # Errors
/// 401 when the account is gone, 403 when its tenant is suspended.
pub async fn standing(db: &Database, tenant: TenantId, user: UserId) -> Result<Principal, Problem> {
    let gone = || Problem::unauthorized("invalid_token", "the account does not exist any more");
    let tenant = tenants::get(db, tenant).await?.ok_or_else(gone)?;
    if tenant.state == TenantState::Suspended {
        return Err(Problem::forbidden("tenant_suspended", "the tenant is suspended; ask the operator"));
    }
    let user = users::get(db, tenant.id, user).await?.ok_or_else(gone)?;
    Ok(Principal { tenant: tenant.id, user: user.id, role: user.role })
}
