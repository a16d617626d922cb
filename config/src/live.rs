//! The part of the settings that can be changed while the server runs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{Invalid, layers};

/// Greatest side of a source picture that is read at all, in pixels.
const MAX_SIDE: u32 = 8192;

/// What `GET /admin/config` answers and `PATCH /admin/config` changes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// Each tenant's limits.
    pub limits: Limits,
    /// Upscaling.
    pub upscale: UpscaleSettings,
    /// Detection.
    pub detect: DetectSettings,
    /// Cost.
    pub planner: PlannerSettings,
    /// Logging.
    pub log: LogSettings,
}

/// `[limits]`: each tenant's own.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Exports at work at once; further ones wait.
    pub concurrent_exports: u32,
    /// Exports waiting or at work; one more is refused.
    pub queued_exports: u32,
    /// Exports of all tenants together, waiting or at work; one more is refused.
    pub queued_exports_of_all: u32,
    /// Single frames in detection at the same time; one more is refused.
    pub interactive_frames: u32,
    /// Bytes of open uploads, videos and results.
    pub storage_bytes: u64,
    /// Bytes of one upload.
    pub upload_bytes: u64,
    /// Longest side of a source picture, in pixels.
    pub source_side: u32,
    /// Width times height of a source picture, in pixels.
    pub source_pixels: u64,
    /// Requests a second; 0: unlimited.
    pub requests_per_second: u32,
    /// WebSockets of one user or API key, open on one node; one more is refused.
    pub sockets_per_user: u32,
    /// WebSockets of one tenant, open on one node; one more is refused.
    pub sockets_per_tenant: u32,
}

/// `[upscale]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpscaleSettings {
    /// The model behind `"model": "auto"`.
    pub model: String,
}

/// `[detect]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectSettings {
    /// The model that finds persons.
    pub model: String,
}

/// `[planner]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannerSettings {
    /// Price of one device-second.
    pub price_per_device_second: f64,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// What is logged.
    pub level: LogLevel,
    /// How it is written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
    /// And everything.
    Trace,
}

impl LogLevel {
    /// The level's name, as `tracing` filters spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The built-in defaults.
impl Default for Live {
    fn default() -> Self {
        layers::defaults().live()
    }
}

impl Live {
    /// The settings after a JSON merge patch (RFC 7396), validated as a whole.
    ///
    /// `null` resets a value to the built-in default. All or nothing: with any error the settings stay as they are.
    ///
    /// # Errors
    /// Every unknown key, wrong type and value out of range.
    pub fn patched(&self, patch: &Value) -> Result<Live, Vec<Invalid>> {
        let defaults = to_object(&Live::default());
        let current = to_object(self);
        let mut found = Vec::new();
        let mut merged = current.clone();
        match patch {
            Value::Object(patch) => merge(&mut merged, patch, &current, &defaults, "", &mut found),
            _ => found.push(Invalid::new("", "must be an object, a merge patch of the settings")),
        }
        if !found.is_empty() {
            return Err(found);
        }
        let live: Live =
            serde_json::from_value(Value::Object(merged)).map_err(|error| vec![Invalid::new("", error.to_string())])?;
        let found = live.check();
        if found.is_empty() { Ok(live) } else { Err(found) }
    }

    /// Everything that is out of range.
    pub(crate) fn check(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        let mut want = |right: bool, pointer: &str, message: &str| {
            if !right {
                found.push(Invalid::new(pointer, message));
            }
        };
        let limits = &self.limits;
        want(limits.concurrent_exports > 0, "/limits/concurrent_exports", "must be at least 1");
        want(limits.queued_exports > 0, "/limits/queued_exports", "must be at least 1");
        want(limits.queued_exports_of_all > 0, "/limits/queued_exports_of_all", "must be at least 1");
        want(limits.interactive_frames > 0, "/limits/interactive_frames", "must be at least 1");
        want(limits.storage_bytes > 0, "/limits/storage_bytes", "must be at least 1");
        want(limits.upload_bytes > 0, "/limits/upload_bytes", "must be at least 1");
        want(limits.sockets_per_user > 0, "/limits/sockets_per_user", "must be at least 1");
        want(limits.sockets_per_tenant > 0, "/limits/sockets_per_tenant", "must be at least 1");
        want((16..=MAX_SIDE).contains(&limits.source_side), "/limits/source_side", "must be 16 to 8192 pixels");
        want(limits.source_pixels >= 256, "/limits/source_pixels", "must be at least 256 pixels");
        want(!self.upscale.model.trim().is_empty(), "/upscale/model", "must name a model");
        want(!self.detect.model.trim().is_empty(), "/detect/model", "must name a model");
        let price = self.planner.price_per_device_second;
        want(price.is_finite() && price >= 0.0, "/planner/price_per_device_second", "must be 0 or more");
        found
    }
}

/// Merges `patch` into `target`, one value at a time. Each value is tried alone against the type, so that every
/// wrong one is found and named.
fn merge(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    current: &Map<String, Value>,
    defaults: &Map<String, Value>,
    at: &str,
    found: &mut Vec<Invalid>,
) {
    for (key, value) in patch {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        let Some(default) = defaults.get(key) else {
            found.push(Invalid::new(pointer, "is no setting that can be changed at run time"));
            continue;
        };
        match (value, default) {
            (Value::Null, _) => {
                target.insert(key.clone(), default.clone());
            }
            (Value::Object(inner), Value::Object(inner_defaults)) => {
                if let Some(Value::Object(inner_target)) = target.get_mut(key) {
                    merge(inner_target, inner, current, inner_defaults, &pointer, found);
                }
            }
            _ => match try_alone(current, &pointer, value) {
                Ok(()) => {
                    target.insert(key.clone(), value.clone());
                }
                Err(message) => found.push(Invalid::new(pointer, message)),
            },
        }
    }
}

/// Does the type take `value` at `pointer`, everything else being as it is now?
fn try_alone(current: &Map<String, Value>, pointer: &str, value: &Value) -> Result<(), String> {
    let mut whole = Value::Object(current.clone());
    if let Some(place) = whole.pointer_mut(pointer) {
        *place = value.clone();
    }
    serde_json::from_value::<Live>(whole).map(drop).map_err(|error| error.to_string())
}

fn to_object(live: &Live) -> Map<String, Value> {
    match serde_json::to_value(live) {
        Ok(Value::Object(map)) => map,
        other => unreachable!("settings serialise to an object of plain values, not {other:?}"),
    }
}
