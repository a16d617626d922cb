//! Files and folders below `data_dir` are the server's user's alone, also in folders that others made.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use touchline_tests::client::{Client, answered};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::server::Server;

const VARIABLES: [(&str, &str); 2] =
    [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#), ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "1.0")];

/// Every file and folder below one, itself among them, with its mode; symbolic links are left out.
fn modes(path: &Path) -> Result<Vec<(PathBuf, u32)>> {
    let metadata = match fs::symlink_metadata(path) {
        // A running server removes files.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        metadata => metadata?,
    };
    if metadata.is_symlink() {
        return Ok(Vec::new());
    }
    let mut found = vec![(path.to_owned(), metadata.permissions().mode() & 0o777)];
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            found.extend(modes(&entry?.path())?);
        }
    }
    Ok(found)
}

fn are_private(data: &Path) -> Result<()> {
    let modes = modes(data)?;
    ensure!(modes.len() > 5, "there are hardly any files: {modes:?}");
    for (path, mode) in modes {
        let most = if path.is_dir() { 0o700 } else { 0o600 };
        ensure!(mode & !most == 0, "{} has mode {mode:o}", path.display());
    }
    Ok(())
}

#[tokio::test]
async fn nothing_below_data_dir_can_be_read_by_others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    // Made by an administrator or a container, with the usual umask.
    fs::create_dir_all(data.join("media/old"))?;
    fs::write(data.join("media/old/note"), "x")?;
    for (path, mode) in [("", 0o755), ("media", 0o755), ("media/old", 0o777), ("media/old/note", 0o644)] {
        fs::set_permissions(data.join(path), Permissions::from_mode(mode))?;
    }
    let mut server = Server::start_in(folder.path(), &VARIABLES).await?;
    let account = server.account("club", "coach@club.example", "editor")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let file = folder.path().join("match.mp4");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=2", "-pix_fmt", "yuv420p"];
    ffmpeg(picture.map(OsStr::new).into_iter().chain([file.as_os_str()]))?;
    let video = club.upload(&file, 1 << 12, |_, _| {}).await?.id;
    let half = club.create_upload(1000, "half.mp4").await?;
    club.send_piece(&half, 0, vec![0; 500]).await?;
    let spec = json!({"kind": "framing", "clips": [{"video_id": video, "start": 0, "end": 2}],
        "output": {"width": 90, "height": 160, "fps": 10}});
    club.render(&spec, |_| {}).await?;
    answered(club.request(Method::GET, &format!("/videos/{video}/thumbnail?time=1")).send().await?).await?;
    are_private(&data)?;

    ensure!(server.stop()?.success());
    let somewhere = modes(&data)?;
    for (path, _) in &somewhere {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    let _again = Server::start_in(folder.path(), &VARIABLES).await?;
    are_private(&data)
}
