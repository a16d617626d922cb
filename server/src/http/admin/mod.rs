//! What only the operator of the deployment does.

pub mod audit;
pub mod config;
pub mod devices;
pub mod exports;
pub mod models;
pub mod plan;
pub mod queue;
pub mod tenants;
pub mod usage;
pub mod users;
