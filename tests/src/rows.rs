//! A server's SQLite file, read beside the server or after its death: for figures that the API does not tell.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, QueryResult, Statement};

/// The rows of one server. Reads only.
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
    pub committed_at: String,
    pub attempt: i32,
}

/// What an export's row says it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Booked {
    pub frames_done: i64,
    pub frames_total: i64,
    pub device_seconds: f64,
}

impl Rows {
    /// Opens a server's SQLite file.
    pub async fn open(file: &Path) -> Result<Self> {
        let url = format!("sqlite://{}?mode=ro", file.display());
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        Ok(Self(Database::connect(options).await.context("opening the server's rows")?))
    }

    async fn all(&self, sql: &str, export: &str) -> Result<Vec<QueryResult>> {
        let id = export.replace('-', "").to_uppercase();
        let values = sql.contains('?').then(|| id.into());
        Ok(self.0.query_all_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)).await?)
    }

    /// The finished segments of an export.
    pub async fn segments(&self, export: &str) -> Result<Vec<SegmentRow>> {
        let sql = "select s.kind, s.\"index\", s.storage_key, s.sha256, s.device_seconds, s.frames, s.committed_at,
                j.attempt
            from segments s join jobs j on j.export_id = s.export_id and j.\"index\" = s.\"index\"
                and j.kind = case s.kind when 'audio' then 'audio' else 'segment' end
            where hex(s.export_id) = ? order by s.kind, s.\"index\"";
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
        self.all(sql, export).await?.into_iter().map(read).collect()
    }

    /// What an export's row says it took.
    pub async fn booked(&self, export: &str) -> Result<Booked> {
        let sql = "select frames_done, frames_total, device_seconds from exports where hex(id) = ?";
        let row = self.all(sql, export).await?.into_iter().next().context("the export has no row")?;
        Ok(Booked {
            frames_done: row.try_get("", "frames_done")?,
            frames_total: row.try_get("", "frames_total")?,
            device_seconds: row.try_get("", "device_seconds")?,
        })
    }

    /// The device seconds in the accounts of an export.
    pub async fn used(&self, export: &str) -> Result<f64> {
        let sql = "select coalesce(sum(device_seconds), 0.0) as seconds from usage where hex(export_id) = ?";
        let row = self.all(sql, export).await?.into_iter().next().context("a sum has a row")?;
        Ok(row.try_get("", "seconds")?)
    }

    /// The files that rows name, below `media` of the server's `data_dir`.
    pub async fn files(&self) -> Result<BTreeSet<String>> {
        let sql = "select storage_key as key from videos where state <> 'failed'
            union select result_key from exports where result_key is not null
            union select s.storage_key from segments s join exports e on e.id = s.export_id
                where e.state not in ('complete', 'cancelled')";
        let rows = self.all(sql, "").await?;
        Ok(rows.iter().map(|row| row.try_get("", "key")).collect::<Result<_, _>>()?)
    }

    /// The unfinished uploads' ids, in lower-case hexadecimal without dashes.
    pub async fn uploads(&self) -> Result<BTreeSet<String>> {
        let rows = self.all("select lower(hex(id)) as id from uploads", "").await?;
        Ok(rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?)
    }
}
