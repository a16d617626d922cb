//! What the services and actors of one node share: opened at start, never replaced.

use std::path::PathBuf;
use std::sync::Arc;

use actix::Addr;
use config::Settings;
use entities::exports::Export;
use entities::{Database, Subject, TenantId};
use models::ModelStore;
use tokio::sync::watch;

use crate::detections::cache::{Change, DetectionCache, Invalidate};
use crate::inference::client::InferenceClient;
use crate::inference::cost_model::CostModel;
use crate::inference::profile::Profiles;
use crate::inference::queue::FrameQueue;
use crate::processes::owner::RenderProcesses;
use crate::progress::hub::{ProgressHub, Publish};
use crate::progress::message::Progress;
use crate::settings::config_keeper::Versioned;
use crate::storage::Storage;

/// See the [module](self).
pub struct NodeContext {
    pub db: Database,
    pub settings: Settings,
    pub storage: Arc<dyn Storage>,
    /// The settings that change while the node runs.
    pub live: watch::Receiver<Arc<Versioned>>,
    /// What opens tenants' files.
    pub processes: Arc<RenderProcesses>,
    pub queue: Arc<FrameQueue>,
    pub profiles: Arc<Profiles>,
    /// Device seconds that frames are expected to take, for fairness and estimates.
    pub costs: Arc<CostModel>,
    /// None where every device only simulates.
    pub models: Option<Arc<ModelStore>>,
    /// Unfinished files; emptied at start.
    pub work_dir: PathBuf,
    /// The name under which this node holds leases.
    pub owner: String,
    /// Frames of one segment that may be on their way through the devices.
    pub window: usize,
    /// Segments rendered side by side.
    pub segment_slots: usize,
    pub device_count: usize,
    pub detections: Addr<DetectionCache>,
    pub progress: Addr<ProgressHub>,
}

impl NodeContext {
    /// The door to the devices.
    pub fn inference(&self) -> InferenceClient {
        InferenceClient::new(Arc::clone(&self.queue), Arc::clone(&self.costs))
    }

    /// Forgets, at every node, what readers were answered about the detections of `subjects`: they have more now.
    pub async fn detections_changed(&self, tenant: TenantId, subjects: impl IntoIterator<Item = Subject>) {
        for subject in subjects {
            if self.detections.send(Invalidate { tenant, subject, change: Change::Changed }).await.is_err() {
                tracing::error!("the detection cache has stopped");
            }
        }
    }

    /// Counts an export that has ended, and publishes its end. Called once an end, by what caused it.
    pub fn export_ended(&self, row: &Export) {
        crate::metrics::export_ended(row);
        // Not `try_send`: a terminal message is never dropped, and one an export cannot flood the mailbox.
        self.progress.do_send(Publish(Progress::of(row)));
    }
}
