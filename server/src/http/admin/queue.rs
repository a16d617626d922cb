//! What waits and what is worked on, tenant by tenant.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get, web};
use actors::inference::queue::TenantQueue;
use chrono::{DateTime, Utc};
use entities::TenantId;
use entities::jobs::{self, JobKind, JobState, QueueDepth};
use entities::tenants::{self, Tenant, TenantState};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::http::extract::{Listing, Operator};
use crate::http::problem::Problem;
use crate::http::refusals::ReadRefusals;
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(show_queue);
}

/// What a tenant has in the queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantQueue)]
pub struct TenantQueueView {
    /// Whose.
    pub tenant_id: TenantId,
    /// The tenant's name.
    pub name: String,
    /// Whether its people may do anything.
    pub state: TenantState,
    /// Its share of the devices relative to other tenants.
    pub weight: f64,
    /// Its unfinished exports.
    pub exports: ExportCounts,
    /// The unfinished parts of those that run: segments and sound tracks.
    pub parts: PartCounts,
    /// Frames of those on this node that wait for a device.
    pub frames: FrameCounts,
    /// Device time that its frames took on this node since it started, in seconds.
    pub device_seconds: f64,
    /// How long the oldest of all that waits could have been taken up, in seconds; 0 when nothing waits.
    pub oldest_seconds: f64,
}

/// Unfinished exports.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ExportCounts {
    /// Accepted and not begun yet.
    pub queued: i64,
    /// At work.
    pub running: i64,
}

/// Unfinished parts of exports.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PartCounts {
    /// Not begun yet.
    pub ready: i64,
    /// Being rendered.
    pub running: i64,
    /// Those of both that have failed before.
    pub retrying: i64,
}

/// Frames that wait for a device.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct FrameCounts {
    /// Of exports.
    pub waiting: usize,
    /// Single ones that a user waits for.
    pub interactive: usize,
    /// How long the oldest has waited, in seconds.
    pub oldest_seconds: f64,
}

/// Reads what each tenant has waiting and running, the longest waiting first. Tenants that have nothing are left out.
#[utoipa::path(tag = "admin", responses((status = 200, description = "all of it", body = Listing<TenantQueueView>), ReadRefusals))]
#[get("/admin/queue")]
pub async fn show_queue(_: Operator, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let db = &state.db;
    let mut depths: BTreeMap<TenantId, Vec<QueueDepth>> = BTreeMap::new();
    for jobs in jobs::queue_depths(db).await? {
        depths.entry(jobs.tenant_id).or_default().push(jobs);
    }
    let frames: BTreeMap<TenantId, TenantQueue> =
        state.node.devices.queues().into_iter().map(|queue| (queue.tenant, queue)).collect();
    let now = Utc::now();
    let mut items = Vec::new();
    for tenant in tenants::all(db).await? {
        let (jobs, frames) = (depths.get(&tenant.id), frames.get(&tenant.id));
        if jobs.is_some() || frames.is_some_and(|queue| queue.frames + queue.interactive > 0) {
            items.push(view(tenant, jobs.map_or(&[], Vec::as_slice), frames, now));
        }
    }
    items.sort_by(|a, b| b.oldest_seconds.total_cmp(&a.oldest_seconds));
    Ok(HttpResponse::Ok().json(Listing { items, next_cursor: None }))
}

fn view(tenant: Tenant, jobs: &[QueueDepth], queue: Option<&TenantQueue>, now: DateTime<Utc>) -> TenantQueueView {
    let (mut exports, mut parts, mut oldest) = (ExportCounts::default(), PartCounts::default(), None);
    for one in jobs {
        let counted = match (one.kind, one.state) {
            (JobKind::Coordinate, JobState::Ready) => &mut exports.queued,
            (JobKind::Coordinate, _) => &mut exports.running,
            (_, JobState::Ready) => &mut parts.ready,
            _ => &mut parts.running,
        };
        *counted += one.jobs;
        if one.kind != JobKind::Coordinate {
            parts.retrying += one.retrying;
        }
        if one.state == JobState::Ready {
            oldest = Some(oldest.map_or(one.oldest, |oldest: DateTime<Utc>| oldest.min(one.oldest)));
        }
    }
    // One that is tried again later is not late yet.
    let oldest_seconds = oldest.map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
    let frames = queue.map_or_else(FrameCounts::default, |queue| FrameCounts {
        waiting: queue.frames,
        interactive: queue.interactive,
        oldest_seconds: queue.oldest_seconds,
    });
    let device_seconds = queue.map_or(0.0, |queue| queue.device_seconds);
    let Tenant { id, name, state, weight, .. } = tenant;
    TenantQueueView { tenant_id: id, name, state, weight, exports, parts, frames, device_seconds, oldest_seconds }
}
