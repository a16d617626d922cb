//! The operations on exports: start, estimate, cancel, retry, delete. Validates, changes the rows, and notifies the
//! [dispatcher](super::dispatcher) of what to claim and what to stop.
//!
//! A change of several steps continues when its caller leaves, so that no export is rendered on after its row was
//! cancelled.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use edits::FieldError;
use entities::exports::{self, Cancelled, Deleted, Export, Retried};
use entities::{ExportId, Subject, TenantId};

use super::dispatcher::{AwaitEnd, Dispatcher, StopExport, Wake};
use super::error::RequestError;
use super::estimate::{self, Estimate};
use super::request::{self, NewRequest};
use super::retry;
use crate::context::NodeContext;
use crate::detections::cache::{Change, Invalidate};
use crate::failpoints::{self, Point};
use crate::progress::hub::Publish;
use crate::progress::message::Progress;
use crate::threads::to_completion;

/// How long a retry waits for the jobs of the last attempt to stop.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Handles to the exports of a node. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    context: Arc<NodeContext>,
    dispatcher: Addr<Dispatcher>,
}

impl Exports {
    pub(crate) fn new(context: Arc<NodeContext>, dispatcher: Addr<Dispatcher>) -> Self {
        Self { context, dispatcher }
    }

    /// Validates a request and starts its export. Returns the row, in state `queued`.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing is stored then.
    pub async fn start(&self, request: NewRequest) -> Result<Export, RequestError> {
        let this = self.clone();
        to_completion("starting an export", async move {
            let accepted = request::accept(&this.context, request).await;
            this.wake();
            accepted
        })
        .await?
    }

    /// Estimates a request as if it were accepted now; nothing is stored.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] as for [`Exports::start`].
    pub async fn estimate(&self, request: NewRequest) -> Result<Estimate, RequestError> {
        let valid = request::validate(&self.context, request).await?;
        if let Some(reason) = valid.kind.hopeless() {
            return Err(RequestError::Invalid(vec![FieldError::new("", "nothing_to_render", reason)]));
        }
        Ok(estimate::estimate(&self.context, valid.kind.as_ref(), &valid.profile))
    }

    /// Cancels an export: it stops within one batch, and its partial files are removed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn cancel(&self, tenant: TenantId, export: ExportId) -> Result<Cancelled, RequestError> {
        let this = self.clone();
        to_completion("cancelling an export", async move { this.cancel_now(tenant, export).await }).await?
    }

    async fn cancel_now(&self, tenant: TenantId, export: ExportId) -> Result<Cancelled, RequestError> {
        let cancelled = exports::cancel(&self.context.db, tenant, export).await?;
        if let Cancelled::Now(row) = &cancelled {
            failpoints::passed(Point::ExportCancelled);
            self.context.export_ended(row);
            self.stop_jobs(tenant, export).await;
        }
        Ok(cancelled)
    }

    /// Stops the work of exports that were cancelled in the rows together with the video they read, and publishes their
    /// ends.
    pub(crate) async fn stop_cancelled(&self, tenant: TenantId, cancelled: Vec<ExportId>) {
        for export in cancelled {
            self.stop_jobs(tenant, export).await;
            match exports::get(&self.context.db, tenant, export).await {
                Ok(Some(row)) => self.context.export_ended(&row),
                Ok(None) => {}
                Err(error) => tracing::warn!(%export, %error, "reading a cancelled export failed"),
            }
        }
    }

    async fn stop_jobs(&self, tenant: TenantId, export: ExportId) {
        // A dispatcher that has stopped holds no job.
        let _ = self.dispatcher.send(StopExport { tenant, export }).await;
    }

    /// Begins a new attempt of an export that failed or was cancelled.
    ///
    /// # Errors
    /// [`RequestError::StillEnding`] when jobs of the last attempt do not stop in time.
    pub async fn retry(&self, tenant: TenantId, export: ExportId) -> Result<Retried, RequestError> {
        let this = self.clone();
        to_completion("retrying an export", async move { this.retry_now(tenant, export).await }).await?
    }

    async fn retry_now(&self, tenant: TenantId, export: ExportId) -> Result<Retried, RequestError> {
        match exports::get(&self.context.db, tenant, export).await? {
            None => return Ok(Retried::NotFound),
            Some(row) if !row.state.is_terminal() => return Ok(Retried::Not(Box::new(row))),
            Some(_) => {}
        }
        // The files of the last attempt are removed when its last job ends: they must not be the new attempt's.
        let ended = self.dispatcher.send(AwaitEnd(export));
        if tokio::time::timeout(END_PATIENCE, ended).await.is_err() {
            return Err(RequestError::StillEnding);
        }
        let retried = retry::retry(&self.context, tenant, export).await?;
        if let Retried::Now(row) = &retried {
            // A full mailbox skips one of many updates.
            let _ = self.context.progress.try_send(Publish(Progress::of(row)));
            self.wake();
        }
        Ok(retried)
    }

    /// Deletes an export with its files; an unfinished one is cancelled first. False: the tenant has no such export.
    ///
    /// # Errors
    /// Of the database.
    pub async fn delete(&self, tenant: TenantId, export: ExportId) -> Result<bool, RequestError> {
        let this = self.clone();
        to_completion("deleting an export", async move { this.delete_now(tenant, export).await }).await?
    }

    async fn delete_now(&self, tenant: TenantId, export: ExportId) -> Result<bool, RequestError> {
        self.cancel_now(tenant, export).await?;
        if !matches!(exports::delete(&self.context.db, tenant, export).await?, Deleted::Gone(_)) {
            return Ok(false);
        }
        failpoints::passed(Point::ExportDeleted);
        // A cache that has stopped answers no reader.
        let gone = Invalidate { tenant, subject: Subject::Export(export), change: Change::Gone };
        let _ = self.context.detections.send(gone).await;
        self.stop_jobs(tenant, export).await;
        Ok(true)
    }

    /// Where the result of a complete export can be read; None while there is none.
    pub fn result_path(&self, export: &Export) -> Option<PathBuf> {
        export.result_key.as_ref().map(|key| self.context.storage.local_path(key))
    }

    /// A full mailbox of the dispatcher means that it is about to claim anyway.
    fn wake(&self) {
        let _ = self.dispatcher.try_send(Wake);
    }
}
