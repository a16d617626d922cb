//! The HTTP side: routes, rights, errors, uploads, files, live progress.
//!
//! In reading order:
//!
//! * [`serve`] binds, answers and stops; [`openapi`] describes what is answered.
//! * [`problem`] is the one way to say no; [`extract`] are the rights a handler asks for; [`auth`] is
//!   what they rest on.
//! * One file a resource: [`tokens`], [`uploads`] (with [`tus`], its header language), [`videos`],
//!   [`exports`], [`links`], [`live`], [`me`], [`admin`], [`service`].
//! * [`rates`] refuses what comes too fast. [`content`] sends files by range; [`observe`] logs, counts and hardens; `metrics` says what is counted.

pub mod admin;
mod app;
pub mod auth;
pub mod content;
pub mod exports;
pub mod extract;
pub mod links;
pub mod live;
pub mod me;
mod methods;
mod metrics;
pub mod observe;
pub mod problem;
pub mod rates;
mod refusals;
mod serve;
pub mod service;
mod single_frame;
mod state;
pub mod tokens;
pub mod tus;
mod upload_sweep;
mod upload_writer;
pub mod uploads;
pub mod usage;
pub mod videos;

pub use self::metrics::install_metrics;
pub use app::openapi;
pub use serve::{serve, stop_signal};
