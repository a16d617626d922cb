//! What can be asked about the progress of exports.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Addr, MailboxError};
use entities::{ExportId, TenantId};

use super::hub::{GetLatest, ProgressHub, Subscribe, SubscribeError, SubscriptionId, Unsubscribe};
use super::message::Progress;

/// Handles to the progress of a node's exports. Cheap to clone.
#[derive(Clone)]
pub struct ProgressFeed {
    hub: Addr<ProgressHub>,
}

impl ProgressFeed {
    pub(crate) fn new(hub: Addr<ProgressHub>) -> Self {
        Self { hub }
    }

    /// Starts to listen.
    ///
    /// # Errors
    /// See [`SubscribeError`]; the outer error when the hub has stopped.
    pub async fn subscribe(
        &self,
        subscribe: Subscribe,
    ) -> Result<Result<SubscriptionId, SubscribeError>, MailboxError> {
        self.hub.send(subscribe).await
    }

    /// Ends a subscription. A hub that has stopped has none.
    pub async fn unsubscribe(&self, subscription: SubscriptionId) {
        let _ = self.hub.send(Unsubscribe(subscription)).await;
    }

    /// The progress last published of those exports that are live here; of the others the row is the latest.
    ///
    /// # Errors
    /// When the hub has stopped.
    pub async fn latest(
        &self,
        exports: Vec<(TenantId, ExportId)>,
    ) -> Result<HashMap<ExportId, Arc<Progress>>, MailboxError> {
        self.hub.send(GetLatest(exports)).await
    }
}
