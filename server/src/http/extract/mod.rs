//! What handlers ask for in their signatures. Taking a [`Viewer`], [`Editor`], [`TenantAdmin`] or
//! [`Operator`] proves the right and carries the tenant; no handler checks a role by hand.
//!
//! Rights come first in a signature, so that 401 and 403 are answered before 404 and 422.

mod authenticate;
mod id;
mod identity;
mod json;
mod page;
mod principal;
mod principal_cache;
mod query;
mod row;
mod standing;
mod texts;

pub use authenticate::authenticate;
pub use id::Id;
pub use identity::Identity;
pub use json::{Json, config as json_config, read as read_json};
pub use page::{Listing, PageQuery};
pub use principal::{Editor, Operator, Principal, Session, TenantAdmin, Viewer, tenant_of};
pub use principal_cache::PrincipalCache;
pub use query::Query;
pub use row::{Row, find, noun};
pub use standing::check_active;
pub use texts::{storable, unstorable};
