//! The actor that tries removals of files again that failed, or that a crash prevented ([`entities::removals`]), until
//! the files are gone.
//!
//! Removals are independent: one that fails or hangs delays no other, of whichever tenant. Those of an export go
//! through the [dispatcher](crate::exports::dispatcher), which knows whether jobs of the export are still at work.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, WrapFuture};
use entities::Subject;
use entities::removals::{self, Removal};
use futures_util::StreamExt;

use crate::context::NodeContext;
use crate::exports::dispatcher::{Dispatcher, RemoveFiles};
use crate::removals::remove_video;

/// How often due removals are looked for.
const EVERY: Duration = Duration::from_secs(5);
/// Removals claimed at once.
const MOST: u64 = 100;
/// Removals tried side by side.
const AT_ONCE: usize = 8;

/// See the [module](self).
pub struct FileRemover {
    context: Arc<NodeContext>,
    dispatcher: Addr<Dispatcher>,
}

impl FileRemover {
    pub fn new(context: Arc<NodeContext>, dispatcher: Addr<Dispatcher>) -> Self {
        Self { context, dispatcher }
    }

    /// Tries what is due. Does not wait for earlier tries, which a storage that hangs may hold.
    fn remove_due(&mut self, ctx: &mut Context<Self>) {
        let (context, dispatcher) = (Arc::clone(&self.context), self.dispatcher.clone());
        let removals = async move {
            let due = match removals::claim_due(&context.db, MOST).await {
                Ok(due) => due,
                Err(error) => return tracing::warn!(%error, "looking for files to be removed failed"),
            };
            let removed = futures_util::stream::iter(due);
            removed.for_each_concurrent(AT_ONCE, |removal| again(&context, &dispatcher, removal)).await;
        };
        ctx.spawn(removals.into_actor(self));
    }
}

impl Actor for FileRemover {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.remove_due(ctx);
        ctx.run_interval(EVERY, Self::remove_due);
    }
}

async fn again(context: &NodeContext, dispatcher: &Addr<Dispatcher>, removal: Removal) {
    let Removal { tenant, subject, attempts } = removal;
    match subject {
        Subject::Video(video) => {
            if let Err(error) = remove_video(context, tenant, video).await {
                tracing::warn!(%video, %tenant, attempts, %error, "files could not be removed; they are tried again");
            }
        }
        // A dispatcher that has stopped has the next start try again.
        Subject::Export(export) => drop(dispatcher.send(RemoveFiles { tenant, export }).await),
    }
}
