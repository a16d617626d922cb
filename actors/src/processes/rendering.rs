//! An export that is being rendered, as its node knows it.

use std::sync::Arc;

use entities::{ExportId, TenantId};

use super::stop::StopSignal;
use crate::inference::client::InferenceClient;
use crate::inference::profile::ExportProfile;
use crate::render::Meter;

/// See the [module](self).
pub struct Rendering {
    pub tenant: TenantId,
    pub export: ExportId,
    pub profile: ExportProfile,
    pub inference: InferenceClient,
    pub meter: Arc<Meter>,
    pub stop: Arc<StopSignal>,
}
