//! Who sent a request, and under which address the server was reached, where proxies stand in between.
//!
//! Forwarded headers count only from proxies of `server.trusted_proxies`. Each proxy appends what it knows of the
//! request that it received, so a list is read from its end: as many entries as there are trusted proxies on the way
//! were written by them, all before may have been written by the client. `X-Forwarded-*` headers are used where any of
//! them is there, else `Forwarded` (RFC 7239): most proxies write the former and pass the latter on as it came.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use config::{Network, ServerSettings, is_authority};

use super::problem::Problem;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Which proxies are trusted, and the public address where it is configured.
#[derive(Debug, Clone)]
pub struct Forwarding {
    proxies: Vec<Network>,
    /// Without a slash at its end.
    pub(super) public_url: Option<String>,
}

/// The forwarded headers of one request: per proxy, the farthest first.
#[derive(Debug, Default)]
struct Forwarded<'a> {
    fors: Vec<Cow<'a, str>>,
    protos: Vec<Cow<'a, str>>,
    hosts: Vec<Cow<'a, str>>,
}

impl Forwarding {
    /// By the settings.
    pub fn new(settings: &ServerSettings) -> Self {
        let public_url = settings.public_url.trim_end_matches('/');
        Self {
            proxies: settings.trusted_proxies.clone(),
            public_url: (!public_url.is_empty()).then(|| public_url.to_owned()),
        }
    }

    /// The address of the client that sent a request; `None` where the connection has no address.
    pub fn client(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        Some(self.way(peer, &Forwarded::of(request.headers()).fors).0)
    }

    /// What a link to this server begins with: the public URL, else scheme and host of the request, as the client sent
    /// it to the first trusted proxy or to this server.
    ///
    /// # Errors
    /// 400 when the request has no host, several, or one that is none.
    pub fn base(&self, request: &HttpRequest) -> Result<String, Problem> {
        if let Some(url) = &self.public_url {
            return Ok(url.clone());
        }
        let forwarded = Forwarded::of(request.headers());
        let trusted = request.peer_addr().map_or(0, |peer| self.way(peer.ip(), &forwarded.fors).1);
        let own_scheme = if request.app_config().secure() { "https" } else { "http" };
        let scheme = match entry(&forwarded.protos, trusted) {
            Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
            Some(proto) if proto.eq_ignore_ascii_case("http") => "http",
            _ => own_scheme,
        };
        let host = match entry(&forwarded.hosts, trusted) {
            Some(host) => Some(host),
            None => own_host(request),
        };
        match host.filter(|host| is_authority(host)) {
            Some(host) => Ok(format!("{scheme}://{host}")),
            None => {
                Err(Problem::bad_request("bad_host", "Host has to be one host name or address, perhaps with a port"))
            }
        }
    }

    /// Follows a request back through the trusted proxies, given what each wrote about where it had it from: the first
    /// address that is none of theirs, and how many of them it passed.
    fn way(&self, peer: IpAddr, fors: &[Cow<'_, str>]) -> (IpAddr, usize) {
        let (mut address, mut trusted, mut earlier) = (peer.to_canonical(), 0, fors.iter().rev());
        while self.proxies.iter().any(|network| network.contains(address)) {
            trusted += 1;
            match earlier.next().and_then(|text| address_of(text)) {
                Some(before) => address = before,
                // It counts as the proxy's own request: a limit by address is not passed by.
                None => break,
            }
        }
        (address, trusted)
    }
}

impl<'a> Forwarded<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let list = |name| listed(headers, name, ',').into_iter().map(Cow::Borrowed).collect();
        let own = Self { fors: list(&FORWARDED_FOR), protos: list(&FORWARDED_PROTO), hosts: list(&FORWARDED_HOST) };
        if [&own.fors, &own.protos, &own.hosts].into_iter().any(|list| !list.is_empty()) {
            return own;
        }
        let mut found = Self::default();
        for element in listed(headers, &header::FORWARDED, ',') {
            let value = |name: &str| {
                let pairs = split_unquoted(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
                let mut values = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
                values.next().map_or(Cow::Borrowed(""), |(_, value)| unquoted(value.trim()))
            };
            found.fors.push(value("for"));
            found.protos.push(value("proto"));
            found.hosts.push(value("host"));
        }
        found
    }
}

/// The entry that the farthest trusted proxy wrote. A list may be shorter than the way: then a proxy nearer to this
/// server passed on what it received.
fn entry<'a>(list: &'a [Cow<'_, str>], trusted: usize) -> Option<&'a str> {
    if trusted == 0 {
        return None;
    }
    list.get(list.len().saturating_sub(trusted)).map(AsRef::as_ref).filter(|entry| !entry.is_empty())
}

/// The `Host` of a request, or the host of a request target in absolute form, which goes first (RFC 9112 §3.2.2).
fn own_host(request: &HttpRequest) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut hosts = request.headers().get_all(header::HOST);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// An address as proxies write it: perhaps in brackets, perhaps with a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|with_port| with_port.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// The entries of a header that is a list, over all of its lines.
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName, separator: char) -> Vec<&'a str> {
    let lines = headers.get_all(name).filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| split_unquoted(line, separator)).map(str::trim).collect()
}

/// Splits at a separator outside of quoted strings.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let at_separator = move |char: char| {
        let splits = char == separator && !quoted;
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        splits
    };
    text.split(at_separator).collect()
}

fn unquoted(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if inner.contains('\\') => Cow::Owned(inner.replace('\\', "")),
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn forwarding(proxies: &[&str], public_url: &str) -> Forwarding {
        let settings = config::Settings::load_from(None, []).unwrap().server;
        let trusted_proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Forwarding::new(&ServerSettings { trusted_proxies, public_url: public_url.to_owned(), ..settings })
    }

    fn request(peer: &str, headers: &[(&'static str, &str)]) -> HttpRequest {
        let mut request = TestRequest::default().peer_addr(SocketAddr::new(peer.parse().unwrap(), 1));
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        request.to_http_request()
    }

    fn client(forwarding: &Forwarding, peer: &str, headers: &[(&'static str, &str)]) -> String {
        forwarding.client(&request(peer, headers)).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let none = forwarding(&[], "");
        assert_eq!(client(&none, "198.51.100.7", &[("x-forwarded-for", "203.0.113.9")]), "198.51.100.7");
        let two = forwarding(&["10.0.0.0/30"], "");
        let way = [("x-forwarded-for", "6.6.6.6, 203.0.113.9"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(&two, "10.0.0.1", &way), "203.0.113.9");
        assert_eq!(client(&two, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&two, "::ffff:10.0.0.1", &[("x-forwarded-for", "203.0.113.9")]), "203.0.113.9");
        assert_eq!(client(&two, "10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:4711")]), "2001:db8::1");
        assert_eq!(client(&two, "10.0.0.1", &[("x-forwarded-for", "203.0.113.9:4711")]), "203.0.113.9");
        assert_eq!(
            client(&two, "10.0.0.1", &[("x-forwarded-for", "nonsense")]),
            "10.0.0.1",
            "the limit is not passed by"
        );
        assert_eq!(client(&two, "198.51.100.7", &[("x-forwarded-for", "10.0.0.1")]), "198.51.100.7");
    }

    #[test]
    fn the_standard_header_counts_where_the_others_are_missing() {
        let proxied = forwarding(&["10.0.0.1", "10.0.0.2"], "");
        let standard = r#"for=6.6.6.6, for="[2001:db8:cafe::17]:4711";proto=https;host="club.example", for=10.0.0.2"#;
        assert_eq!(client(&proxied, "10.0.0.1", &[("forwarded", standard)]), "2001:db8:cafe::17");
        let base = proxied.base(&request("10.0.0.1", &[("forwarded", standard), ("host", "inner:8080")])).unwrap();
        assert_eq!(base, "https://club.example");
        let both =
            [("forwarded", "for=6.6.6.6;host=evil.example"), ("x-forwarded-for", "203.0.113.9"), ("host", "club")];
        assert_eq!(client(&proxied, "10.0.0.1", &both), "203.0.113.9");
        assert_eq!(proxied.base(&request("10.0.0.1", &both)).unwrap(), "http://club");
        let tricky = r#"for="a,b\",c";host="x;y", for=203.0.113.9"#;
        assert_eq!(client(&proxied, "10.0.0.1", &[("forwarded", tricky)]), "203.0.113.9");
    }

    #[test]
    fn links_begin_with_what_trusted_proxies_forward() {
        let base = |forwarding: &Forwarding, headers: &[(&'static str, &str)]| {
            forwarding.base(&request("10.0.0.1", headers)).map_err(|problem| problem.code())
        };
        let evil =
            [("x-forwarded-proto", "javascript"), ("x-forwarded-host", "evil.example"), ("host", "club.example:8080")];
        let (untrusted, trusted) = (forwarding(&[], ""), forwarding(&["10.0.0.1"], ""));
        assert_eq!(base(&untrusted, &evil), Ok("http://club.example:8080".to_owned()));
        assert_eq!(base(&trusted, &evil), Ok("http://evil.example".to_owned()), "never another scheme");
        let https = [("x-forwarded-proto", "HTTPS"), ("host", "club.example")];
        assert_eq!(base(&trusted, &https), Ok("https://club.example".to_owned()));
        assert_eq!(base(&untrusted, &https), Ok("http://club.example".to_owned()));
        // What the client wrote stands before what the proxy appended.
        let appended = [("x-forwarded-host", "evil.example, club.example"), ("host", "inner")];
        assert_eq!(base(&trusted, &appended), Ok("http://club.example".to_owned()));
        for host in ["evil.example/x", "a@b", "", "a b"] {
            assert_eq!(base(&untrusted, &[("host", host)]), Err("bad_host"), "{host:?}");
        }
        assert_eq!(base(&trusted, &[("x-forwarded-host", "evil/x"), ("host", "club")]), Err("bad_host"));
        assert_eq!(base(&untrusted, &[("host", "one"), ("host", "two")]), Err("bad_host"));
        assert_eq!(base(&untrusted, &[]), Err("bad_host"));
        let public = forwarding(&["10.0.0.1"], "https://video.club.example/");
        assert_eq!(base(&public, &evil), Ok("https://video.club.example".to_owned()));
    }
}
