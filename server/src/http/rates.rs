//! How fast requests may come: of each tenant, and from each address that sends no valid credential.
//!
//! Each may come at its rate, and as many at once as in one second. A refused request is not counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use actors::Node;
use actors::ephemeral::{EphemeralStore, Rate, RateDecision};
use actors::settings::tenant_limits;
use actors::settings::tenant_limits::LimitReached;
use config::{Limits, ServerSettings};
use entities::TenantId;
use moka::future::Cache;

use super::extract::tenant_of;
use super::forwarding::Forwarding;
use super::problem::Problem;

/// How long a tenant's own limits are used before their row is read again.
const REMEMBERED: Duration = Duration::from_millis(500);
/// Tenants whose limits are remembered.
const TENANTS: u64 = 100_000;

/// Test messages to webhooks that a tenant may ask for: so many at once, and one more each time one is due.
const WEBHOOK_TESTS: u32 = 10;
/// Seconds in which [`WEBHOOK_TESTS`] may be asked for again.
const WEBHOOK_TESTS_WITHIN: f64 = 60.0;
/// What is left of a rate.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// A rate.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How fast requests come, and how fast they may.
pub struct Rates {
    store: Arc<dyn EphemeralStore>,
    of_tenants: Cache<TenantId, Arc<Limits>>,
    by_address: u32,
    forwarding: Forwarding,
}

/// A rate that is limited, and what one request of it came to.
pub(super) struct Limited {
    /// The limit, as settings and answers call it.
    pub(super) name: &'static str,
    what: &'static str,
    per_second: u32,
    decision: RateDecision,
}

impl Rates {
    /// Rates that are counted in `store`.
    pub fn new(store: Arc<dyn EphemeralStore>, settings: &ServerSettings) -> Self {
        let of_tenants = Cache::builder().max_capacity(TENANTS).time_to_live(REMEMBERED).build();
        let (by_address, forwarding) = (settings.requests_per_second_by_address, Forwarding::new(settings));
        Self { store, of_tenants, by_address, forwarding }
    }

    /// Counts a request; none where nothing limits it.
    pub(super) async fn count(&self, node: &Node, request: &ServiceRequest) -> Result<Option<Limited>, Problem> {
        let (name, what, per_second, key) = match tenant_of(request.request()) {
            Some(tenant) => {
                let per_second = self.limits_of(node, tenant).await?.requests_per_second;
                if per_second == 0 {
                    return Ok(None);
                }
                ("requests_per_second", "requests a second may come", per_second, format!("{tenant}:requests"))
            }
            None if self.by_address == 0 => return Ok(None),
            None => {
                let Some(address) = self.forwarding.client(request.request()) else { return Ok(None) };
                let address = network(address);
                let what = "requests a second may come from one address without a credential that holds";
                ("requests_per_second_by_address", what, self.by_address, format!("requests:{address}"))
            }
        };
        let rate = Rate { per_second: per_second.into(), burst: per_second.into() };
        let decision = self.store.spend(&key, rate).await;
        Ok(Some(Limited { name, what, per_second, decision }))
    }

    /// Counts a test message to one of the tenant's webhooks.
    ///
    /// # Errors
    /// 429 when they come too fast.
    pub async fn count_webhook_test(&self, tenant: TenantId) -> Result<(), Problem> {
        let rate = Rate { per_second: f64::from(WEBHOOK_TESTS) / WEBHOOK_TESTS_WITHIN, burst: WEBHOOK_TESTS.into() };
        match self.store.spend(&format!("{tenant}:webhook-tests"), rate).await {
            RateDecision::Allowed { .. } => Ok(()),
            RateDecision::Denied { retry_after } => Err(LimitReached {
                limit: "webhook_tests",
                most: WEBHOOK_TESTS.into(),
                what: "test messages to webhooks may be asked for in a minute",
                retry_after,
            }
            .into()),
        }
    }

    /// What holds for a tenant, at most half a second old.
    ///
    /// # Errors
    /// Of the database.
    pub async fn limits_of(&self, node: &Node, tenant: TenantId) -> Result<Arc<Limits>, Problem> {
        let read = async {
            let everywhere = node.live.borrow().live.limits.clone();
            Ok(Arc::new(tenant_limits::of(node.database(), &everywhere, tenant).await?))
        };
        // Of concurrent requests without remembered limits, one reads the row.
        self.of_tenants.try_get_with(tenant, read).await.map_err(|problem: Arc<Problem>| (*problem).clone())
    }
}

/// What one customer of a provider has: an IPv4 address, or a network of 64 bits of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => IpAddr::V6((u128::from(long) >> 64 << 64).into()),
    }
}

impl Limited {
    /// The headers of draft-ietf-httpapi-ratelimit-headers-10.
    pub(super) fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let (remaining, seconds) = match self.decision {
            RateDecision::Allowed { remaining } => (remaining, 1),
            RateDecision::Denied { retry_after } => (0, whole_seconds(retry_after)),
        };
        let text = |text: String| HeaderValue::try_from(text).expect("names and numbers make a header value");
        [
            (RATE_LIMIT_POLICY, text(format!("\"{}\";q={};w=1", self.name, self.per_second))),
            (RATE_LIMIT, text(format!("\"{}\";r={remaining};t={seconds}", self.name))),
        ]
    }

    /// The answer to a request that came too fast; none where it may go on.
    pub(super) fn refusal(&self) -> Option<Problem> {
        let RateDecision::Denied { retry_after } = self.decision else { return None };
        let retry_after = Duration::from_secs(whole_seconds(retry_after));
        let most = self.per_second.into();
        let refusal = Problem::from(LimitReached { limit: self.name, most, what: self.what, retry_after });
        Some(self.headers().into_iter().fold(refusal, |refusal, (name, value)| refusal.header(name, value)))
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("198.51.100.7"), "198.51.100.7");
    }
}
