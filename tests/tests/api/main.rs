//! The HTTP API: each test has a server, or tenants of its own on a shared one, and all run side by side.

mod api_keys;
mod backends;
mod bad_input;
mod browser;
mod clips_and_reels;
mod contract;
mod cors;
mod durability;
mod hostile_input;
mod issuers;
mod limits;
mod live_settings;
mod main_job;
mod model_admin;
mod observability;
mod processes;
mod retries;
mod sessions;
mod tenancy;
mod tus_client;
mod users;
mod webhooks;
