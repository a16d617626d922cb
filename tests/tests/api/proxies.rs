//! Links, `Location` and limits by address behind proxies: forwarded headers count only from those that are trusted.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::header::{HOST, LOCATION};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, answered};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::server::Server;

const DEVICES: (&str, &str) = ("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#);
/// The tests are their own proxy.
const TRUSTED: (&str, &str) = ("TOUCHLINE__SERVER__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#);
/// How long a line may take to the log.
const PATIENCE: Duration = Duration::from_secs(30);
const EVIL: [(&str, &str); 3] = [
    ("X-Forwarded-Proto", "javascript"),
    ("X-Forwarded-Host", "evil.example"),
    ("Forwarded", "proto=javascript;host=evil.example"),
];

struct Fixture {
    server: Server,
    club: Client,
    video: String,
}

async fn fixture(variables: &[(&str, &str)]) -> Result<Fixture> {
    let server = Server::start(variables).await?;
    let account = server.account("club", "coach@club.example", "editor")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10:duration=1", "-pix_fmt", "yuv420p"];
    ffmpeg(picture.map(OsStr::new).into_iter().chain([file.as_os_str()]))?;
    let video = club.upload(&file, 1 << 20, |_, _| {}).await?.id;
    Ok(Fixture { server, club, video })
}

impl Fixture {
    /// The answer to a request for a link.
    async fn share(&self, headers: &[(&str, &str)]) -> Result<Response> {
        let mut request = self.club.request(Method::POST, &format!("/videos/{}/links", self.video)).json(&json!({}));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// What a link begins with, up to the path, and the `Location` of its resource.
    async fn link(&self, headers: &[(&str, &str)]) -> Result<(String, String)> {
        let answer = answered(self.share(headers).await?).await?;
        let location = answer.headers().get(LOCATION).context("no Location")?.to_str()?.to_owned();
        let link: Value = answer.json().await?;
        let url = link["url"].as_str().context("no url")?;
        let (base, _) = url.split_once("/api/v1/").with_context(|| format!("{url} is no link"))?;
        Ok((base.to_owned(), location))
    }
}

#[tokio::test]
async fn forwarded_headers_of_strangers_make_no_links() -> Result<()> {
    let fixture = fixture(&[DEVICES]).await?;
    let (base, location) = fixture.link(&EVIL).await?;
    assert_eq!(base, fixture.server.url());
    ensure!(location.starts_with("/api/v1/links/"), "{location}");
    let (base, _) = fixture.link(&[("Host", "video.club.example:8443")]).await?;
    assert_eq!(base, "http://video.club.example:8443");
    for host in ["evil.example/x", "a@evil.example", "evil.example?x=", "javascript:alert(1)"] {
        let answer = fixture.share(&[(HOST.as_str(), host)]).await?;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{host}");
        let problem: Value = answer.json().await?;
        assert_eq!(problem["code"], "bad_host", "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn a_trusted_proxy_says_where_links_lead() -> Result<()> {
    let fixture = fixture(&[DEVICES, TRUSTED]).await?;
    let forwarded = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example, video.club.example")];
    assert_eq!(fixture.link(&forwarded).await?.0, "https://video.club.example");
    let standard = [("Forwarded", r#"for=192.0.2.1;proto=https;host="video.club.example:8443""#)];
    assert_eq!(fixture.link(&standard).await?.0, "https://video.club.example:8443");
    let (base, _) = fixture.link(&[("X-Forwarded-Proto", "javascript"), ("Host", "video.club.example")]).await?;
    assert_eq!(base, "http://video.club.example");
    assert_eq!(fixture.share(&[("X-Forwarded-Host", "evil/x")]).await?.status(), StatusCode::BAD_REQUEST);
    Ok(())
}

#[tokio::test]
async fn links_and_locations_begin_with_the_public_url() -> Result<()> {
    let public = ("TOUCHLINE__SERVER__PUBLIC_URL", "https://video.club.example/touchline/");
    let fixture = fixture(&[DEVICES, TRUSTED, public]).await?;
    for headers in [&EVIL[..], &[(HOST.as_str(), "evil.example")]] {
        let (base, location) = fixture.link(headers).await?;
        assert_eq!(base, "https://video.club.example/touchline");
        ensure!(location.starts_with("https://video.club.example/touchline/api/v1/links/"), "{location}");
    }
    let request = fixture.club.request(Method::POST, "/uploads").header("Tus-Resumable", "1.0.0");
    let answer = answered(request.header("Upload-Length", 1000).send().await?).await?;
    let location = answer.headers().get(LOCATION).context("no Location")?.to_str()?;
    ensure!(location.starts_with("https://video.club.example/touchline/api/v1/uploads/"), "{location}");
    Ok(())
}

/// Statuses of as many calls without a credential, one after the other, each with the client that a proxy forwards.
async fn calls(server: &Server, clients: impl Iterator<Item = String>) -> Result<Vec<StatusCode>> {
    let (http, url) = (reqwest::Client::new(), format!("{}/api/v1/me", server.url()));
    let mut statuses = Vec::new();
    for client in clients {
        statuses.push(http.get(&url).header("X-Forwarded-For", client).send().await?.status());
    }
    Ok(statuses)
}

#[tokio::test]
async fn the_limit_by_address_counts_forwarded_clients_of_trusted_proxies_only() -> Result<()> {
    const CALLS: u32 = 200;
    let limit = ("TOUCHLINE__SERVER__REQUESTS_PER_SECOND_BY_ADDRESS", "1");
    let refused = |statuses: Vec<StatusCode>| statuses.contains(&StatusCode::TOO_MANY_REQUESTS);
    let many = || (0..CALLS).map(|number| format!("198.51.100.{number}"));
    let trusting = Server::start(&[DEVICES, TRUSTED, limit]).await?;
    ensure!(!refused(calls(&trusting, many()).await?), "each client has a limit of its own");
    let one = (0..CALLS).map(|number| format!("198.51.100.{number}, 203.0.113.9"));
    ensure!(refused(calls(&trusting, one).await?), "what a client writes before the proxy's entry counts");
    let deadline = Instant::now() + PATIENCE;
    while !trusting.log().contains("client=203.0.113.9") {
        ensure!(Instant::now() < deadline, "the log does not name the client: {}", trusting.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let alone = Server::start(&[DEVICES, limit]).await?;
    ensure!(refused(calls(&alone, many()).await?), "a forwarded client counts without a trusted proxy");
    Ok(())
}
