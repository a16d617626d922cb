//! Who asks, and the rights that prove it.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use entities::users::Role;
use entities::{TenantId, UserId};
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::http::auth::token::Claims;
use crate::http::problem::Problem;

/// What acts for a tenant, known by a token, a key or a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Whose rows may be touched.
    pub tenant: TenantId,
    /// Who it is.
    pub identity: Identity,
    /// What may be done: the lesser of the credential's and the account's role.
    pub role: Role,
    /// A user's session epoch when the session began, see [`Claims::epoch`]; 0 for others.
    pub session_epoch: i64,
}

impl Principal {
    /// The user, where it is one of this deployment.
    pub fn user(&self) -> Option<UserId> {
        match self.identity {
            Identity::User(id) => Some(id),
            Identity::Key(_) | Identity::Foreign { .. } => None,
        }
    }
}

/// A principal and what proved it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who it is.
    pub principal: Principal,
    /// What the access token says, where it was one of ours.
    pub claims: Option<Arc<Claims>>,
}

/// What [`super::authenticate`] leaves in a request: who asks, or the refusal to give when a
/// handler wants to know.
pub(super) type Outcome = Result<Session, Problem>;

/// What `part` is of who asks.
fn session<T>(request: &HttpRequest, part: impl FnOnce(&Session) -> T) -> Result<T, Problem> {
    match request.extensions().get::<Outcome>() {
        Some(Ok(session)) => Ok(part(session)),
        Some(Err(refusal)) => Err(refusal.clone()),
        None => Err(Problem::internal("authenticating", "the route is outside the authenticated scope")),
    }
}

/// The tenant whose credential a request carries; none where it carries none that holds.
pub fn tenant_of(request: &HttpRequest) -> Option<TenantId> {
    let extensions = request.extensions();
    let session = extensions.get::<Outcome>()?.as_ref().ok()?;
    Some(session.principal.tenant)
}

fn at_least(request: &HttpRequest, least: Role) -> Result<Principal, Problem> {
    let principal = session(request, |session| session.principal)?;
    if principal.role < least {
        let detail = format!("this needs the role {}, and yours is {}", name(least), name(principal.role));
        return Err(Problem::forbidden("missing_right", detail));
    }
    Ok(principal)
}

/// A role as the API spells it.
fn name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Editor => "editor",
        Role::Admin => "admin",
        Role::Operator => "operator",
    }
}

impl FromRequest for Session {
    type Error = Problem;
    type Future = Ready<Outcome>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(session(request, Session::clone))
    }
}

macro_rules! right {
    ($(#[$doc:meta])* $name:ident, $least:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name(Principal);

        impl Deref for $name {
            type Target = Principal;

            fn deref(&self) -> &Principal {
                &self.0
            }
        }

        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(at_least(request, $least).map(Self))
            }
        }
    };
}

right! {
    /// May read the tenant's things.
    Viewer, Role::Viewer
}
right! {
    /// May also write them.
    Editor, Role::Editor
}
right! {
    /// May also run the tenant's users.
    TenantAdmin, Role::Admin
}
right! {
    /// May also run the deployment.
    Operator, Role::Operator
}
