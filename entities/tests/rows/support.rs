//! Fresh databases, and rows to begin with.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

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
            use crate::support::{on_postgres, on_sqlite};

            #[test]
            fn sqlite() {
                on_sqlite(|fresh| Box::pin(super::$name(fresh)));
            }

            #[test]
            fn postgres() {
                on_postgres(|fresh| Box::pin(super::$name(fresh)));
            }
        }
    )+};
}
pub(crate) use on_both;

/// A test under way, boxed: what is generic over a future, such as a runtime's `block_on`, is compiled once for all tests.
type Test = Pin<Box<dyn Future<Output = ()>>>;

pub fn on_sqlite(test: fn(Fresh) -> Test) {
    run(Box::pin(async move { test(Fresh::sqlite().await).await }));
}

pub fn on_postgres(test: fn(Fresh) -> Test) {
    run(Box::pin(async move { test(Fresh::postgres().await).await }));
}

fn run(test: Test) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
}

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
        Self::open(services::fresh_database(), None).await
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
