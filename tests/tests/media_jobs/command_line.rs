//! The command line as programs use it: JSON on stdout, one line on stderr, exit codes, and nothing left behind.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use touchline_tests::cli::without_progress;
use touchline_tests::client::Client;
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::process::{self, Signal};
use touchline_tests::server::Server;

/// A folder with a source, where renders keep their temporary files, too.
struct Workspace {
    folder: tempfile::TempDir,
    input: PathBuf,
}

impl Workspace {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let input = folder.path().join("match.mp4");
        let picture = "testsrc2=size=640x360:rate=30:duration=3";
        let sound = "sine=frequency=440:duration=3";
        let name = input.to_string_lossy();
        ffmpeg(["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-c:v", "libx264", "-c:a", "aac", &name])?;
        fs::create_dir(folder.path().join("tmp"))?;
        Ok(Self { folder, input })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `touchline` with its temporary folder and its data on the workspace.
    fn touchline(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(touchline_tests::binary()?);
        command.args(arguments).env("TMPDIR", self.path("tmp")).env("TOUCHLINE__DATA_DIR", self.path("data"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    fn render(&self, kind: &str, input: &Path, spec: &Value, options: &[&str]) -> Result<Command> {
        let file = self.path("spec.json");
        fs::write(&file, spec.to_string())?;
        let mut command = self.touchline(&["render", kind])?;
        command.arg("--input").arg(input).arg("--spec").arg(file).arg("--output").arg(self.path("out")).args(options);
        Ok(command)
    }

    /// Checks that a command failed as it should: its exit code, one line, no file.
    fn refused(&self, output: &Output, code: i32, says: &str) -> Result<()> {
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "exit {:?}, not {code}: {stderr}", output.status);
        ensure!(without_progress(&stderr).len() == 1 && stderr.contains(says), "not one line with {says:?}: {stderr}");
        ensure!(output.stdout.is_empty(), "stdout: {}", String::from_utf8_lossy(&output.stdout));
        self.nothing_left()
    }

    fn nothing_left(&self) -> Result<()> {
        ensure!(!self.path("out").exists(), "an output file is left");
        let left: Vec<_> = fs::read_dir(self.path("tmp"))?.collect();
        ensure!(left.is_empty(), "left in the temporary folder: {left:?}");
        Ok(())
    }
}

const SIM: &[&str] = &["--devices", "sim:0", "--sim-frame-ms", "0"];

fn framing() -> Value {
    json!({"clips": [{"start": 0.0, "end": 2.0}], "output": {"width": 270, "height": 480}})
}

#[test]
fn a_render_reports_every_field_and_leaves_only_its_output() -> Result<()> {
    let workspace = Workspace::new()?;
    let output = workspace.render("framing", &workspace.input, &framing(), SIM)?.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(without_progress(&stderr).is_empty(), "stderr: {stderr}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    for field in ["frames", "frames_inferred", "seconds", "fps", "device_seconds", "peak_rss_bytes"] {
        ensure!(report[field].is_number(), "{field} is missing: {report}");
    }
    for stage in ["decode", "transform", "infer", "encode", "mux"] {
        ensure!(report["stages"][stage].is_number(), "stage {stage} is missing: {report}");
    }
    assert_eq!((&report["frames"], &report["simulated"]), (&json!(60), &json!(true)));
    ensure!(report["warnings"].is_array() && report["devices"].is_array(), "{report}");
    let out = workspace.path("out");
    assert_eq!(report["bytes"].as_u64(), Some(fs::metadata(&out)?.len()));
    fs::remove_file(out)?;
    workspace.nothing_left()
}

#[test]
fn a_slow_render_prints_its_progress_where_stderr_is_no_terminal() -> Result<()> {
    let workspace = Workspace::new()?;
    let slow = ["--devices", "sim:0", "--sim-frame-ms", "200"];
    let output = workspace.render("framing", &workspace.input, &framing(), &slow)?.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && without_progress(&stderr).is_empty(), "{stderr}");
    ensure!(stderr.lines().any(|line| line.starts_with("rendering ") && line.contains("/60 frames")), "{stderr}");
    Ok(())
}

#[test]
fn detection_writes_json() -> Result<()> {
    let workspace = Workspace::new()?;
    let output = workspace.render("detection", &workspace.input, &json!({"times": [0.0, 1.0]}), SIM)?.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&fs::read(workspace.path("out"))?)?;
    assert_eq!((&found["width"], &found["height"]), (&json!(640), &json!(360)));
    let times: Vec<_> = found["frames"].as_array().context("no frames")?.iter().map(|frame| &frame["time"]).collect();
    assert_eq!(times, [&json!(0.0), &json!(1.0)]);
    Ok(())
}

#[test]
fn bad_specs_and_bad_usage_exit_with_2() -> Result<()> {
    let workspace = Workspace::new()?;
    let render = |spec: Value, options| {
        workspace.render("framing", &workspace.input, &spec, options)?.output().context("running")
    };
    workspace.refused(&render(json!({"clips": [{"start": 0.0, "end": 99.0}]}), SIM)?, 2, "/clips/0/end")?;
    workspace.refused(&render(json!({"clips": [{"start": 2.0, "end": 1.0, "spin": 1}]}), SIM)?, 2, "2 mistakes")?;
    workspace.refused(&render(json!({"kind": "detection", "every": 1.0}), SIM)?, 2, "of kind")?;
    workspace.refused(&render(json!({"clips": [{"start": 0.0, "end": 1.0, "video_id": "x"}]}), SIM)?, 2, "video_id")?;
    workspace.refused(&render(framing(), &["--devices", "gpu:0"])?, 2, "gpu:0")?;
    workspace.refused(&render(framing(), &["--batch", "0"])?, 2, "--batch")?;
    workspace.refused(&workspace.touchline(&["render", "framing"])?.output()?, 2, "--input")?;
    workspace.refused(&workspace.touchline(&["juggle"])?.output()?, 2, "juggle")?;
    workspace.refused(&workspace.touchline(&[])?.output()?, 2, "--help")
}

#[test]
fn inputs_that_are_no_videos_exit_with_3() -> Result<()> {
    let workspace = Workspace::new()?;
    let (empty, text, sound) = (workspace.path("empty.mp4"), workspace.path("text.mp4"), workspace.path("sound.mp4"));
    fs::write(&empty, "")?;
    fs::write(&text, "this is no video\n".repeat(100))?;
    let name = sound.to_string_lossy();
    ffmpeg(["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", &name])?;
    for (input, says) in [(&empty, "zero bytes"), (&text, "not a video"), (&sound, "video")] {
        workspace.refused(&workspace.render("framing", input, &framing(), SIM)?.output()?, 3, says)?;
        workspace.refused(&workspace.touchline(&["probe", &input.to_string_lossy()])?.output()?, 3, says)?;
    }
    Ok(())
}

#[test]
fn probe_decodes_the_whole_file() -> Result<()> {
    let workspace = Workspace::new()?;
    let output = workspace.touchline(&["probe", &workspace.input.to_string_lossy()])?.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let probed: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&probed["width"], &probed["height"], &probed["frames"]), (&json!(640), &json!(360), &json!(90)));
    assert_eq!(probed["warnings"], json!([]));
    Ok(())
}

#[test]
fn probe_is_given_all_the_time_in_which_it_advances() -> Result<()> {
    let workspace = Workspace::new()?;
    let long = workspace.path("long.mp4");
    let name = long.to_string_lossy();
    // Some seconds of decoding, which is longer than a process may stall.
    ffmpeg(["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30:duration=200", "-preset", "ultrafast", &name])?;
    let output = workspace.touchline(&["probe", &name])?.env("TOUCHLINE__PROCESSES__STALL_S", "1.0").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let probed: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(probed["frames"], json!(6000));
    Ok(())
}

#[test]
fn an_interrupted_render_leaves_nothing() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let workspace = Workspace::new()?;
        let slow = ["--devices", "sim:0", "--sim-frame-ms", "500"];
        let child = workspace.render("framing", &workspace.input, &framing(), &slow)?.spawn()?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while fs::read_dir(workspace.path("tmp"))?.next().is_none() {
            ensure!(Instant::now() < deadline, "the render never began");
            std::thread::sleep(Duration::from_millis(10));
        }
        // Somewhere in its work; the outcome is the same wherever.
        std::thread::sleep(Duration::from_millis(700));
        process::signal(&child, signal)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.signal().is_none(), "{signal} was not handled");
        workspace.refused(&output, 130, "interrupted")?;
    }
    Ok(())
}

#[tokio::test]
async fn accounts_made_beside_a_running_server_log_in_at_once() -> Result<()> {
    let mut server = Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
    let account = server.account("FC Example", "Coach@Example.com", "editor")?;
    let client = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let me: Value = client.get("/me").await?;
    ensure!(me.to_string().contains(&account.tenant_id), "{me}");

    let again = server.command(&["tenant", "create", "FC Example"])?;
    assert_eq!(again.status.code(), Some(2));
    let suspended = server.json(&["tenant", "suspend", "FC Example"])?;
    assert_eq!(suspended["state"], "suspended");
    let refusal = Client::log_in(&server.url(), &account.email, &account.password).await.err();
    let status = refusal.context("a suspended tenant logs in")?;
    ensure!(status.to_string().contains("403"), "{status}");
    ensure!(server.stop()?.success(), "the server does not stop cleanly: {}", server.log());
    Ok(())
}

/// A lost password is replaced beside a running server: the old one and the sessions made with it end.
#[tokio::test]
async fn a_lost_password_is_replaced_by_a_generated_one() -> Result<()> {
    let mut server = Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
    let account = server.account("FC Example", "coach@example.com", "operator")?;
    let before = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let changed = server.json(&["user", "password", "Coach@Example.com"])?;
    assert_eq!((&changed["email"], &changed["role"]), (&json!("coach@example.com"), &json!("operator")));
    let password = changed["password"].as_str().context("no password is printed")?;
    let after = Client::log_in(&server.url(), &account.email, password).await?;
    after.get::<Value>("/me").await?;
    let refused = Client::log_in(&server.url(), &account.email, &account.password).await.err();
    ensure!(refused.context("the old password is accepted")?.to_string().contains("401"));
    let deadline = Instant::now() + Duration::from_secs(30);
    while before.get::<Value>("/me").await.is_ok() {
        ensure!(Instant::now() < deadline, "the session of the old password goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let unknown = server.command(&["user", "password", "stranger@example.com"])?;
    assert_eq!(unknown.status.code(), Some(2), "{}", String::from_utf8_lossy(&unknown.stderr));
    ensure!(server.stop()?.success(), "the server does not stop cleanly: {}", server.log());
    Ok(())
}

#[test]
fn commands_that_need_a_database_create_none() -> Result<()> {
    let workspace = Workspace::new()?;
    let database = workspace.path("data/touchline.db");
    let email = "coach@example.com";
    let commands: [&[&str]; 8] = [
        &["tenant", "list"],
        &["tenant", "suspend", "club"],
        &["key", "list", "--tenant", "club"],
        &["key", "create", "--tenant", "club", "--scope", "read"],
        &["user", "create", "--tenant", "club", "--email", email, "--role", "editor"],
        &["user", "password", email],
        &["schema", "status"],
        &["storage", "status"],
    ];
    for arguments in commands {
        let output = workspace.touchline(arguments)?.output()?;
        workspace.refused(&output, 2, &format!("no database at {}; run this", database.display()))?;
        ensure!(!workspace.path("data").exists(), "{arguments:?} has created the data folder");
    }
    Ok(())
}

#[test]
fn the_schema_goes_down_and_up_by_steps() -> Result<()> {
    let workspace = Workspace::new()?;
    let steps = |arguments: &[&str]| -> Result<Vec<bool>> {
        let output = workspace.touchline(arguments)?.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout)?;
        let steps = shown["steps"].as_array().context("steps")?;
        Ok(steps.iter().map(|step| step["applied"] == true).collect())
    };
    let created = workspace.touchline(&["tenant", "create", "club"])?.output()?;
    ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let all = steps(&["schema", "status"])?;
    assert!(all.len() > 10 && all.iter().all(|applied| *applied), "{all:?}");
    let fewer = steps(&["schema", "down", "--steps", "3"])?;
    assert_eq!(fewer.iter().filter(|applied| !**applied).count(), 3, "{fewer:?}");
    assert_eq!(steps(&["schema", "up"])?, all);
    // What older steps hold is still there.
    let listed = workspace.touchline(&["tenant", "list"])?.output()?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    assert_eq!(listed["items"][0]["name"], "club");
    let refused = workspace.touchline(&["schema", "down", "--steps", "0"])?.output()?;
    assert_eq!(refused.status.code(), Some(2));
    Ok(())
}
