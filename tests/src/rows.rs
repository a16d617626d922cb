//! A server's rows, read beside the server or after its death: for figures that the API does not show.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement, Value};

/// The rows of one server.
pub struct Rows(DatabaseConnection);

/// A finished segment, and how often its job was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentRow {
    pub kind: String,
    pub index: i32,
    pub storage_key: String,
    pub sha256: String,
    pub device_seconds: f64,
    pub frames: i64,
    pub committed_at: DateTime<Utc>,
    pub attempt: i32,
}

/// What an export's row says it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    pub frames_done: i64,
    pub frames_total: i64,
    pub device_seconds: f64,
}

impl Rows {
    /// Opens the database at `url`, to read it.
    pub async fn open(url: &str) -> Result<Self> {
        // What a killed server left in an SQLite file is for its successor to recover.
        let suffix = if url.starts_with("sqlite:") { "?mode=ro" } else { "" };
        Self::connect(format!("{url}{suffix}")).await
    }

    /// Opens the database at `url`, which no server uses, to change it.
    pub async fn open_to_change(url: &str) -> Result<Self> {
        Self::connect(url.to_owned()).await
    }

    async fn connect(url: String) -> Result<Self> {
        let mut options = ConnectOptions::new(url.as_str());
        options.max_connections(1).sqlx_logging(false);
        Ok(Self(Database::connect(options).await.with_context(|| format!("opening {url}"))?))
    }

    /// Both databases know `$1`.
    fn statement(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.0.get_database_backend(), sql, values)
    }

    async fn all(&self, sql: &str) -> Result<Vec<QueryResult>> {
        Ok(self.0.query_all_raw(self.statement(sql, [])).await?)
    }

    /// The rows of an export; `sql` names its id `$1`.
    async fn of(&self, export: &str, sql: &str) -> Result<Vec<QueryResult>> {
        // Bound as an id: SQLite keeps bytes, PostgreSQL has a type for it.
        let id: Uuid = export.parse().with_context(|| format!("{export} is no id"))?;
        Ok(self.0.query_all_raw(self.statement(sql, [id.into()])).await?)
    }

    /// The finished segments of an export.
    pub async fn segments(&self, export: &str) -> Result<Vec<SegmentRow>> {
        let sql = "select s.kind, s.\"index\", s.storage_key, s.sha256, s.device_seconds, s.frames, s.committed_at,
                j.attempt
            from segments s join jobs j on j.export_id = s.export_id and j.\"index\" = s.\"index\"
                and j.kind = case s.kind when 'audio' then 'audio' else 'segment' end
            where s.export_id = $1 order by s.kind, s.\"index\"";
        let read = |row: QueryResult| -> Result<SegmentRow> {
            Ok(SegmentRow {
                kind: row.try_get("", "kind")?,
                index: row.try_get("", "index")?,
                storage_key: row.try_get("", "storage_key")?,
                sha256: row.try_get("", "sha256")?,
                device_seconds: row.try_get("", "device_seconds")?,
                frames: row.try_get("", "frames")?,
                committed_at: row.try_get("", "committed_at")?,
                attempt: row.try_get("", "attempt")?,
            })
        };
        self.of(export, sql).await?.into_iter().map(read).collect()
    }

    /// What an export's row says it took.
    pub async fn totals(&self, export: &str) -> Result<Totals> {
        let sql = "select frames_done, frames_total, device_seconds from exports where id = $1";
        let row = self.of(export, sql).await?.into_iter().next().context("the export has no row")?;
        Ok(Totals {
            frames_done: row.try_get("", "frames_done")?,
            frames_total: row.try_get("", "frames_total")?,
            device_seconds: row.try_get("", "device_seconds")?,
        })
    }

    /// The device seconds in the accounts of an export.
    pub async fn used(&self, export: &str) -> Result<f64> {
        let sql = "select coalesce(sum(device_seconds), 0.0) as seconds from usage where export_id = $1";
        let row = self.of(export, sql).await?.into_iter().next().context("a sum has a row")?;
        Ok(row.try_get("", "seconds")?)
    }

    /// The files that rows name, below `media` of the server's `data_dir`.
    pub async fn files(&self) -> Result<BTreeSet<String>> {
        let sql = "select storage_key as key from videos where state <> 'failed'
            union select result_key from exports where result_key is not null
            union select s.storage_key from segments s join exports e on e.id = s.export_id
                where e.state not in ('complete', 'cancelled')";
        let rows = self.all(sql).await?;
        Ok(rows.iter().map(|row| row.try_get("", "key")).collect::<Result<_, _>>()?)
    }

    /// The unfinished uploads' ids.
    pub async fn uploads(&self) -> Result<BTreeSet<Uuid>> {
        let rows = self.all("select id from uploads").await?;
        Ok(rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?)
    }

    /// Moves the ends of all exports in a state to `ended`.
    pub async fn end_exports_at(&self, state: &str, ended: DateTime<Utc>) -> Result<()> {
        let sql = "update exports set finished_at = $1 where state = $2";
        self.0.execute_raw(self.statement(sql, [ended.into(), state.into()])).await?;
        Ok(())
    }
}
