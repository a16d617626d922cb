//! Hostile input: malformed, huge and slow requests end in a refusal or a closed connection; the server goes on, its memory
//! is bounded, and no file is left.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use touchline_tests::client::{Client, Refusal};
use touchline_tests::files_below;
use touchline_tests::random::Random;
use touchline_tests::server::Server;

/// What memory may grow by under any of this, in bytes.
const MAY_GROW: u64 = 200 << 20;

struct Fixture {
    server: Server,
    club: Client,
    before: u64,
}

async fn fixture() -> Result<Fixture> {
    let variables = [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#), ("TOUCHLINE__LIMITS__UPLOAD_BYTES", "3000000")];
    let server = Server::start(&variables).await?;
    let account = server.account("club", "a@club.example", "admin")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let before = resident(&server)?;
    Ok(Fixture { server, club, before })
}

impl Fixture {
    /// Checks that the server answers, has not grown, and keeps no files.
    async fn is_well(&self) -> Result<()> {
        let began = Instant::now();
        self.club.get::<Value>("/me").await.context("the server does not answer any more")?;
        ensure!(began.elapsed() < Duration::from_secs(5), "it took {:?} to answer", began.elapsed());
        let now = resident(&self.server)?;
        eprintln!("resident before {} MiB, after {} MiB", self.before >> 20, now >> 20);
        ensure!(now < self.before + MAY_GROW, "memory grew from {} to {now} bytes", self.before);
        for place in ["uploads", "media"] {
            let mut left = files_below(&self.server.data_dir().join(place))?;
            // The marks by which a folder that is not mounted, or is of another deployment, is noticed.
            left.retain(|file| !file.contains("/media/.touchline"));
            ensure!(left.is_empty(), "left in {place}: {left:?}");
        }
        ensure!(!self.server.log().contains("panicked"), "{}", self.server.log());
        Ok(())
    }

    /// Sends bytes and reads until the server closes or `patience` ends; what it said.
    async fn raw(&self, bytes: &[u8], patience: Duration) -> Result<String> {
        let mut stream = TcpStream::connect(self.server.address()).await?;
        // A server that refuses closes while the request is still being sent.
        let _ = stream.write_all(bytes).await;
        let mut said = Vec::new();
        let reading = async {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                said.extend_from_slice(&buffer[..read]);
            }
        };
        let _ = tokio::time::timeout(patience, reading).await;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// Memory of the server that is not swapped out.
fn resident(server: &Server) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse::<u64>()? << 10)
}

/// The statuses in what a connection said, in order.
fn statuses(said: &str) -> Vec<u16> {
    let lines = said.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

/// Nonsense that is JSON.
fn json_nonsense(random: &mut Random, depth: u32) -> Value {
    let names =
        ["kind", "clips", "start", "end", "name", "scopes", "expires_in", "limits", "time", "tenant_id", "\u{0}"];
    let texts = ["framing", "../../etc/passwd", "", "\u{0}", "read", "\u{202e}gpj", "'; drop table users; --", "NaN"];
    let numbers = [json!(0), json!(-1), json!(1e308), json!(u64::MAX), json!(i64::MIN), json!(0.1), json!(-0.0)];
    let pick = |random: &mut Random, many: usize| random.below(many);
    match random.below(if depth == 0 { 4 } else { 7 }) {
        0 => Value::Null,
        1 => numbers[pick(random, numbers.len())].clone(),
        2 => texts[pick(random, texts.len())].into(),
        3 => Value::Bool(random.below(2) == 0),
        4 => (0..random.below(5)).map(|_| json_nonsense(random, depth - 1)).collect(),
        _ => (0..random.below(6))
            .map(|_| (names[pick(random, names.len())].to_owned(), json_nonsense(random, depth - 1)))
            .collect(),
    }
}

#[tokio::test]
async fn nonsense_in_bodies_is_refused_and_never_a_fault() -> Result<()> {
    let fixture = fixture().await?;
    let mut random = Random::new(7);
    let id = "01890000-0000-7000-8000-000000000000";
    let calls = [
        (Method::POST, "/auth/token".to_owned()),
        (Method::POST, "/auth/refresh".to_owned()),
        (Method::POST, "/exports".to_owned()),
        (Method::POST, "/exports/estimate".to_owned()),
        (Method::POST, "/api-keys".to_owned()),
        (Method::POST, format!("/exports/{id}/links")),
        (Method::POST, format!("/videos/{id}/detections/frame")),
        (Method::PATCH, "/admin/config".to_owned()),
        (Method::POST, "/admin/tenants".to_owned()),
    ];
    for (method, path) in &calls {
        for turn in 0..60 {
            let nonsense = json_nonsense(&mut random, 4).to_string().into_bytes();
            let body = match turn % 4 {
                0 => nonsense[..nonsense.len() / 2].to_vec(),
                1 => (0..random.below(300)).map(|_| random.below(256) as u8).collect(),
                _ => nonsense,
            };
            let request = fixture.club.request(method.clone(), path).header("Content-Type", "application/json");
            let answer = request.body(body.clone()).send().await?;
            let status = answer.status();
            ensure!(
                status.is_client_error(),
                "{method} {path} answers {status} to {:?}",
                String::from_utf8_lossy(&body)
            );
            let kind = answer.headers().get("content-type").context("no content type")?;
            ensure!(kind == "application/problem+json", "{method} {path}: {kind:?}");
        }
        // Deeper than any parser should follow, wide, and of another kind.
        let deep = "[".repeat(200_000);
        let keys = format!("{{{}}}", (0..50_000).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(","));
        for (kind, body) in
            [("application/json", deep), ("application/json", keys), ("multipart/form-data; boundary=x", "--x".into())]
        {
            let request = fixture.club.request(method.clone(), path).header("Content-Type", kind);
            let status = request.body(body).send().await?.status();
            ensure!(status.is_client_error(), "{method} {path} answers {status} to {kind}");
        }
    }
    fixture.is_well().await
}

#[tokio::test]
async fn nonsense_in_uploads_is_refused_and_leaves_nothing() -> Result<()> {
    let fixture = fixture().await?;
    let mut random = Random::new(11);
    let create = |length: &str, metadata: &str| {
        let request = fixture.club.request(Method::POST, "/uploads").header("Tus-Resumable", "1.0.0");
        request.header("Upload-Length", length).header("Upload-Metadata", metadata).send()
    };
    for length in ["", "-1", "1e9", "0x10", "18446744073709551616", "3000001", "abc", "1 2", "+1"] {
        let status = create(length, "").await?.status();
        ensure!(status.is_client_error(), "a length of {length:?} is {status}");
    }
    for metadata in ["filename", "filename !!!", "filename a,filename b", ",,,", "\u{e9} b", "filename ////=="] {
        let answer = create("10", metadata).await?;
        ensure!(answer.status().as_u16() < 500, "metadata {metadata:?} is {}", answer.status());
        discard(&fixture, answer).await?;
    }
    // A name is a name, wherever it points to.
    for name in ["../../../../etc/cron.d/x", "/etc/passwd", "..\\..\\x", "a\u{0}b", "..", "CON", &"x".repeat(5000)] {
        match fixture.club.create_upload(10, name).await {
            Ok(location) => {
                let written = files_below(&fixture.server.data_dir().join("uploads"))?;
                ensure!(written.iter().all(|file| !file.contains("passwd") && !file.contains("cron")), "{written:?}");
                fixture.club.request(Method::DELETE, &location).header("Tus-Resumable", "1.0.0").send().await?;
            }
            Err(error) => ensure!(error.downcast::<Refusal>()?.status.is_client_error(), "{name:?}"),
        }
    }
    let location = fixture.club.create_upload(1000, "a.mp4").await?;
    for offset in ["-1", "5", "+0", "0x0", "99999999999999999999", ""] {
        let request = fixture.club.request(Method::PATCH, &location).header("Tus-Resumable", "1.0.0");
        let request = request.header("Content-Type", "application/offset+octet-stream").header("Upload-Offset", offset);
        let bytes: Vec<u8> = (0..100).map(|_| random.below(256) as u8).collect();
        let status = request.body(bytes).send().await?.status();
        ensure!(status.is_client_error(), "offset {offset:?} is {status}");
    }
    // More than was announced.
    let sent = fixture.club.send_piece(&location, 0, vec![0; 5000]).await;
    ensure!(sent.is_err(), "more bytes than announced were taken");
    fixture.club.request(Method::DELETE, &location).header("Tus-Resumable", "1.0.0").send().await?;
    fixture.is_well().await
}

/// Ends the upload that an answer names, if any.
async fn discard(fixture: &Fixture, answer: reqwest::Response) -> Result<()> {
    if let Some(location) = answer.headers().get("location") {
        let path = location.to_str()?.split("/api/v1").last().unwrap_or_default().to_owned();
        fixture.club.request(Method::DELETE, &path).header("Tus-Resumable", "1.0.0").send().await?;
    }
    Ok(())
}

#[tokio::test]
async fn paths_lead_nowhere_but_to_resources() -> Result<()> {
    let fixture = fixture().await?;
    let token = fixture.club.token();
    for path in [
        "/api/v1/videos/../../../etc/passwd",
        "/api/v1/videos/..%2f..%2f..%2fetc%2fpasswd/file",
        "/api/v1/videos/%2e%2e/%2e%2e/file",
        "/api/v1/videos/..%252f..%252fetc/file",
        "/api/v1/videos/%00/file",
        "/api/v1/exports/%2fetc%2fpasswd/file",
        "/api/v1/uploads/..%2f..%2fsecret",
        "/api/v1/uploads/%c0%ae%c0%ae",
        "/api/v1/links/..%5c..%5c/file?expires=1&signature=x",
        "//etc/passwd",
        "/docs/../../etc/passwd",
        "/api/v1/api-keys/..",
        "/%",
        "/%zz",
    ] {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        let said = fixture.raw(head.as_bytes(), Duration::from_secs(5)).await?;
        let found = statuses(&said);
        ensure!(found.iter().all(|status| (400..500).contains(status)), "{path} is {found:?}");
        ensure!(!said.contains("root:"), "{path} leads out");
    }
    fixture.is_well().await
}

#[tokio::test]
async fn heads_too_long_and_requests_of_two_lengths_are_refused() -> Result<()> {
    let fixture = fixture().await?;
    let token = fixture.club.token();
    let auth = format!("Authorization: Bearer {token}\r\n");
    let patience = Duration::from_secs(5);
    let headers: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    // What a second request inside the first one would answer: who asks.
    let inner = format!("GET /api/v1/me HTTP/1.1\r\nHost: x\r\n{auth}\r\n");
    let post = "POST /api/v1/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for (what, request) in [
        ("a long address", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(300_000))),
        ("a long header", format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(300_000))),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n")),
        ("an endless head", format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(4 << 20))),
        ("a blank in a name", "GET / HTTP/1.1\r\nHost : x\r\n\r\n".to_owned()),
        ("a lone line feed in a value", "GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n".to_owned()),
        ("no HTTP", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n".to_owned()),
        ("an unknown version", "GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_owned()),
        ("both lengths", format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}")),
        (
            "both lengths, the other way",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n{inner}", inner.len() + 5),
        ),
        ("two lengths", format!("{post}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{inner}", inner.len())),
        ("a signed length", format!("{post}Content-Length: +0\r\n\r\n{inner}")),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n{inner}")),
        (
            "two codings",
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
        ),
        ("a disguised coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}")),
        ("a bad chunk", format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{inner}")),
        ("a chunk without end", format!("{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{inner}")),
    ] {
        let said = fixture.raw(request.as_bytes(), patience).await?;
        let found = statuses(&said);
        ensure!(found.iter().all(|status| (400..500).contains(status)), "{what} is {found:?}: {said:.300}");
        ensure!(!said.contains("club"), "{what}: a request inside another was answered: {said}");
    }
    fixture.is_well().await
}

#[tokio::test]
async fn huge_bodies_are_not_taken_in() -> Result<()> {
    let fixture = fixture().await?;
    let token = fixture.club.token();
    for (path, kind) in
        [("/exports", "application/json"), ("/auth/token", "application/json"), ("/auth/logout", "text/plain")]
    {
        let body = vec![b' '; 64 << 20];
        let request = fixture.club.request(Method::POST, path).header("Content-Type", kind);
        // The server may close while the request is still being sent.
        if let Ok(answer) = request.body(body).send().await {
            ensure!(answer.status() == StatusCode::PAYLOAD_TOO_LARGE, "{path} is {}", answer.status());
        }
    }
    // Announced, and never sent.
    let huge = format!(
        "POST /api/v1/exports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 1099511627776\r\n\r\n"
    );
    let found = statuses(&fixture.raw(huge.as_bytes(), Duration::from_secs(5)).await?);
    ensure!(found == [413], "{found:?}");
    fixture.is_well().await
}

#[tokio::test]
async fn slow_and_idle_clients_are_hung_up_on_and_delay_no_other() -> Result<()> {
    let fixture = fixture().await?;
    let token = fixture.club.token().to_owned();
    let half_head = "GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned();
    let half_body = format!(
        "POST /api/v1/exports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let mut clients = Vec::new();
    for n in 0..600 {
        let mut stream = TcpStream::connect(fixture.server.address()).await?;
        let (what, said) = match n % 3 {
            0 => ("idle", String::new()),
            1 => ("slow head", half_head.clone()),
            _ => ("slow body", half_body.clone()),
        };
        stream.write_all(said.as_bytes()).await?;
        clients.push((what, stream));
    }
    // Other clients are served at once meanwhile.
    for _ in 0..20 {
        let began = Instant::now();
        fixture.club.get::<Value>("/me").await?;
        ensure!(began.elapsed() < Duration::from_secs(3), "another client waited {:?}", began.elapsed());
    }
    let began = Instant::now();
    let mut latest = std::collections::HashMap::new();
    for (what, mut stream) in clients {
        let mut buffer = [0; 4096];
        let ended = async {
            loop {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                }
            }
        };
        let left = Duration::from_secs(100).saturating_sub(began.elapsed());
        tokio::time::timeout(left, ended)
            .await
            .with_context(|| format!("a client with a {what} is never hung up on"))?;
        latest.insert(what, began.elapsed().as_secs());
    }
    eprintln!("the last client of each kind was hung up on after {latest:?} seconds");
    fixture.is_well().await
}
