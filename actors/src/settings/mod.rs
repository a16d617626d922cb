//! Settings that change while the node runs: [`config_keeper`] is the actor that validates, versions and publishes them;
//! requests go to the [`service`]; [`tenant_limits`] and [`default_models`] are what applies to one tenant.

pub mod config_keeper;
pub mod default_models;
pub mod service;
pub mod tenant_limits;
