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
use config::ServerSettings;
use entities::TenantId;
use moka::future::Cache;

use super::extract::tenant_of;
use super::problem::Problem;

/// How long a tenant's own rate is used before its row is read again.
const REMEMBERED: Duration = Duration::from_millis(500);
/// Tenants whose rate is remembered.
const TENANTS: u64 = 100_000;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What is left of a rate.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// A rate.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How fast requests come, and how fast they may.
pub struct Rates {
    store: Arc<dyn EphemeralStore>,
    of_tenants: Cache<TenantId, u32>,
    by_address: u32,
    proxies: Vec<IpAddr>,
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
        let (by_address, proxies) = (settings.requests_per_second_by_address, settings.trusted_proxies.clone());
        Self { store, of_tenants, by_address, proxies }
    }

    /// Counts a request; none where nothing limits it.
    pub(super) async fn count(&self, node: &Node, request: &ServiceRequest) -> Result<Option<Limited>, Problem> {
        let (name, what, per_second, key) = match tenant_of(request.request()) {
            Some(tenant) => {
                let per_second = self.of_tenant(node, tenant).await?;
                if per_second == 0 {
                    return Ok(None);
                }
                ("requests_per_second", "requests a second may come", per_second, format!("{tenant}:requests"))
            }
            None if self.by_address == 0 => return Ok(None),
            None => {
                let Some(address) = self.client(request) else { return Ok(None) };
                let what = "requests a second may come from one address without a credential that holds";
                ("requests_per_second_by_address", what, self.by_address, format!("requests:{address}"))
            }
        };
        let rate = Rate { per_second: per_second.into(), burst: per_second.into() };
        let decision = self.store.spend(&key, rate).await;
        Ok(Some(Limited { name, what, per_second, decision }))
    }

    async fn of_tenant(&self, node: &Node, tenant: TenantId) -> Result<u32, Problem> {
        let read = async {
            let everywhere = node.live.borrow().live.limits.clone();
            Ok(tenant_limits::of(node.database(), &everywhere, tenant).await?.requests_per_second)
        };
        // Of concurrent requests without a remembered rate, one reads the row.
        self.of_tenants.try_get_with(tenant, read).await.map_err(|problem: Arc<Problem>| (*problem).clone())
    }

    /// Who sent a request: the last address on its way that is no proxy of ours.
    fn client(&self, request: &ServiceRequest) -> Option<IpAddr> {
        let mut address = request.peer_addr()?.ip().to_canonical();
        let way = request.headers().get_all(&FORWARDED_FOR).filter_map(|value| value.to_str().ok());
        let way: Vec<&str> = way.flat_map(|value| value.split(',')).map(str::trim).collect();
        for earlier in way.into_iter().rev() {
            if !self.proxies.contains(&address) {
                break;
            }
            address = earlier.parse::<IpAddr>().ok()?.to_canonical();
        }
        Some(network(address))
    }
}

/// What one customer of a provider has: an IPv4 address, or a network of 64 bits of IPv6.
fn network(address: IpAddr) -> IpAddr {
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
    use actix_web::test::TestRequest;
    use actors::ephemeral::MemoryStore;

    use super::*;

    fn rates(proxies: &[&str]) -> Rates {
        let settings = config::Settings::load_from(None, []).unwrap().server;
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let settings = ServerSettings { trusted_proxies: proxies, ..settings };
        Rates::new(Arc::new(MemoryStore::default()), &settings)
    }

    fn client(rates: &Rates, peer: &str, forwarded: &[&str]) -> Option<String> {
        let mut request = TestRequest::default().peer_addr(std::net::SocketAddr::new(peer.parse().unwrap(), 1));
        for value in forwarded {
            request = request.append_header((FORWARDED_FOR.clone(), *value));
        }
        rates.client(&request.to_srv_request()).map(|address| address.to_string())
    }

    #[test]
    fn only_proxies_of_ours_are_believed() {
        let none = rates(&[]);
        assert_eq!(client(&none, "198.51.100.7", &["203.0.113.9"]).unwrap(), "198.51.100.7");
        let two = rates(&["10.0.0.1", "10.0.0.2"]);
        assert_eq!(client(&two, "10.0.0.1", &["6.6.6.6, 203.0.113.9", "10.0.0.2"]).unwrap(), "203.0.113.9");
        assert_eq!(client(&two, "10.0.0.1", &[]).unwrap(), "10.0.0.1");
        assert_eq!(client(&two, "10.0.0.1", &["nonsense"]), None);
        assert_eq!(client(&two, "::ffff:10.0.0.1", &["203.0.113.9"]).unwrap(), "203.0.113.9");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let rates = rates(&[]);
        assert_eq!(client(&rates, "2001:db8:1:2:3:4:5:6", &[]).unwrap(), "2001:db8:1:2::");
    }
}
