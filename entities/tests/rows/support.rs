//! Fresh databases, and rows to begin with.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use entities::{
    Database, ExportId, TenantId, VideoId,
    exports::{self, Export, ExportKind, NewExport},
    jobs::{self, Job, JobKind, NewJob},
    segments::{self, Committed, NewSegment},
    tenants::{self, Tenant},
    usage::DeviceTime,
    videos::{self, NewVideo, Video},
};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::json;
use tempfile::TempDir;

/// Runs `async fn $name(fresh: Fresh)` on both databases.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::support::Fresh;

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                super::$name(Fresh::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                super::$name(Fresh::postgres().await).await;
            }
        }
    )+};
}
pub(crate) use on_both;

/// A database of its own, and a way past its opaque handle.
pub struct Fresh {
    pub db: Database,
    pub url: String,
    raw: DatabaseConnection,
    _folder: Option<TempDir>,
}

impl Fresh {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/touchline.db", folder.path().display());
        Self::open(url, Some(folder)).await
    }

    pub async fn postgres() -> Self {
        Self::open(postgres_url(), None).await
    }

    async fn open(url: String, folder: Option<TempDir>) -> Self {
        let db = entities::connect(&url).await.unwrap();
        let raw = sea_orm::Database::connect(&url).await.unwrap();
        Self { db, url, raw, _folder: folder }
    }

    /// Runs a statement that no function of the crate would.
    pub async fn sql(&self, statement: &str) {
        self.raw.execute_unprepared(statement).await.unwrap();
    }

    /// Lets every backoff have passed.
    pub async fn skip_backoff(&self) {
        self.sql("update jobs set run_at = '2000-01-01T00:00:00+00:00'").await;
    }

    /// Lets every lease have expired.
    pub async fn expire_leases(&self) {
        self.sql("update jobs set lease_until = '2000-01-01T00:00:00+00:00' where state = 'running'").await;
    }

    pub async fn tenant(&self, name: &str) -> Tenant {
        tenants::create(&self.db, name).await.unwrap()
    }

    pub async fn video(&self, tenant: TenantId) -> Video {
        let id = VideoId::new();
        let new = NewVideo {
            id,
            tenant_id: tenant,
            name: "match".to_owned(),
            bytes: 1000,
            storage_key: format!("{tenant}/{id}"),
            facts: None,
        };
        videos::insert(&self.db, new).await.unwrap()
    }

    /// A queued export of a new video.
    pub async fn export(&self, tenant: TenantId) -> Export {
        let video = self.video(tenant).await;
        self.export_of(tenant, &[video.id]).await
    }

    /// An export that is not stored.
    pub fn new_export(&self, tenant: TenantId, sources: &[VideoId]) -> NewExport {
        NewExport {
            id: ExportId::new(),
            tenant_id: tenant,
            kind: ExportKind::Framing,
            spec: json!({"kind": "framing"}),
            profile: Some(json!({"model": "m"})),
            frames_total: 90,
            simulated: false,
            estimate: None,
            created_by: None,
            reel: None,
            sources: sources.to_vec(),
        }
    }

    pub async fn export_of(&self, tenant: TenantId, sources: &[VideoId]) -> Export {
        let tx = self.db.begin().await.unwrap();
        let export = exports::insert(&tx, self.new_export(tenant, sources)).await.unwrap();
        tx.commit().await.unwrap();
        export
    }

    pub async fn enqueue(&self, export: &Export, kind: JobKind, index: i32, cost: f64) -> Job {
        let new = NewJob { export: export.id, tenant: export.tenant_id, kind, index, cost };
        let tx = self.db.begin().await.unwrap();
        let job = jobs::enqueue(&tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        job
    }

    /// An export whose coordinator's job `owner` holds.
    pub async fn coordinated(&self, tenant: TenantId, owner: &str) -> (Export, Job) {
        let export = self.export(tenant).await;
        self.enqueue(&export, JobKind::Coordinate, 0, 0.0).await;
        let job = self.claim(owner, JobKind::Coordinate).await.unwrap();
        assert_eq!(job.export_id, export.id);
        (export, job)
    }

    /// Commits a claimed segment that took so long.
    pub async fn commit(&self, job: &Job, device_seconds: f64) {
        assert_eq!(self.try_commit(job, device_seconds).await, Committed::First);
    }

    /// Commits it once more; whether that counted.
    pub async fn commit_again(&self, job: &Job) -> bool {
        self.try_commit(job, 9.0).await == Committed::First
    }

    async fn try_commit(&self, job: &Job, device_seconds: f64) -> Committed {
        let device = DeviceTime { device: "sim:0".to_owned(), frames: 30, device_seconds, cost: device_seconds / 2.0 };
        let segment = NewSegment {
            first_frame: i64::from(job.index) * 30,
            frames: 30,
            storage_key: format!("segment-{}", job.index),
            bytes: 500,
            sha256: "00".repeat(32),
            device_seconds,
            frames_inferred: 30,
            devices: vec![device],
        };
        segments::commit(&self.db, job, segment, &[]).await.unwrap()
    }

    pub async fn claim(&self, owner: &str, kind: JobKind) -> Option<Job> {
        jobs::claim(&self.db, owner, &[kind], Duration::from_secs(60)).await.unwrap()
    }
}

/// The private PostgreSQL of this test process. It ends, and its folder goes, when the process's end closes the pipe
/// that its guardian reads.
struct Postgres {
    socket_folder: PathBuf,
    _guardian: Child,
}

/// A fresh database on the private server.
fn postgres_url() -> String {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(start_postgres);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let created = postgres_command("psql")
        .args(["-q", "-U", "postgres", "-d", "postgres", "-h"])
        .arg(&server.socket_folder)
        .args(["-c", &format!("create database {name}")])
        .output()
        .unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    format!("postgres://postgres@localhost/{name}?host={}", server.socket_folder.display())
}

fn start_postgres() -> Postgres {
    // Not in TMPDIR, whose path may be too long for a socket's name.
    let folder = tempfile::Builder::new().prefix("touchline-pg-").tempdir_in("/tmp").unwrap().keep();
    if let Some((uid, gid)) = postgres_user() {
        chown(&folder, Some(uid), Some(gid)).unwrap();
    }
    let data = folder.join("data");
    let made = postgres_command("initdb")
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    // The guardian lives in a process group of its own, so that Ctrl-C reaches it only through the pipe.
    let script = r#""$0" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c max_connections=1000 2>"$1/log" &
        server=$!; cat >/dev/null; kill -QUIT $server; wait $server; rm -rf "$1""#;
    let guardian = as_postgres(Command::new("sh").arg("-c").arg(script).arg(bin_folder().join("postgres")))
        .arg(&folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until_ready(&folder);
    Postgres { socket_folder: folder, _guardian: guardian }
}

fn wait_until_ready(folder: &Path) {
    for _ in 0..600 {
        let ready = postgres_command("pg_isready").args(["-q", "-h"]).arg(folder).status().unwrap();
        if ready.success() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("PostgreSQL did not start: {log}");
}

fn postgres_command(program: &str) -> Command {
    let mut command = Command::new(bin_folder().join(program));
    as_postgres(&mut command);
    command
}

/// PostgreSQL refuses to run as root.
fn as_postgres(command: &mut Command) -> &mut Command {
    if let Some((uid, gid)) = postgres_user() {
        command.uid(uid).gid(gid).current_dir("/tmp");
    }
    command
}

/// The ids of the user `postgres` when the tests run as root.
fn postgres_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let ids = id(&["-u", "postgres"]).zip(id(&["-g", "postgres"]));
    Some(ids.unwrap_or_else(|| missing()))
}

/// The newest PostgreSQL that Debian has installed.
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
    let _ = writeln!(std::io::stderr(), "install PostgreSQL first: apt-get install postgresql");
    panic!("PostgreSQL is not installed: apt-get install postgresql");
}
