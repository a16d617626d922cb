//! The server keeps what its OpenAPI document promises: schemathesis sends thousands of requests made from the
//! document, good ones and bad ones, and compares each answer with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use touchline_tests::client::{Client, answered};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::repository;
use touchline_tests::server::Server;

const OPERATOR: (&str, &str) = ("operator@deployment.example", "a-password-for-tests");
const SPARE: (&str, &str) = ("spare@deployment.example", "a-password-for-tests");
/// Of each thing that the requests may delete.
const SPARES: usize = 8;

/// The document has more: fewer tested operations mean that it was not read whole.
const LEAST_OPERATIONS: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says() -> Result<()> {
    let program = schemathesis()?;
    let folder = tempfile::tempdir()?;
    let server = Server::start(&[
        // One that requests may drain and disable, and one that works on.
        ("TOUCHLINE__DEVICES__LIST", r#"["sim:0", "sim:1"]"#),
        ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "1.0"),
        ("TOUCHLINE__AUTH__ACCESS_MINUTES", "1440"),
        ("TOUCHLINE_ADMIN_EMAIL", OPERATOR.0),
        ("TOUCHLINE_ADMIN_PASSWORD", OPERATOR.1),
    ])
    .await?;
    let operator = Client::log_in(&server.url(), OPERATOR.0, OPERATOR.1).await?;
    let seeded = seed(&server, &operator, folder.path()).await?;

    let report = folder.path().join("report.json");
    let output = Command::new(program)
        .arg("--config-file")
        .arg(tools().join("schemathesis.toml"))
        .args(["run", &format!("{}/api/v1/openapi.json", server.url()), "--checks", "all", "--no-color"])
        .args(["--report", "json", "--report-json-path"])
        .arg(&report)
        .current_dir(tools())
        .env("SEEDED", seeded.to_string())
        .env("TOKEN", operator.token())
        .output()
        .context("running schemathesis; `scripts/setup tests` installs it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stderr));

    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.parse::<u64>().ok());
    let tested = tested.with_context(|| format!("schemathesis does not say what it tested: {said}"))?;
    assert!(tested >= LEAST_OPERATIONS, "only {tested} operations were tested");
    // It has not locked itself out, so that the answers were about more than that.
    let me: Value = operator.get("/me").await?;
    assert_eq!((&me["email"], &me["role"]), (&json!(OPERATOR.0), &json!("operator")));
    Ok(())
}

fn tools() -> PathBuf {
    repository().join("tests/tools")
}

fn schemathesis() -> Result<PathBuf> {
    let program = tools().join("venv/bin/schemathesis");
    ensure!(program.is_file(), "{} is missing; run `scripts/setup tests`", program.display());
    Ok(program)
}

/// Makes some of everything; what the hooks of the run have to know of it.
async fn seed(server: &Server, operator: &Client, folder: &Path) -> Result<Value> {
    let file = folder.join("match.mp4");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=4", "-pix_fmt", "yuv420p"];
    ffmpeg(picture.map(std::ffi::OsStr::new).into_iter().chain([file.as_os_str()]))?;
    let me: Value = operator.get("/me").await?;
    let tenant = me["tenant"]["id"].as_str().context("a tenant")?;
    let account = |tenant: &str, (email, password): (&str, &str), role: &str| json!({"tenant_id": tenant, "email": email, "password": password, "role": role});
    let _: Value = operator.post("/admin/users", &account(tenant, SPARE, "operator")).await?;

    let (mut tenants, mut users) = (Vec::new(), Vec::new());
    let (mut videos, mut uploads) = (Vec::new(), Vec::new());
    for number in 0..SPARES {
        let other = made(operator, "/admin/tenants", &json!({"name": format!("club {number}")})).await?;
        let email = format!("coach@club-{number}.example");
        users.push(made(operator, "/admin/users", &account(&other, (&email, "a-password"), "editor")).await?);
        tenants.push(other);
        let email = format!("colleague-{number}@deployment.example");
        users.push(made(operator, "/admin/users", &account(tenant, (&email, "a-password"), "viewer")).await?);
        videos.push(operator.upload(&file, 1 << 20, |_, _| {}).await?.id);
        let location = operator.create_upload(1000, "half.mp4").await?;
        uploads.push(location.rsplit('/').next().context("an id")?.to_owned());
    }
    let (mut exports, mut links, mut clips, mut reels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..SPARES {
        let video = &videos[number % 2];
        let framing = json!({"clips": [{"video_id": video, "start": 0, "end": 1}],
            "output": {"width": 90, "height": 160, "fps": 10}});
        let mut spec = framing.clone();
        spec["kind"] = json!("framing");
        if number == 0 {
            spec = json!({"kind": "detection", "video_id": video, "every": 1.0});
        }
        let export = operator.render(&spec, |_| {}).await?.id;
        links.push(made(operator, &format!("/exports/{export}/links"), &json!({})).await?);
        exports.push(export);
        let clip = json!({"name": "Goal", "start": 0, "end": 2, "rating": 5, "tags": ["Goal"]});
        clips.push(made(operator, &format!("/videos/{video}/clips"), &clip).await?);
        reels.push(made(operator, "/reels", &json!({"name": "Sunday", "framing": framing})).await?);
    }
    // One that nothing else knows, so that it is not revoked.
    let link: Value = operator.post(&format!("/exports/{}/links", exports[1]), &json!({})).await?;
    let asked = link["url"].as_str().and_then(|url| url.split_once("?expires=")?.1.split_once("&signature="));
    let (expires, signature) = asked.context("a link has a signature")?;
    let shared = json!({"id": link["id"], "expires": expires, "signature": signature});
    Ok(json!({
        "server": server.url(),
        "ids": {
            "videos": videos, "uploads": uploads, "exports": exports, "links": links, "clips": clips, "reels": reels,
            "tenants": tenants, "users": users, "devices": ["sim:1"],
        },
        "own": {"tenants": tenant, "users": me["id"], "devices": "sim:0"},
        "logout": {"email": SPARE.0, "password": SPARE.1},
        "shared": shared,
    }))
}

/// Posts something to be; its id.
async fn made(client: &Client, path: &str, body: &Value) -> Result<String> {
    let answer = client.request(Method::POST, path).json(body).send().await?;
    let row: Value = answered(answer).await.with_context(|| format!("making one of {path}"))?.json().await?;
    Ok(row["id"].as_str().with_context(|| format!("{path} answers {row}"))?.to_owned())
}
