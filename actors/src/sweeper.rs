//! The actor that enforces retention: it deletes exports past their time, segments of failed exports that were not
//! retried, expired keys, and what was in `lost+found` for long enough; at the start and now and then it looks for
//! [orphans](crate::orphans).

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::{Actor, AsyncContext, Context, WrapFuture};
use chrono::{TimeDelta, Utc};
use entities::{ExportId, TenantId, exports, idempotency};

use crate::context::NodeContext;
use crate::exports::service::Exports;
use crate::orphans::{self, SweepError};
use crate::removals::remove_export_files;

/// How often it sweeps.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Sweeps from one search for orphans, which reads the whole storage, to the next.
const SWEEPS_A_SEARCH: u64 = 36;

/// See the [module](self).
pub struct Sweeper {
    context: Arc<NodeContext>,
    exports: Exports,
    /// When the node's process began to write.
    started: SystemTime,
    sweeps: u64,
}

impl Sweeper {
    /// A sweeper of a node that writes since `started`.
    pub fn new(context: Arc<NodeContext>, exports: Exports, started: SystemTime) -> Self {
        Self { context, exports, started, sweeps: 0 }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let (context, exports, started) = (Arc::clone(&self.context), self.exports.clone(), self.started);
        let search = self.sweeps.is_multiple_of(SWEEPS_A_SEARCH);
        self.sweeps += 1;
        let sweep = async move {
            if search && let Err(error) = orphans::sweep(&context, started).await {
                tracing::warn!(%error, "files without a row could not be searched for; a later sweep tries again");
            }
            if let Err(error) = orphans::delete_expired(&context).await {
                tracing::warn!(%error, "lost+found could not be emptied; the next sweep tries again");
            }
            if let Err(error) = sweep_expired(&context, &exports).await {
                tracing::warn!(%error, "what has expired could not be swept; the next sweep tries again");
            }
        };
        ctx.spawn(sweep.into_actor(self));
    }
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.sweep(ctx);
        ctx.run_interval(EVERY, Self::sweep);
    }
}

/// Does `work` for each export, also after it has failed for another: the next sweep tries that one again.
async fn each<E: Display>(
    doing: &'static str,
    exports: Vec<(TenantId, ExportId)>,
    work: impl AsyncFn(TenantId, ExportId) -> Result<(), E>,
) {
    for (tenant, export) in exports {
        match work(tenant, export).await {
            Ok(()) => tracing::info!(%export, %tenant, doing, "an export was swept"),
            Err(error) => tracing::warn!(%export, %tenant, doing, %error, "an export could not be swept"),
        }
    }
}

async fn sweep_expired(context: &NodeContext, service: &Exports) -> Result<(), SweepError> {
    let retention = &context.settings.retention;
    if retention.exports_days > 0 {
        let oldest = Utc::now() - TimeDelta::days(i64::from(retention.exports_days));
        let ended = exports::ended_before(&context.db, oldest).await?;
        each("deleting an export past its time", ended, async |tenant, export| {
            service.delete(tenant, export).await.map(drop)
        })
        .await;
    }
    if retention.segments_hours > 0 {
        let oldest = Utc::now() - TimeDelta::hours(i64::from(retention.segments_hours));
        let keeping = exports::keeping_segments_since(&context.db, oldest).await?;
        each("removing the segments of a failed export", keeping, async |tenant, export| {
            if exports::drop_segments(&context.db, tenant, export).await? {
                remove_export_files(context, tenant, export).await;
            }
            Ok::<_, entities::Error>(())
        })
        .await;
    }
    idempotency::forget_expired(&context.db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn an_export_that_cannot_be_swept_leaves_no_other_behind() {
        let exports: Vec<_> = (0..3).map(|_| (TenantId::new(), ExportId::new())).collect();
        let tried = RefCell::new(Vec::new());
        let work = async |tenant, export| {
            tried.borrow_mut().push((tenant, export));
            if tried.borrow().len() == 1 { Err("read-only") } else { Ok(()) }
        };
        each("deleting", exports.clone(), work).await;
        assert_eq!(tried.into_inner(), exports);
    }
}
