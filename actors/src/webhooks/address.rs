//! Where a message may go. A tenant chooses the address, and must not reach the operator's network through the server
//! (SSRF): only public addresses are called, unless the settings allow others. The name is resolved for the very
//! connection that is made, so that a later answer of its DNS server cannot replace the checked address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The longest address of a webhook, in bytes.
const LONGEST_URL: usize = 2000;

/// Why a message may not go to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("this is no address of a web server; write https://HOST/PATH")]
    NoUrl,
    #[error("an address has at most {LONGEST_URL} bytes")]
    TooLong,
    #[error("only https is called here")]
    NotHttps,
    #[error("an address with a user or a password is not kept; sign what you receive instead")]
    Credentials,
    #[error("{0} is not a public address")]
    Private(String),
}

/// Whether messages may go to `url`, as far as can be decided without resolving its name.
///
/// # Errors
/// The reason, for the author of the address.
pub fn check_url(url: &str, allow_private: bool) -> Result<Url, AddressError> {
    if url.len() > LONGEST_URL {
        return Err(AddressError::TooLong);
    }
    let url = Url::parse(url).map_err(|_| AddressError::NoUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err(AddressError::NotHttps),
        _ => return Err(AddressError::NoUrl),
    }
    let host = url.host_str().ok_or(AddressError::NoUrl)?.to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Credentials);
    }
    // The parser has turned every way to write a number ("0x7f.1", "2130706433") into the same.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let literal = bare.parse::<IpAddr>().is_ok_and(|ip| !is_public(ip));
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    let local = name == "localhost" || name.ends_with(".localhost");
    if !allow_private && (literal || local) {
        return Err(AddressError::Private(host));
    }
    Ok(url)
}

/// Resolves names, and leaves out addresses that are not public.
pub struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<_> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                let refused = AddressError::Private(name.as_str().to_owned());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether this is a globally reachable address (IANA special-purpose registries, RFC 6890 and later).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        // This network, carrier NAT, IETF assignments, 6to4 relays, benchmarking, reserved.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // Mapped, and translated by NAT64 or 6to4: what counts is the address inside.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Local NAT64, Teredo, benchmarking and ORCHID, documentation.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0..=0x01ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, ..] => false,
        // Everything global lies in 2000::/3.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_distinguished_from_all_others() {
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::7f00:1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn addresses_that_go_inside_are_refused_however_they_are_written() {
        assert!(check_url("https://club.example/hook?x=1", false).is_ok());
        for inside in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://169.254.169.254/latest/meta-data",
            "https://127.1/",
        ] {
            assert!(matches!(check_url(inside, false), Err(AddressError::Private(_))), "{inside}");
            assert!(check_url(inside, true).is_ok(), "{inside}");
        }
        assert_eq!(check_url("http://club.example/", false), Err(AddressError::NotHttps));
        assert_eq!(check_url("https://me:secret@club.example/", false), Err(AddressError::Credentials));
        for no_url in ["", "club.example", "ftp://club.example/", "file:///etc/passwd", "https://"] {
            assert_eq!(check_url(no_url, true), Err(AddressError::NoUrl), "{no_url}");
        }
    }
}
