//! A progress message: what subscribers get of an export, and what nodes exchange.

use chrono::{DateTime, Utc};
use entities::exports::{Export, ExportState};
use entities::{ExportId, TenantId};
use serde::{Deserialize, Serialize};

/// What a subscriber gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Progress {
    #[serde(rename = "type", skip_deserializing, default = "message_type")]
    pub kind: &'static str,
    /// Grows from message to message of one node.
    pub seq: u64,
    pub export_id: ExportId,
    /// Between nodes it is part of the topic.
    #[serde(skip, default = "no_tenant")]
    pub tenant: TenantId,
    /// Which attempt at the export this is: a later one begins anew.
    #[serde(skip)]
    pub attempt: i32,
    pub state: ExportState,
    /// 0..1, never goes back.
    pub progress: f64,
    pub frames_done: i64,
    pub frames_total: i64,
    pub frames_inferred: i64,
    /// Output frames a second, lately.
    pub fps: f64,
    pub eta_seconds: Option<f64>,
    pub message: String,
    pub warnings: serde_json::Value,
    pub problem: Option<serde_json::Value>,
    pub device_seconds: f64,
    pub cost: f64,
    pub updated_at: DateTime<Utc>,
}

fn message_type() -> &'static str {
    "progress"
}

fn no_tenant() -> TenantId {
    uuid::Uuid::nil().into()
}

impl Progress {
    /// The progress in an export's row; `fps` and the time left are known only while it runs.
    pub fn of(export: &Export) -> Self {
        Self {
            kind: message_type(),
            seq: 0,
            export_id: export.id,
            tenant: export.tenant_id,
            attempt: export.attempt,
            state: export.state,
            progress: export.progress,
            frames_done: export.frames_done,
            frames_total: export.frames_total,
            frames_inferred: export.frames_inferred,
            fps: 0.0,
            eta_seconds: None,
            message: export.message.clone(),
            warnings: export.warnings.clone(),
            problem: export.problem.clone(),
            device_seconds: export.device_seconds,
            cost: export.cost,
            updated_at: Utc::now(),
        }
    }
}
