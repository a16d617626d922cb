//! The middleware that finds out who asks, before any extractor runs.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use chrono::Utc;
use entities::{api_keys, tenants};

use super::identity::Identity;
use super::principal::{Outcome, Principal, Session};
use super::standing::{active, check_active, key_ended};
use crate::http::auth::api_key;
use crate::http::auth::issuer::{Refused, Vouched};
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
        let principal = &session.principal;
        tracing::record_all!(tracing::Span::current(), tenant = %principal.tenant, user = %principal.identity);
    }
    request.extensions_mut().insert(outcome);
    next.call(request).await
}

async fn identify(request: &ServiceRequest) -> Outcome {
    let Some(header) = request.headers().get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized(
            "missing_token",
            "send Authorization: Bearer with an access token or an API key",
        ));
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
    if token.starts_with(api_key::PREFIX) {
        return key_holder(state, token).await;
    }
    if let Some(vouched) = state.issuers.vouch(token).await {
        return foreigner(state, vouched).await;
    }
    let claims =
        state.tokens.verify(token).map_err(|error| Problem::unauthorized("invalid_token", error.to_string()))?;
    let (identity, session_epoch) = (Identity::User(claims.sub), claims.epoch);
    let principal = Principal { tenant: claims.tid, identity, role: claims.role, session_epoch };
    let principal = state.principals.of(&state.db, principal).await?;
    Ok(Session { principal, claims: Some(claims) })
}

async fn key_holder(state: &State, text: &str) -> Outcome {
    let db = &state.db;
    let key = api_keys::find(db, &api_key::sha256(text)).await?;
    let key = key.filter(|key| key.is_valid(Utc::now())).ok_or_else(key_ended)?;
    active(db, key.tenant_id, key_ended).await?;
    state.key_use.note(db, key.id);
    let identity = Identity::Key(key.id);
    let principal = Principal { tenant: key.tenant_id, identity, role: key.scope.role(), session_epoch: 0 };
    Ok(Session { principal, claims: None })
}

async fn foreigner(state: &State, vouched: Result<Vouched, Refused>) -> Outcome {
    let Vouched { subject, tenant, role, until } = vouched.map_err(|refused| match refused {
        Refused::Expired | Refused::Invalid => Problem::unauthorized("invalid_token", refused.to_string()),
        Refused::NoTenant => Problem::forbidden("unknown_tenant", refused.to_string()),
        Refused::NoRole => Problem::forbidden("missing_right", refused.to_string()),
        Refused::Away => Problem::unavailable("issuer_away", refused.to_string()),
    })?;
    let db = &state.db;
    let found = match tenant.parse() {
        Ok(id) => tenants::get(db, id).await?,
        Err(_) => tenants::find_by_name(db, &tenant).await?,
    };
    let Some(found) = found else {
        tracing::warn!(tenant, "an issuer speaks for a tenant that is not there");
        return Err(Problem::forbidden("unknown_tenant", Refused::NoTenant.to_string()));
    };
    check_active(&found)?;
    let identity = Identity::Foreign { subject, until };
    Ok(Session { principal: Principal { tenant: found.id, identity, role, session_epoch: 0 }, claims: None })
}
