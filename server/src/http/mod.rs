//! The HTTP side: routes, rights, errors, uploads, files, live progress.
//!
//! In reading order:
//!
//! * [`serve`] binds, answers and stops, over TLS by `tls`; [`openapi`] describes what is answered.
//! * [`problem`] is the one way to say no; [`extract`] are the rights a handler asks for; [`auth`] is
//!   what they rest on.
//! * One file a resource: [`tokens`], [`uploads`] (with [`tus`], its header language), [`videos`], [`clips`],
//!   [`reels`], [`exports`], [`links`], [`live`], [`me`], [`api_keys`], [`users`], [`webhooks`], [`admin`], [`service`].
//! * [`forwarding`] knows the client and the public address behind proxies; [`rates`] counts how fast requests come, and
//!   `rate_limit` refuses those that come too fast; `sockets` counts open WebSockets and what their clients send.
//!   [`content`] sends files by range; [`detections`] answers what was found in a video or an export;
//!   [`observe`] logs, counts and hardens; `metrics` says what is counted.

pub mod admin;
pub mod api_keys;
mod app;
pub mod auth;
pub mod clips;
pub mod content;
pub mod detections;
pub mod exports;
pub mod extract;
pub mod forwarding;
pub mod links;
pub mod live;
mod location;
pub mod me;
mod merge_patch;
mod methods;
mod metrics;
pub mod observe;
mod precondition;
pub mod problem;
mod rate_limit;
pub mod rates;
pub mod reels;
mod refusals;
mod serve;
pub mod service;
mod single_frame;
mod sockets;
mod state;
pub mod thumbnail;
mod tls;
pub mod tokens;
pub mod tus;
mod upload_locks;
mod upload_sweep;
mod upload_writer;
pub mod uploads;
pub mod usage;
pub mod users;
pub mod videos;
pub mod webhooks;
mod whole;

pub use self::metrics::install_metrics;
pub use app::openapi;
pub use serve::{serve, stop_signal};
