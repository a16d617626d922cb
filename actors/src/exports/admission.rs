//! Whether one more export is admitted: a tenant's limit of unfinished exports, and the deployment's.

use std::time::Duration;

use config::Limits;
use entities::exports::{self, Backlog};
use entities::jobs::{self, Load};
use entities::{TenantId, Transaction, tenants};

use super::error::RequestError;
use crate::context::NodeContext;
use crate::settings::tenant_limits::{self, LimitReached};

/// What a full deployment says: which exports end first, and which tenant asks next, cannot be known.
const DEPLOYMENT_FULL: Duration = Duration::from_secs(10);
const SHORTEST_WAIT_SECONDS: f64 = 1.0;
const LONGEST_WAIT_SECONDS: f64 = 3600.0;

/// Whether the tenant, and the deployment, may have one more unfinished export, until `tx` ends.
///
/// # Errors
/// [`RequestError::Limit`] with the limit's name.
pub async fn check_room(tx: &Transaction, context: &NodeContext, tenant: TenantId) -> Result<(), RequestError> {
    let everywhere = context.live.borrow().live.limits.clone();
    let limits = tenant_limits::of(&context.db, &everywhere, tenant).await?;
    // Locked, so that two requests at the same instant cannot both be the last that fits.
    tenants::lock(tx, tenant).await?;
    let (own, all) = (exports::backlog(tx, tenant).await?, jobs::load(tx).await?);
    Ok(admit(&limits, own, all, context.device_count)?)
}

/// Decides by the tenant's backlog `own` and the deployment's load `all`.
fn admit(limits: &Limits, own: Backlog, all: Load, devices: usize) -> Result<(), LimitReached> {
    if own.exports >= u64::from(limits.queued_exports) {
        let share = devices as f64 / all.tenants.max(1) as f64;
        return Err(LimitReached {
            limit: "queued_exports",
            most: limits.queued_exports.into(),
            what: "exports may wait or run at a time",
            retry_after: until_one_ends(own, share),
        });
    }
    if all.exports >= u64::from(limits.queued_exports_of_all) {
        return Err(LimitReached {
            limit: "queued_exports_of_all",
            most: limits.queued_exports_of_all.into(),
            what: "exports of all tenants may wait or run at a time",
            retry_after: DEPLOYMENT_FULL,
        });
    }
    Ok(())
}

/// When the first export of `backlog` will have ended on so many devices: they are rendered one after the other.
fn until_one_ends(backlog: Backlog, devices: f64) -> Duration {
    let each = backlog.device_seconds / backlog.exports.max(1) as f64;
    Duration::from_secs_f64((each / devices).clamp(SHORTEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(queued_exports: u32, queued_exports_of_all: u32) -> Limits {
        Limits { queued_exports, queued_exports_of_all, ..config::Live::default().limits }
    }

    fn backlog(exports: u64, device_seconds: f64) -> Backlog {
        Backlog { exports, device_seconds }
    }

    fn load(exports: u64, tenants: u64) -> Load {
        Load { exports, tenants }
    }

    #[test]
    fn a_tenant_is_admitted_below_its_limit_and_refused_at_it() {
        let limits = limits(3, 100);
        assert!(admit(&limits, backlog(2, 10.0), load(2, 1), 1).is_ok());
        let reached = admit(&limits, backlog(3, 30.0), load(3, 1), 1).unwrap_err();
        assert_eq!((reached.limit, reached.most), ("queued_exports", 3));
        assert_eq!(reached.retry_after, Duration::from_secs(10), "one of three in 30 s on one device");
    }

    #[test]
    fn the_wait_is_by_the_tenants_share_of_the_devices() {
        let limits = limits(10, 100);
        let reached = admit(&limits, backlog(10, 1000.0), load(20, 2), 8).unwrap_err();
        assert_eq!(reached.retry_after, Duration::from_secs(25), "100 s each on half of eight devices");
        let reached = admit(&limits, backlog(10, 0.0), load(10, 1), 8).unwrap_err();
        assert_eq!(reached.retry_after, Duration::from_secs(1));
        let reached = admit(&limits, backlog(10, 1e9), load(10, 1), 1).unwrap_err();
        assert_eq!(reached.retry_after, Duration::from_secs(3600));
    }

    #[test]
    fn a_full_deployment_refuses_a_tenant_with_room() {
        let limits = limits(10, 20);
        assert!(admit(&limits, backlog(0, 0.0), load(19, 3), 1).is_ok());
        let reached = admit(&limits, backlog(0, 0.0), load(20, 3), 1).unwrap_err();
        assert_eq!((reached.limit, reached.retry_after), ("queued_exports_of_all", DEPLOYMENT_FULL));
    }

    #[test]
    fn the_tenants_own_limit_comes_first() {
        let reached = admit(&limits(1, 1), backlog(1, 5.0), load(1, 1), 1).unwrap_err();
        assert_eq!(reached.limit, "queued_exports");
    }
}
