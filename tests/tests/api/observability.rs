//! What an operator sees: metrics that are documented, queues, logs for machines, and traces that follow one export
//! over its threads, with nothing secret in any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::Client;
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::server::{Account, Server};
use touchline_tests::{binary, repository};

/// One device, so that the second and third export wait for the first.
const DEVICES: (&str, &str) = ("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#);

/// How long something that happens at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two seconds of picture and sound.
fn footage(folder: &Path) -> Result<std::path::PathBuf> {
    let path = folder.join("match.mp4");
    let input =
        ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=2", "-f", "lavfi", "-i", "sine=duration=2"];
    ffmpeg(input.iter().chain(&["-pix_fmt", "yuv420p"]).map(std::ffi::OsStr::new).chain([path.as_os_str()]))?;
    Ok(path)
}

fn spec(video: Option<&str>) -> Value {
    let mut clip = json!({"start": 0.0, "end": 2.0});
    if let Some(video) = video {
        clip["video_id"] = video.into();
    }
    json!({"kind": "framing", "output": {"width": 180, "height": 320, "fps": 10}, "clips": [clip]})
}

struct Fixture {
    server: Server,
    folder: tempfile::TempDir,
    club: Client,
    account: Account,
    operator: Client,
}

async fn fixture(variables: &[(&str, &str)]) -> Result<Fixture> {
    let folder = tempfile::tempdir()?;
    let server = Server::start_in(folder.path(), variables).await?;
    let account = server.account("club", "coach@club.example", "editor")?;
    let operator = server.account("house", "operator@house.example", "operator")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let operator = Client::log_in(&server.url(), &operator.email, &operator.password).await?;
    Ok(Fixture { server, folder, club, account, operator })
}

#[tokio::test]
async fn every_metric_is_described_on_the_operations_page() -> Result<()> {
    let fixture = fixture(&[DEVICES, ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "1")]).await?;
    let video = fixture.club.upload(&footage(fixture.folder.path())?, 1 << 20, |_, _| {}).await?;
    fixture.club.render(&spec(Some(&video.id)), |_| {}).await?;

    let text = touchline_tests::server::metrics(&fixture.server.url()).await?;
    let named = |prefix: &str| -> BTreeSet<&str> {
        text.lines().filter_map(|line| line.strip_prefix(prefix)?.split(' ').next()).collect()
    };
    let shown = named("# TYPE ");
    let page = std::fs::read_to_string(repository().join("docs/operations.md"))?;
    let listed: BTreeSet<&str> =
        page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0)).collect();
    let unlisted: Vec<_> = shown.difference(&listed).collect();
    assert!(unlisted.is_empty(), "metrics that the page does not list: {unlisted:?}");
    assert_eq!(named("# HELP "), shown, "every metric comes with its meaning");

    for (name, least) in [
        ("touchline_exports_total", 1.0),
        ("touchline_export_seconds_count", 1.0),
        ("touchline_jobs_total", 2.0),
        ("touchline_job_seconds_count", 2.0),
        ("touchline_upload_bytes_total", video.bytes as f64),
        ("touchline_uploads_total", 1.0),
        ("touchline_progress_messages_total", 1.0),
        ("touchline_http_requests_total", 5.0),
        ("touchline_database_connections", 1.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 4.0),
    ] {
        let found = fixture.club.metric(name).await?;
        assert!(found >= least, "{name} is {found}, not {least} or more");
    }
    Ok(())
}

#[tokio::test]
async fn invented_methods_and_paths_add_no_series() -> Result<()> {
    let fixture = fixture(&[DEVICES]).await?;
    let (url, http) = (fixture.server.url(), reqwest::Client::new());
    let document: Value = http.get(format!("{url}/api/v1/openapi.json")).send().await?.json().await?;
    let paths = document["paths"].as_object().context("paths")?;
    let mut routes: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    routes.insert("unmatched");
    let known = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT", "TRACE"];
    let fill = |path: &str| path.replace("{id}", "0198c0de-0000-7000-8000-000000000000").replace(['{', '}'], "");
    for number in 0..300 {
        let method = match known.get(number % 16) {
            Some(method) => (*method).to_owned(),
            None => format!("M{number}"),
        };
        let path = match paths.keys().nth(number * 7 % (2 * paths.len())) {
            Some(path) => fill(path),
            None => format!("/api/v1/videos{number}/{number}?{number}"),
        };
        // A handshake that does not come, or a method that is no use to the client, may end the connection.
        let _ = http.request(Method::from_bytes(method.as_bytes())?, format!("{url}{path}")).send().await;
    }
    let text = touchline_tests::server::metrics(&url).await?;
    ensure!(text.len() < 1_000_000, "the metrics are {} bytes", text.len());
    let methods: BTreeSet<&str> = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "other"].into();
    let label =
        |series: &str, name: &str| Some(series.split_once(&format!("{name}=\""))?.1.split('"').next()?.to_owned());
    let mut found = BTreeSet::new();
    for series in text.lines().filter(|line| line.starts_with("touchline_http_request")) {
        let method = label(series, "method").context("a method")?;
        let route = label(series, "route").context("a route")?;
        ensure!(methods.contains(method.as_str()), "{series}");
        ensure!(routes.contains(route.as_str()), "{series}");
        if let Some(status) = label(series, "status") {
            ensure!(status.len() == 3 && status.parse::<u16>().is_ok(), "{series}");
        }
        found.insert((method, route));
    }
    ensure!(found.contains(&("other".to_owned(), "unmatched".to_owned())), "{found:?}");
    ensure!(!text.contains("M9") && !text.contains("videos9"), "an invented name is a label");
    Ok(())
}

#[tokio::test]
async fn the_queue_is_shown_to_operators_alone() -> Result<()> {
    let fixture = fixture(&[DEVICES, ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "200")]).await?;
    let Fixture { server, club, operator, account, .. } = &fixture;
    let empty: Value = operator.get("/admin/queue").await?;
    assert_eq!(empty, json!({"items": [], "next_cursor": null}));

    let video = club.upload(&footage(fixture.folder.path())?, 1 << 20, |_, _| {}).await?;
    let mut started = Vec::new();
    for _ in 0..3 {
        started.push(club.start(&spec(Some(&video.id))).await?.id);
    }
    let queue: Value = operator.get("/admin/queue").await?;
    let [own] = queue["items"].as_array().context("no list")?.as_slice() else {
        anyhow::bail!("one tenant has something to do: {queue}");
    };
    assert_eq!(
        (&own["tenant_id"], &own["name"], &own["weight"]),
        (&json!(account.tenant_id), &json!("club"), &json!(1.0))
    );
    let count = |group: &str, name: &str| own[group][name].as_i64().context("no number");
    assert_eq!(count("exports", "queued")? + count("exports", "running")?, 3, "{own}");
    assert_eq!(count("parts", "retrying")?, 0);
    assert_eq!(fixture.club.metric("touchline_jobs_retrying").await?, 0.0);

    let refused = club.request(Method::GET, "/admin/queue").send().await?.status();
    assert_eq!(refused, StatusCode::FORBIDDEN);
    let stranger = reqwest::get(format!("{}/api/v1/admin/queue", server.url())).await?.status();
    assert_eq!(stranger, StatusCode::UNAUTHORIZED);

    for id in started {
        let cancelled = club.request(Method::POST, &format!("/exports/{id}/cancel")).send().await?.status();
        assert!(cancelled.is_success(), "{cancelled}");
    }
    assert_eq!(club.metric("touchline_exports_total").await?, 3.0, "each end is counted once");
    let patience = Instant::now() + PATIENCE;
    loop {
        // Frames of cancelled exports leave the queue when a device takes the next.
        let queue: Value = operator.get("/admin/queue").await?;
        if queue["items"] == json!([]) {
            return Ok(());
        }
        ensure!(Instant::now() < patience, "what is cancelled still waits: {queue}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn logs_are_json_where_configured_and_hold_no_secrets() -> Result<()> {
    let fixture = fixture(&[DEVICES, ("TOUCHLINE__LOG__FORMAT", "json"), ("TOUCHLINE__LOG__LEVEL", "debug")]).await?;
    let Fixture { server, club, operator, account, .. } = &fixture;
    let video = club.upload(&footage(fixture.folder.path())?, 1 << 20, |_, _| {}).await?;
    let export = club.render(&spec(Some(&video.id)), |_| {}).await?;
    // A line is written up to 10 ms after what it reports, so the client may know of the end before the file does.
    let patience = Instant::now() + PATIENCE;
    let ended = loop {
        let log = server.log();
        let lines = whole_lines(&log)
            .map(|line| serde_json::from_str(line).with_context(|| format!("a line is no JSON: {line}")))
            .collect::<Result<Vec<Value>>>()?;
        assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
        if let Some(ended) = lines.into_iter().find(|line| line["export"] == *export.id) {
            break ended;
        }
        ensure!(Instant::now() < patience, "no line names the export");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(ended["message"].is_string(), "{ended}");

    let change = json!({"log": {"format": "text"}});
    let changed = operator.request(Method::PATCH, "/admin/config").header("If-Match", "*").json(&change).send().await?;
    assert!(changed.status().is_success(), "{}", changed.text().await?);
    let (count, patience) = (whole_lines(&server.log()).count(), Instant::now() + PATIENCE);
    while whole_lines(&server.log()).skip(count).all(|line| serde_json::from_str::<Value>(line).is_ok()) {
        club.video(&video.id).await?;
        ensure!(Instant::now() < patience, "the log is still written in JSON");
    }
    holds_no_secrets(&server.log(), account, club);
    Ok(())
}

#[tokio::test]
async fn a_servers_trace_follows_an_export_and_holds_no_secrets() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("trace.json");
    let trace = file.display().to_string();
    let mut fixture =
        fixture(&[DEVICES, ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "1"), ("TOUCHLINE_TRACE", &trace)]).await?;
    let video = fixture.club.upload(&footage(fixture.folder.path())?, 1 << 20, |_, _| {}).await?;
    let export = fixture.club.render(&spec(Some(&video.id)), |_| {}).await?;
    ensure!(fixture.server.stop()?.success(), "{}", fixture.server.log());

    let text = std::fs::read_to_string(&file)?;
    holds_no_secrets(&text, &fixture.account, &fixture.club);
    let trace = Trace::read(&text)?;
    trace.goes_over_its_threads(&export.id, &fixture.account.tenant_id);
    assert!(trace.slices.iter().any(|slice| slice.name == "request"), "requests are in it, too");
    Ok(())
}

#[tokio::test]
async fn a_renders_trace_follows_its_export() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [input, spec_file, output, trace] =
        ["match.mp4", "spec.json", "out.mp4", "trace.json"].map(|name| folder.path().join(name));
    footage(folder.path())?;
    std::fs::write(&spec_file, spec(None).to_string())?;
    let run = Command::new(binary()?)
        .args(["render", "framing", "--devices", "sim:0", "--sim-frame-ms", "1", "--input"])
        .arg(&input)
        .arg("--spec")
        .arg(&spec_file)
        .arg("--output")
        .arg(&output)
        .arg("--trace")
        .arg(&trace)
        .output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let trace = Trace::read(&std::fs::read_to_string(&trace)?)?;
    let job = trace.slices.iter().find(|slice| slice.name == "job").context("no job is in the trace")?;
    let argument = |name: &str| job.args[name].as_str().unwrap_or_default().to_owned();
    trace.goes_over_its_threads(&argument("export"), &argument("tenant"));
    Ok(())
}

/// The lines of a log that are written to their end.
fn whole_lines(log: &str) -> std::str::Lines<'_> {
    log.rsplit_once('\n').map_or("", |(whole, _)| whole).lines()
}

fn holds_no_secrets(text: &str, account: &Account, client: &Client) {
    assert!(!text.contains(&account.password), "a password is written");
    assert!(!text.contains(client.token()), "a token is written");
    for query in ["ticket=", "signature="] {
        assert!(!text.contains(query), "a query is written");
    }
}

/// The parts of a trace in Chrome's format that are checked.
struct Trace {
    slices: Vec<Slice>,
}

struct Slice {
    name: String,
    thread: String,
    args: Value,
    /// Names of the slices around it, the outermost first.
    within: Vec<String>,
}

impl Trace {
    fn read(text: &str) -> Result<Self> {
        let events: Vec<Value> = serde_json::from_str(text).context("the trace is no JSON")?;
        let mut threads = BTreeMap::new();
        let mut open: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut slices = Vec::new();
        for event in &events {
            let thread = event["tid"].as_u64().context("an event of no thread")?;
            let name = event["name"].as_str().unwrap_or_default().to_owned();
            match event["ph"].as_str() {
                Some("M") if name == "thread_name" => {
                    threads.insert(thread, event["args"]["name"].as_str().unwrap_or_default().to_owned());
                }
                Some("B") => {
                    let around = open.entry(thread).or_default();
                    let (args, within) = (event["args"].clone(), around.clone());
                    around.push(name.clone());
                    let thread = threads.get(&thread).cloned().unwrap_or_default();
                    slices.push(Slice { name, thread, args, within });
                }
                Some("E") => drop(open.entry(thread).or_default().pop()),
                _ => {}
            }
        }
        Ok(Self { slices })
    }

    /// Each fixture of the export lies on its own kind of thread, within a job that says whose it is.
    fn goes_over_its_threads(&self, export: &str, tenant: &str) {
        let own = |slice: &&Slice| slice.name == "job" && slice.args["export"] == export;
        assert!(self.slices.iter().filter(own).all(|slice| slice.args["tenant"] == tenant));
        for thread in ["encode-segment", "decode-", "store-segment", "join", "publish"] {
            let job = self.slices.iter().filter(own).any(|slice| slice.thread.to_lowercase().starts_with(thread));
            assert!(job, "no job of the export on a thread {thread}");
        }
        for (fixture, thread) in [
            ("decode", "decode-"),
            ("queue", "decode-"),
            ("wait", "encode-segment"),
            ("encode", "encode-segment"),
            ("mux", "join"),
        ] {
            let there = |slice: &Slice| {
                slice.name == fixture
                    && slice.thread.to_lowercase().starts_with(thread)
                    && slice.within.first().is_some_and(|outer| outer == "job")
            };
            assert!(self.slices.iter().any(there), "no {fixture} within a job on a thread {thread}");
        }
        let served = |slice: &Slice| {
            slice.name == "infer" && slice.thread == "device-sim:0" && slice.args["export"].as_str() == Some(export)
        };
        assert!(self.slices.iter().any(served), "no batch of the export on its device's thread");
    }
}
