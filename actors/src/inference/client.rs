//! The one way to have a picture served by a device: submit it to the frame queue, await the answer, and account for
//! what it took. Used by renders, whose threads block, and by single frames, which are awaited.

use std::sync::Arc;
use std::time::Instant;

use edits::RgbImage;
use entities::{ExportId, TenantId};
use tokio::sync::oneshot;

use super::cost_model::CostModel;
use super::profile::ModelProfile;
use super::queue::{DeviceFault, FrameJob, FrameQueue, Held, PushError, Served, Task, TaskKind};

/// A handle to the frame queue and the costs that its answers teach. Cheap to clone.
#[derive(Clone)]
pub struct InferenceClient {
    queue: Arc<FrameQueue>,
    costs: Arc<CostModel>,
}

/// A picture on its way through the devices. Dropping it takes the picture back.
pub struct Submitted {
    served: oneshot::Receiver<Result<Served, DeviceFault>>,
    tenant: TenantId,
    kind: TaskKind,
    profile: Arc<ModelProfile>,
    size: (u32, u32),
    /// Device seconds that were charged to the tenant in advance.
    estimate: f64,
    /// When it was submitted.
    pub at: Instant,
}

/// Why a picture was not served.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The queue is closed.
    #[error("the node is stopping")]
    Stopping,
    #[error(transparent)]
    Device(#[from] DeviceFault),
}

impl InferenceClient {
    /// A client of `queue`, whose frames are charged by `costs`.
    pub fn new(queue: Arc<FrameQueue>, costs: Arc<CostModel>) -> Self {
        Self { queue, costs }
    }

    /// Submits a picture of an export. Blocks while the tenant's share of the queue is full.
    ///
    /// # Errors
    /// When the queue is closed, or `cancelled` says so.
    pub fn submit(
        &self,
        (tenant, export): (TenantId, ExportId),
        kind: TaskKind,
        profile: &Arc<ModelProfile>,
        image: Arc<RgbImage>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Submitted, PushError> {
        let (size, estimate, task) = self.task(kind, profile, &image);
        let (job, served) = FrameJob::new(tenant, export, task, image, estimate);
        let at = job.queued;
        self.queue.push(job, cancelled)?;
        Ok(Submitted { served, tenant, kind, profile: Arc::clone(profile), size, estimate, at })
    }

    /// Submits a picture that a person waits for: it goes first within its tenant's share. Never blocks. `held` is
    /// dropped before the answer is sent; of a picture that was given up, when no device has it any more.
    ///
    /// # Errors
    /// When the queue is closed.
    pub fn submit_interactive(
        &self,
        tenant: TenantId,
        kind: TaskKind,
        profile: &Arc<ModelProfile>,
        image: Arc<RgbImage>,
        held: Held,
    ) -> Result<Submitted, PushError> {
        let (size, estimate, task) = self.task(kind, profile, &image);
        let (job, served) = FrameJob::interactive(tenant, task, image, estimate, held);
        let at = job.queued;
        self.queue.push_interactive(job)?;
        Ok(Submitted { served, tenant, kind, profile: Arc::clone(profile), size, estimate, at })
    }

    fn task(&self, kind: TaskKind, profile: &Arc<ModelProfile>, image: &RgbImage) -> ((u32, u32), f64, Task) {
        let size = (image.width, image.height);
        let estimate = self.costs.expected(kind, profile, size);
        (size, estimate, Task { kind, profile: Arc::clone(profile) })
    }

    /// Awaits the answer. What it took replaces the estimate in the tenant's account, and teaches the costs.
    ///
    /// # Errors
    /// See [`InferenceError`].
    pub async fn answer(&self, submitted: Submitted) -> Result<Served, InferenceError> {
        let Submitted { served, tenant, kind, profile, size, estimate, .. } = submitted;
        // The sender is dropped only with the queue.
        let served = served.await.map_err(|_| InferenceError::Stopping)??;
        self.queue.reconcile(tenant, estimate, served.device_seconds);
        self.costs.note(kind, &profile, size, served.device_seconds);
        Ok(served)
    }
}
