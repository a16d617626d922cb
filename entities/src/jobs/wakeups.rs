//! Wake-ups for claimers on PostgreSQL: `LISTEN`/`NOTIFY` on one channel.
//!
//! Every transaction that makes jobs ready notifies the channel [`CHANNEL`], and PostgreSQL delivers that to all
//! listeners when, and only when, the transaction commits. A notification carries no data: the listener learns that
//! claiming may now succeed, and what it gets is decided by [`claim`](super::claim) as always. It is a hint, not a
//! queue: one may be lost with a connection, and none comes when the `run_at` of a job that is retried later is
//! reached. So claimers also poll, at a longer interval.
//!
//! SQLite has no such channel; there all claimers are in the process that writes.

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, RuntimeErr,
    sqlx::{
        self,
        postgres::{PgListener, PgPool, PgPoolOptions},
    },
};

use crate::{Database, Result, error::Doing};

const CHANNEL: &str = "touchline_jobs";
/// By this name the listener's connection is found in `pg_stat_activity`.
const APPLICATION_NAME: &str = "touchline-wakeups";
/// How long [`JobWakeups::next`] tries to connect before it returns an error.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Notifies the channel when the transaction behind `db` commits; without effect on SQLite.
pub(super) async fn notify(db: &impl ConnectionTrait) -> Result<()> {
    if db.get_database_backend() == DbBackend::Postgres {
        db.execute_unprepared(&format!("notify {CHANNEL}")).await.doing("waking claimers")?;
    }
    Ok(())
}

impl Database {
    /// Begins to listen for jobs that become ready, on a connection of its own beside the pools. `None` on SQLite.
    ///
    /// Jobs that were ready before are not reported: claim once after this returns.
    pub async fn job_wakeups(&self) -> Result<Option<JobWakeups>> {
        if !self.is_shared() {
            return Ok(None);
        }
        let options = self.writer().get_postgres_connection_pool().connect_options();
        let options = options.as_ref().clone().application_name(APPLICATION_NAME);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(options);
        let listener = Some(listen(&pool).await?);
        Ok(Some(JobWakeups { pool, listener }))
    }
}

/// A subscription to jobs that become ready, made by [`Database::job_wakeups`].
#[derive(Debug)]
pub struct JobWakeups {
    /// Of one connection: the listener's.
    pool: PgPool,
    /// `None` after the connection was lost.
    listener: Option<PgListener>,
}

impl JobWakeups {
    /// Waits until jobs of any tenant have become ready on any node. A lost connection is opened again, and that
    /// counts as a wake-up too, since notifications may have been missed meanwhile.
    ///
    /// Cancel safe. After an error (the database cannot be reached) wait before the next call, which connects again.
    pub async fn next(&mut self) -> Result<()> {
        if let Some(listener) = &mut self.listener
            && let Ok(Some(_)) = listener.try_recv().await
        {
            return Ok(());
        }
        // Cleared first, so that a caller that gives up while this connects is woken by its next call.
        self.listener = None;
        self.listener = Some(listen(&self.pool).await?);
        Ok(())
    }
}

async fn listen(pool: &PgPool) -> Result<PgListener> {
    let listener = async {
        let mut listener = PgListener::connect_with(pool).await?;
        // Else `try_recv` would connect by itself, and a caller that gives up meanwhile would miss the wake-up.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    let connection = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    listener.await.map_err(connection).doing("listening for ready jobs")
}
