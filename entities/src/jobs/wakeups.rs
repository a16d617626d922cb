//! Waking claimers of other nodes: `NOTIFY` when jobs become ready, `LISTEN` where they are claimed (PostgreSQL only; the
//! claimers of a SQLite database are in this process).
//!
//! A notification is sent with the commit of what made the job ready, and carries nothing: which job is next is decided
//! by the claim. It may be lost with a connection, so claimers poll as well.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, RuntimeErr,
    sqlx::{
        self,
        postgres::{PgListener, PgPoolOptions},
    },
};

use crate::{Database, Result, error::Doing};

const CHANNEL: &str = "touchline_jobs";

/// Wakes the claimers of every node, with the commit where `on` is a transaction.
pub(crate) async fn notify(on: &impl ConnectionTrait) -> Result<()> {
    if on.get_database_backend() == DbBackend::Postgres {
        on.execute_unprepared("notify touchline_jobs").await.doing("notifying claimers")?;
    }
    Ok(())
}

/// Listens for jobs that become ready, on a connection of its own.
#[derive(Debug)]
pub struct JobWakeups(PgListener);

impl JobWakeups {
    /// Waits until there may be a new job. Also returns when the connection was lost and notifications may have been
    /// missed; the next call connects again. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// When the database cannot be reached. Wait before calling again.
    pub async fn next(&mut self) -> Result<()> {
        self.0.try_recv().await.map(drop).map_err(query_error).doing("listening for new jobs")
    }
}

impl Database {
    /// The wake-ups of this database; `None` on SQLite.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn job_wakeups(&self) -> Result<Option<JobWakeups>> {
        if !self.is_shared() {
            return Ok(None);
        }
        let pool = self.reader().get_postgres_connection_pool();
        // A pool of its own: the listener keeps its connection for good.
        let own = PgPoolOptions::new().max_connections(1).connect_lazy_with((*pool.connect_options()).clone());
        let listen = async {
            let mut listener = PgListener::connect_with(&own).await?;
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        let listener = listen.await.map_err(query_error).doing("listening for new jobs")?;
        Ok(Some(JobWakeups(listener)))
    }
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
