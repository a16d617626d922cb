//! Opening the database, and the two handles through which everything goes.
//!
//! SQLite has one writer at a time. A pool of one connection makes writers of this process queue without polling,
//! every transaction begins with `BEGIN IMMEDIATE` so that it never has to upgrade a read lock, and the busy timeout
//! covers writers of other processes (administration commands). Readers have connections of their own, which cannot
//! write and, in WAL mode, never wait for the writer.
//!
//! On PostgreSQL, too, readers have a pool of their own. Who has a transaction open may read beside it: with one pool,
//! as many such transactions as there are connections would wait for each other until they are given up.

use std::time::Duration;

use migrations::{Migration, MigrationStatus, MigratorTrait};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    IsolationLevel, SqliteTransactionMode, TransactionOptions, TransactionTrait,
    sqlx::{
        self, Connection, SqliteConnection,
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};

use crate::{Error, Result, deployment, error::Doing};

/// How long a writer waits for another process's write transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a query waits for a connection: above the busy timeout, and enough for a queue of writers.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
const SQLITE_READERS: u32 = 4;
/// Of each pool. With the listener of [`crate::jobs::JobWakeups`] a node has at most 17 connections, so that five nodes
/// stay below PostgreSQL's default `max_connections`, 100.
const POSTGRES_CONNECTIONS: u32 = 8;
/// Key of the advisory lock under which one node migrates while the others wait ("touchlin" in ASCII).
const MIGRATION_LOCK: i64 = 0x746f_7563_686c_696e;

/// A handle to the database; cloning it is cheap. Opaque: only this crate can send it queries.
#[derive(Clone, Debug)]
pub struct Database {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
}

/// An open write transaction; dropped without [`Transaction::commit`], it is rolled back.
///
/// While it is open, do not write through the [`Database`]: on SQLite that waits for this very transaction.
#[derive(Debug)]
pub struct Transaction(DatabaseTransaction);

/// Opens `sqlite://PATH` (created if missing; its folder must exist) or `postgres://…` and brings the schema up to
/// date.
pub async fn connect(url: &str) -> Result<Database> {
    let shown = config::redact_url(url);
    let open = |source| Error::Open { url: shown.clone(), source };
    let database = if url.starts_with("sqlite:") {
        if url.contains(":memory:") || url.contains("mode=memory") {
            let reason = "readers and the writer have connections of their own; use a file";
            return Err(Error::Unusable { url: shown, reason });
        }
        let writer = sqlite(url, 1, false).await.map_err(open)?;
        // The readers come second: the writer has created the file and set its journal mode.
        let reader = sqlite(url, SQLITE_READERS, true).await.map_err(open)?;
        Database { reader, writer }
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        let (reader, writer) = (postgres(url).await.map_err(open)?, postgres(url).await.map_err(open)?);
        Database { reader, writer }
    } else {
        let reason = "the URL must begin with sqlite:// or postgres://";
        return Err(Error::Unusable { url: shown, reason });
    };
    migrate(&database).await.map_err(|source| Error::Migrate { url: shown, source })?;
    Ok(database)
}

async fn sqlite(url: &str, connections: u32, read_only: bool) -> std::result::Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(BUSY_TIMEOUT);
            if read_only { sqlite.pragma("query_only", "on") } else { sqlite }
        })
        .map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|connection, _| Box::pin(is_clean(connection))));
    sea_orm::Database::connect(options).await
}

/// Whether a connection can be used again. A commit that fails on a full disk is rolled back by SQLite itself; the driver
/// does not know, cannot roll it back once more, and would nest everything that follows in a transaction that never
/// ends. Such a connection is closed, and the next writer opens a new one.
async fn is_clean(connection: &mut SqliteConnection) -> std::result::Result<bool, sqlx::Error> {
    // Lets a rollback that was begun by a drop end first.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

async fn postgres(url: &str) -> std::result::Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .sqlx_logging(false)
        .set_application_name("touchline");
    sea_orm::Database::connect(options).await
}

/// A step of the schema, and whether this database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name, such as `m0001_tenants_and_users`.
    pub name: String,
    /// Whether it was applied.
    pub applied: bool,
}

/// The steps of the schema in their order, without changing anything.
pub async fn schema(url: &str) -> Result<Vec<Step>> {
    let shown = config::redact_url(url);
    let raw = sea_orm::Database::connect(url).await.map_err(|source| Error::Open { url: shown.clone(), source })?;
    let steps = migrations::Migrator::get_migration_with_status(&raw).await;
    let steps = steps.map_err(|source| Error::Migrate { url: shown, source })?;
    let step =
        |step: &Migration| Step { name: step.name().to_owned(), applied: step.status() == MigrationStatus::Applied };
    Ok(steps.iter().map(step).collect())
}

/// Takes the newest `steps` steps of the schema back, with everything that is in their tables and columns.
pub async fn schema_down(url: &str, steps: u32) -> Result<()> {
    let shown = config::redact_url(url);
    let raw = sea_orm::Database::connect(url).await.map_err(|source| Error::Open { url: shown.clone(), source })?;
    migrations::Migrator::down(&raw, Some(steps)).await.map_err(|source| Error::Migrate { url: shown, source })
}

/// One process migrates at a time: SQLite by its write lock, PostgreSQL by an advisory lock.
async fn migrate(database: &Database) -> std::result::Result<(), DbErr> {
    let tx = database.writer.begin_with_options(write_options()).await?;
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(&format!("select pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    }
    migrations::Migrator::up(&tx, None).await?;
    deployment::ensure(&tx).await?;
    tx.commit().await
}

fn write_options() -> TransactionOptions {
    TransactionOptions {
        isolation_level: None::<IsolationLevel>,
        access_mode: None::<AccessMode>,
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
    }
}

impl Database {
    /// Begins a write transaction (`BEGIN IMMEDIATE` on SQLite, read committed on PostgreSQL).
    pub async fn begin(&self) -> Result<Transaction> {
        self.writer.begin_with_options(write_options()).await.map(Transaction).doing("beginning a transaction")
    }

    /// True on PostgreSQL, which several nodes can share.
    pub fn is_shared(&self) -> bool {
        self.writer.get_database_backend() == DbBackend::Postgres
    }

    /// Asks the database for an answer, for readiness checks.
    pub async fn ping(&self) -> Result<()> {
        self.reader.ping().await.doing("asking the database for an answer")
    }

    /// How many connections are open and how many of them idle, by pool: `reader` and `writer`.
    pub fn connections(&self) -> Vec<(&'static str, u32, usize)> {
        let count = |name, pool: &DatabaseConnection| match pool.get_database_backend() {
            DbBackend::Sqlite => {
                let pool = pool.get_sqlite_connection_pool();
                Some((name, pool.size(), pool.num_idle()))
            }
            DbBackend::Postgres => {
                let pool = pool.get_postgres_connection_pool();
                Some((name, pool.size(), pool.num_idle()))
            }
            _ => None,
        };
        [count("reader", &self.reader), count("writer", &self.writer)].into_iter().flatten().collect()
    }

    /// Closes all connections, after their queries have ended.
    pub async fn close(self) -> Result<()> {
        self.reader.close().await.doing("closing the database")?;
        self.writer.close().await.doing("closing the database")
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }
}

impl Transaction {
    /// Makes everything done in it durable, at once.
    pub async fn commit(self) -> Result<()> {
        self.0.commit().await.doing("committing a transaction")
    }

    /// Takes everything done in it back.
    pub async fn rollback(self) -> Result<()> {
        self.0.rollback().await.doing("rolling a transaction back")
    }

    pub(crate) fn raw(&self) -> &DatabaseTransaction {
        &self.0
    }
}
