//! How much a tenant may ask for: the deployment's limits, and a tenant's own where it has some.

use std::time::Duration;

use config::Limits;
use entities::tenant_limits::{self, TenantLimits};
use entities::{Database, TenantId};

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
        sockets_per_user: small(own.sockets_per_user, everywhere.sockets_per_user),
        sockets_per_tenant: small(own.sockets_per_tenant, everywhere.sockets_per_tenant),
        ..everywhere.clone()
    }
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
}
