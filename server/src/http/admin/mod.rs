//! What only the operator of the deployment does.

pub mod config;
pub mod devices;
pub mod plan;
pub mod queue;
pub mod tenants;
pub mod usage;
pub mod users;
