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

use utoipa_actix_web::service_config::ServiceConfig;

/// Adds the routes of every module here.
pub fn routes(api: &mut ServiceConfig) {
    config::routes(api);
    audit::routes(api);
    devices::routes(api);
    models::routes(api);
    queue::routes(api);
    plan::routes(api);
    tenants::routes(api);
    usage::routes(api);
    users::routes(api);
    exports::routes(api);
}
