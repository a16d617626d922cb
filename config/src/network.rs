//! Networks of IP addresses, and the authority of a URL.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address, or a network in CIDR notation such as `10.0.0.0/8` or `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    /// Leading bits that every address of the network has in common.
    prefix: u8,
}

impl Network {
    /// Whether an address belongs to the network. An IPv4 address mapped into IPv6 is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let different = u32::from(own) ^ u32::from(other);
                different.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let different = u128::from(own) ^ u128::from(other);
                different.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address and no network such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // `parse` alone would take "+8".
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
            None => longest,
        };
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whether a text is the authority of an HTTP URL without user information (RFC 3986 §3.2): a host name, an IPv4
/// address or an IPv6 address in brackets, and perhaps a port.
pub fn is_authority(text: &str) -> bool {
    let (host_is_right, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (is_host_name(&text[..end]), &text[end..])
        }
    };
    let port_is_right = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|n| n > 0),
        None => port.is_empty(),
    };
    host_is_right && port_is_right
}

/// Labels of letters, digits, `-` and `_`, as the names of hosts and of containers have them.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// Whether a text is what links may begin with: http or https, an authority, perhaps a path.
pub(crate) fn is_public_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let segment = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~' | b'%');
    is_authority(authority) && path.bytes().all(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses() {
        let is_in =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(is_in("10.0.0.1", "10.0.0.1") && !is_in("10.0.0.1", "10.0.0.2"));
        assert!(is_in("10.0.0.0/8", "10.255.1.2") && !is_in("10.0.0.0/8", "11.0.0.0"));
        assert!(is_in("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(is_in("0.0.0.0/0", "203.0.113.9") && !is_in("0.0.0.0/0", "2001:db8::1"));
        assert!(is_in("2001:db8::/32", "2001:db8:1::1") && !is_in("2001:db8::/32", "2001:db9::1"));
        assert!(is_in("::/0", "2001:db8::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::1/129", "proxy.example", "10.0.0.0/8/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong:?}");
        }
        assert_eq!("10.0.0.1".parse::<Network>().unwrap().to_string(), "10.0.0.1/32");
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for right in ["club.example", "club.example.", "club.example:8443", "127.0.0.1:80", "[::1]", "[2001:db8::1]:80"]
        {
            assert!(is_authority(right), "{right:?}");
        }
        for wrong in [
            "",
            ":80",
            "club.example:",
            "club.example:0",
            "club.example:65536",
            "club.example:+80",
            "a@club.example",
            "club.example/x",
            "club.example?x",
            "club.example#x",
            "club example",
            "club..example",
            "[::1",
            "[::1]x",
            "[club]",
            "::1",
            "club.example\\x",
            "müller.example",
            "club.example:80:80",
        ] {
            assert!(!is_authority(wrong), "{wrong:?}");
        }
        assert!(!is_authority(&format!("{}.example", "a".repeat(64))));
    }

    #[test]
    fn links_begin_with_http_a_host_and_perhaps_a_path() {
        for right in ["https://club.example", "http://127.0.0.1:8080", "https://club.example/video/", "https://[::1]"] {
            assert!(is_public_url(right), "{right:?}");
        }
        for wrong in [
            "",
            "club.example",
            "javascript://club.example",
            "ftp://club.example",
            "https://",
            "https:///x",
            "https://a@club.example",
            "https://club.example?x=1",
            "https://club.example/#x",
            "https://club.example/ x",
        ] {
            assert!(!is_public_url(wrong), "{wrong:?}");
        }
    }
}
