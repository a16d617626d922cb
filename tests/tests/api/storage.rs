//! A storage and the database it belongs to: another database does not start on it, and files without a row are kept
//! for some days.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use touchline_tests::binary;
use touchline_tests::scenarios::flows::{FlowClient, prepared, variables};
use touchline_tests::scenarios::test_server::TestServer;
use touchline_tests::server::{DATABASE_URL, Server};

const PATIENCE: Duration = Duration::from_secs(60);
const MARK: &str = ".touchline-deployment";

/// A stopped server whose storage has a video and a result, and its folder.
async fn stopped() -> Result<(TestServer, FlowClient, PathBuf)> {
    let (server, client) = prepared(&variables()).await?;
    let folder = server.data_dir().parent().context("data_dir has a parent")?.to_owned();
    Ok((server, client, folder))
}

fn media(folder: &Path) -> PathBuf {
    folder.join("data/media")
}

/// The URL of a database that is not the server's.
fn another_database(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("another.db").display())
}

/// The files below a folder, relative to it.
fn files(folder: &Path) -> Result<BTreeSet<String>> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder)?.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

/// Those of the files that are media, where they lie by their key.
fn stored(folder: &Path) -> Result<BTreeSet<String>> {
    let all = files(&media(folder))?.into_iter();
    Ok(all.filter(|file| !file.starts_with(".touchline") && !file.starts_with("lost+found/")).collect())
}

/// The files in `lost+found`, by their former keys.
fn lost(folder: &Path) -> Result<BTreeSet<String>> {
    let all = files(&media(folder).join("lost+found"))?.into_iter();
    Ok(all.filter_map(|file| Some(file.split_once('/')?.1.to_owned())).collect())
}

async fn wait_until(what: &str, mut there: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !there()? {
        ensure!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Starts a server on the folder with another database.
async fn start_on(folder: &Path, database: &str) -> Result<Server> {
    let all: Vec<_> = variables().into_iter().chain([(DATABASE_URL, database)]).collect();
    Server::start_in(folder, &all).await
}

/// `touchline storage status` or `adopt` with a database.
fn storage(folder: &Path, database: &str, what: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&touchline(folder, database, &["storage", what])?)?)
}

/// What a command with a database prints.
fn touchline(folder: &Path, database: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new(binary()?);
    command.args(arguments).env("TOUCHLINE__DATA_DIR", folder.join("data")).env(DATABASE_URL, database);
    command.env("TOUCHLINE__AUTH__SECRET", "a secret that all nodes of a test share");
    let output = command.output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

#[tokio::test]
async fn another_database_does_not_start_and_deletes_nothing() -> Result<()> {
    let (mut server, client, folder) = stopped().await?;
    let (before, database) = (files(&media(&folder))?, another_database(&folder));
    ensure!(before.len() > 3, "there are media: {before:?}");
    for start in ["an empty database", "a database that was refused before"] {
        let refused = start_on(&folder, &database).await.err().with_context(|| format!("{start} was not refused"))?;
        let said = format!("{refused:#}");
        for part in
            ["belongs to deployment", "database.url", "touchline storage adopt", "Nothing was changed or deleted"]
        {
            ensure!(said.contains(part), "{start}: {part:?} is not in {said}");
        }
        assert_eq!(files(&media(&folder))?, before, "{start}");
    }
    server.restart(None).await?;
    assert_eq!(server.result(&client.complete).await?, client.expected);
    Ok(())
}

#[tokio::test]
async fn a_storage_is_adopted_on_purpose_and_what_is_unknown_then_is_kept() -> Result<()> {
    let (mut server, client, folder) = stopped().await?;
    let (own, other) = (server.database_url()?, another_database(&folder));
    let before = stored(&folder)?;
    let status = storage(&folder, &own, "status")?;
    assert_eq!((&status["belonging"], &status["owners"]), (&json!("own"), &json!({"known": 2, "unknown": 0})));
    assert_eq!(status["mark"], status["deployment"]);
    touchline(&folder, &other, &["schema", "up"])?;
    let status = storage(&folder, &other, "status")?;
    assert_eq!((&status["belonging"], &status["owners"]), (&json!("foreign"), &json!({"known": 0, "unknown": 2})));
    assert_ne!(status["mark"], status["deployment"]);
    assert_eq!(stored(&folder)?, before, "the status changes nothing");

    assert_eq!(storage(&folder, &other, "adopt")?["belonging"], "own");
    assert_eq!(storage(&folder, &own, "status")?["belonging"], "foreign");
    let mut another = start_on(&folder, &other).await?;
    wait_until("unknown files are moved", || Ok(lost(&folder)? == before)).await?;
    assert_eq!(stored(&folder)?, BTreeSet::new());
    let is_about = |line: &str, key: &str| {
        ["moved to lost+found", key, "bytes=", "tenant="].iter().all(|part| line.contains(part))
    };
    wait_until("each file has its line in the log", || {
        let log = another.log();
        Ok(before.iter().all(|key| log.lines().any(|line| is_about(line, key))))
    })
    .await?;
    another.stop()?;

    // A mistake can be taken back, since the bytes are still there.
    let kept = media(&folder).join("lost+found");
    let day = fs::read_dir(&kept)?.next().context("a day")??.path();
    for key in &before {
        let target = media(&folder).join(key);
        fs::create_dir_all(target.parent().context("a folder")?)?;
        fs::rename(day.join(key), target)?;
    }
    assert_eq!(storage(&folder, &own, "adopt")?["owners"], json!({"known": 2, "unknown": 0}));
    server.restart(None).await?;
    assert_eq!(server.result(&client.complete).await?, client.expected);
    Ok(())
}

#[tokio::test]
async fn a_storage_without_a_mark_is_adopted_by_the_database_that_knows_it() -> Result<()> {
    let (mut server, client, folder) = stopped().await?;
    let mark = media(&folder).join(MARK);
    let id = fs::read_to_string(&mark)?;
    fs::remove_file(&mark)?;
    let before = files(&media(&folder))?;
    let refused = start_on(&folder, &another_database(&folder)).await.err().context("it was not refused")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("does not know 2 of the 2") && said.contains("touchline storage adopt"), "{said}");
    assert_eq!(files(&media(&folder))?, before);
    assert_eq!(storage(&folder, &server.database_url()?, "status")?["belonging"], "adoptable");

    server.restart(None).await?;
    assert_eq!(fs::read_to_string(&mark)?, id);
    assert_eq!(server.result(&client.complete).await?, client.expected);
    server.stop()?;

    fs::write(&mark, "half an i")?;
    let damaged = server.restart(None).await.err().context("a damaged mark is not noticed")?;
    ensure!(format!("{damaged:#}").contains("touchline storage adopt"), "{damaged:#}");
    Ok(())
}

#[tokio::test]
async fn files_without_a_row_are_kept_for_days_and_other_files_stay() -> Result<()> {
    let (mut server, client, folder) = stopped().await?;
    let media = media(&folder);
    let before = stored(&folder)?;
    let tenant = before.first().and_then(|key| key.split('/').next()).context("a tenant")?.to_owned();
    let (video, export) = ("0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000002");
    let orphans: BTreeSet<String> = [
        format!("{tenant}/videos/{video}/source"),
        format!("{tenant}/exports/{export}/result-1-1.mp4"),
        format!("{tenant}/exports/{export}/segments/segment-0-1-1"),
    ]
    .into();
    let write = |key: &str| -> Result<()> {
        let file = media.join(key);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        Ok(fs::write(file, key)?)
    };
    orphans.iter().try_for_each(|key| write(key))?;
    write("readme.txt")?;
    write("lost+found/2020-01-01/old")?;
    write("lost+found/of-another-program")?;

    server.restart(None).await?;
    wait_until("orphans are moved", || Ok(orphans.is_subset(&lost(&folder)?))).await?;
    for key in &orphans {
        let kept = files(&media)?.into_iter().find(|file| file.starts_with("lost+found/") && file.ends_with(key));
        assert_eq!(fs::read_to_string(media.join(kept.context("it was moved")?))?, *key);
    }
    wait_until("what was kept for long goes", || Ok(!media.join("lost+found/2020-01-01").exists())).await?;
    let mut left = stored(&folder)?;
    ensure!(left.remove("readme.txt") && media.join("lost+found/of-another-program").exists(), "{left:?}");
    assert_eq!(left, before);
    assert!(!media.join(format!("{tenant}/exports/{export}")).exists(), "an empty folder is left");
    assert_eq!(server.result(&client.complete).await?, client.expected);
    Ok(())
}
