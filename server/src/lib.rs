//! Touchline's server: the HTTP API over the actors of `actors`, and what the `touchline` program is
//! made of.
//!
//! In reading order:
//!
//! * [`http`]: the API, its documents and its life cycle;
//! * [`cli`]: the commands of the `touchline` program.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let settings = config::Settings::load(None)?;
//! let node = actors::Node::start(settings, actors::NodeOptions::default()).await?;
//! touchline::http::serve(node, touchline::http::stop_signal()).await
//! # }
//! ```

pub mod cli;
pub mod http;
