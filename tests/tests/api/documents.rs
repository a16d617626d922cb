//! The examples of `docs/api.md`, run as one script.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::server::Server;
use touchline_tests::{binary, repository};

/// Every call has to be accepted: a refusal ends the script. `--fail` excludes `--fail-with-body`.
const STRICT: &str = r#"
set -euo pipefail
curl() {
  case " $* " in
    *" --fail "*) command curl "$@" ;;
    *) command curl --fail-with-body "$@" ;;
  esac
}
"#;

/// The shell commands of a page: its blocks without a language.
fn commands(page: &str) -> String {
    let mut commands = String::new();
    let mut block: Option<bool> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(_), Some(_)) => block = None,
            (Some(language), None) => block = Some(language.is_empty()),
            (None, Some(true)) => {
                commands.push_str(line);
                commands.push('\n');
            }
            (None, _) => {}
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_api_page_run_from_top_to_bottom() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let footage = folder.path().join("match.mp4");
    let picture = "testsrc2=size=1920x1080:rate=10:duration=46";
    let name = footage.to_str().context("a path in UTF-8")?;
    ffmpeg(["-f", "lavfi", "-i", picture, "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "20", name])?;
    let variables = [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#), ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "20.0")];
    let mut server = Server::start(&variables).await?;

    let page = std::fs::read_to_string(repository().join("docs/api.md"))?;
    let address = "http://127.0.0.1:8080";
    ensure!(page.matches(address).count() == 1, "the address of the server stands once on the page");
    let script = format!("{STRICT}{}", commands(&page).replace(address, &server.url()));
    let program = binary()?;
    let path = std::env::var("PATH").context("PATH")?;
    let path = format!("{}:{path}", program.parent().context("the program has a folder")?.display());
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .envs(server.environment().iter().cloned())
        .env("PATH", path)
        .output()?;
    let (said, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    ensure!(run.status.success(), "the script ends with {}: {errors}\nafter: {said}", run.status);
    let result = std::fs::metadata(folder.path().join("reel.mp4")).context("the reel was not downloaded")?;
    ensure!(result.len() > 0, "the reel is empty");
    ensure!(server.stop()?.success(), "the server does not stop cleanly: {}", server.log());
    Ok(())
}
