//! A private PostgreSQL of the newest version that Debian has installed.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::guardian::guard;

/// The private PostgreSQL of this test process. It ends, and its folder goes, when the process's end closes the pipe
/// that its guardian reads.
struct Postgres {
    socket_folder: PathBuf,
    _guardian: Child,
}

/// The URL of a fresh database on the private server.
///
/// # Panics
/// When PostgreSQL is not installed or does not start.
pub fn fresh_database() -> String {
    create("template1")
}

/// The URL of a new database with what is in that of [`fresh_database`] at `url`, to which no connection may be open.
///
/// # Panics
/// When a connection to it stays open for some seconds.
pub fn copy_of_database(url: &str) -> String {
    let path = url.split('?').next().unwrap_or_default();
    create(path.rsplit('/').next().unwrap_or_default())
}

/// A new database, made like an existing one; its URL.
fn create(template: &str) -> String {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(start);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let created = program("psql")
        .args(["-q", "-U", "postgres", "-d", "postgres", "-h"])
        .arg(&server.socket_folder)
        .args(["-c", &format!("create database {name} template {template}")])
        .output()
        .expect("psql runs");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    format!("postgres://postgres@localhost/{name}?host={}", server.socket_folder.display())
}

fn start() -> Postgres {
    // Not in TMPDIR, whose path may be too long for a socket's name.
    let folder = tempfile::Builder::new().prefix("touchline-pg-").tempdir_in("/tmp").expect("a folder").keep();
    if let Some((uid, gid)) = user() {
        chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
    }
    let data = folder.join("data");
    let made = program("initdb")
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
        .arg(&data)
        .output()
        .expect("initdb runs");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let script = r#""$0" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c max_connections=1000 2>"$1/log" &
        server=$!; cat >/dev/null; kill -QUIT $server; wait $server; rm -rf "$1""#;
    let mut command = Command::new("sh");
    let guardian = guard(as_user(command.arg("-c").arg(script).arg(bin_folder().join("postgres")).arg(&folder)));
    wait_until_ready(&folder);
    Postgres { socket_folder: folder, _guardian: guardian }
}

fn wait_until_ready(folder: &Path) {
    for _ in 0..600 {
        let ready = program("pg_isready").args(["-q", "-h"]).arg(folder).status().expect("pg_isready runs");
        if ready.success() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("PostgreSQL did not start: {log}");
}

fn program(name: &str) -> Command {
    let mut command = Command::new(bin_folder().join(name));
    as_user(&mut command);
    command
}

/// PostgreSQL refuses to run as root.
fn as_user(command: &mut Command) -> &mut Command {
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid).current_dir("/tmp");
    }
    command
}

/// The ids of the user `postgres` when the tests run as root.
fn user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let ids = id(&["-u", "postgres"]).zip(id(&["-g", "postgres"]));
    Some(ids.unwrap_or_else(|| missing()))
}

fn bin_folder() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").exists())
        .collect();
    folders.sort();
    folders.pop().map_or_else(|| missing(), |(_, folder)| folder)
}

fn missing() -> ! {
    eprintln!("install PostgreSQL first: apt-get install postgresql");
    panic!("PostgreSQL is not installed: apt-get install postgresql");
}
