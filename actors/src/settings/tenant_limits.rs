//! How much a tenant may ask for: the deployment's limits, and a tenant's own where it has some.

use std::time::Duration;

use config::Limits;
use entities::exports::{self, Backlog};
use entities::tenant_limits::{self, TenantLimits};
use entities::{Database, TenantId, Transaction, jobs, tenants};

use crate::exports::request::RequestError;
use crate::node::NodeContext;

/// A request that would be one too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit {limit} is reached: {most} {what}")]
pub struct LimitReached {
    /// The limit's name in the settings.
    pub limit: &'static str,
    pub most: u64,
    /// Of what.
    pub what: &'static str,
    /// When it may be worth while to try again.
    pub retry_after: Duration,
}

/// What holds for a tenant.
pub async fn of(db: &Database, everywhere: &Limits, tenant: TenantId) -> Result<Limits, entities::Error> {
    Ok(with_own(everywhere, &tenant_limits::get(db, tenant).await?))
}

/// The deployment's limits with a tenant's own in their place.
pub fn with_own(everywhere: &Limits, own: &TenantLimits) -> Limits {
    let small = |own: Option<i64>, else_: u32| own.and_then(|own| u32::try_from(own).ok()).unwrap_or(else_);
    let large = |own: Option<i64>, else_: u64| own.and_then(|own| u64::try_from(own).ok()).unwrap_or(else_);
    Limits {
        concurrent_exports: small(own.concurrent_exports, everywhere.concurrent_exports),
        queued_exports: small(own.queued_exports, everywhere.queued_exports),
        interactive_frames: small(own.interactive_frames, everywhere.interactive_frames),
        storage_bytes: large(own.storage_bytes, everywhere.storage_bytes),
        upload_bytes: large(own.upload_bytes, everywhere.upload_bytes),
        requests_per_second: small(own.requests_per_second, everywhere.requests_per_second),
        ..everywhere.clone()
    }
}

/// Whether the tenant, and the deployment, may have one more unfinished export, until `tx` ends.
///
/// # Errors
/// [`RequestError::Limit`] with the limit's name.
pub async fn check_room(tx: &Transaction, context: &NodeContext, tenant: TenantId) -> Result<(), RequestError> {
    let everywhere = context.live.borrow().live.limits.clone();
    let limits = of(&context.db, &everywhere, tenant).await?;
    // Locked, so that two requests at the same instant cannot both be the last that fits.
    tenants::lock(tx, tenant).await?;
    let own = exports::backlog(tx, tenant).await?;
    let all = jobs::load(tx).await?;
    if own.exports >= u64::from(limits.queued_exports) {
        let devices = context.device_count as f64 / all.tenants.max(1) as f64;
        return Err(RequestError::Limit(LimitReached {
            limit: "queued_exports",
            most: limits.queued_exports.into(),
            what: "exports may wait or run at a time",
            retry_after: until_one_ends(own, devices),
        }));
    }
    if all.exports >= u64::from(limits.queued_exports_of_all) {
        return Err(RequestError::Limit(LimitReached {
            limit: "queued_exports_of_all",
            most: limits.queued_exports_of_all.into(),
            what: "exports of all tenants may wait or run at a time",
            retry_after: DEPLOYMENT_FULL,
        }));
    }
    Ok(())
}

/// Nobody can tell whose exports end first, nor who asks next.
const DEPLOYMENT_FULL: Duration = Duration::from_secs(10);
const SHORTEST_WAIT: f64 = 1.0;
const LONGEST_WAIT: f64 = 3600.0;

/// When the first export of `backlog` will have ended on so many devices: they are rendered one after the other.
fn until_one_ends(backlog: Backlog, devices: f64) -> Duration {
    let each = backlog.device_seconds / backlog.exports.max(1) as f64;
    Duration::from_secs_f64((each / devices).clamp(SHORTEST_WAIT, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_limits_replace_the_deployments() {
        let everywhere = config::Live::default().limits;
        let tenant = TenantId::new();
        assert_eq!(with_own(&everywhere, &TenantLimits::none(tenant)), everywhere);
        let own = TenantLimits { queued_exports: Some(3), ..TenantLimits::none(tenant) };
        assert_eq!(with_own(&everywhere, &own), Limits { queued_exports: 3, ..everywhere });
    }

    #[test]
    fn waiting_is_told_by_what_is_left_to_do() {
        let backlog = Backlog { exports: 10, device_seconds: 1000.0 };
        assert_eq!(until_one_ends(backlog, 4.0), Duration::from_secs(25));
        assert_eq!(until_one_ends(Backlog::default(), 4.0), Duration::from_secs(1));
    }
}
