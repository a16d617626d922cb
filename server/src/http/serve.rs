//! The server's life: first start, listening, stopping.

use std::net::TcpListener;
use std::time::Duration;

use actix::Actor;
use actix_web::{HttpServer, web};
use actors::Node;
use actors::webhooks::WebhookSender;
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::app::{app, openapi};
use super::auth::first_start::{GeneratedLogin, first_start};
use super::auth::logged_out;
use super::methods::Routes;
use super::metrics::install_metrics;
use super::service::Document;
use super::state::State;
use super::tls::Certificate;
use super::upload_sweep;

/// How long open requests may take to end once the server stops, in seconds; the node needs the
/// rest of the ten.
const LINGER_SECONDS: u64 = 4;
/// How long a client may take to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How often the metrics recorder tidies up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Serves `node` until `stop` resolves, then ends open requests and sockets and stops the node, all
/// within ten seconds. Prints `listening on http://ADDRESS` (or `https://`) on stdout when it answers.
///
/// # Errors
/// When the address cannot be bound, the TLS certificate cannot be used, the secret or the first operator cannot be made, or the
/// listener fails.
pub async fn serve(node: Node, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let served = answer_until(&node, stop).await;
    node.stop().await;
    served
}

async fn answer_until(node: &Node, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let (stop_sender, stopping) = watch::channel(false);
    let metrics = install_metrics()?;
    let files = node.settings().tls.files();
    let certificate = files.map(|(certificate, key)| Certificate::load(certificate, key)).transpose()?;
    let listen = node.settings().server.listen;
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}; is the port taken?"))?;
    // Not before the port is ours: the first operator's password is printed once, by a server that goes on.
    if let Some(GeneratedLogin { email, password }) = first_start(node.database()).await? {
        announce(&format!("first start: log in as {email} with password {password} (shown only now)"));
    }
    let state = web::Data::new(State::new(node.clone(), metrics.clone(), stopping)?);
    let sender = WebhookSender::new(node.database().clone(), node.settings().webhooks.clone());
    sender.context("preparing to call webhooks")?.start();
    if let Some(redis) = &node.redis {
        actix_web::rt::spawn(logged_out::follow(redis.clone(), state.tokens.clone()));
    }
    let address = listener.local_addr().context("asking for the address that was bound")?;
    let document = openapi();
    let routes = web::Data::new(Routes::of(&document).context("reading the paths of the OpenAPI document")?);
    let document = web::Data::new(Document::new(&document).context("writing the OpenAPI document")?);
    let shared = state.clone();
    let server = HttpServer::new(move || app(shared.clone(), document.clone(), routes.clone()))
        .disable_signals()
        .shutdown_timeout(LINGER_SECONDS)
        .client_request_timeout(HEAD_WITHIN)
        .keep_alive(KEEP_ALIVE);
    let (server, scheme) = match &certificate {
        Some(certificate) => (server.listen_rustls_0_23(listener, certificate.config()?), "https"),
        None => (server.listen(listener), "http"),
    };
    let server = server.context("starting the listener")?.run();
    let handle = server.handle();
    let mut server = actix_web::rt::spawn(server);
    let housekeeping = actix_web::rt::spawn(housekeeping(state, metrics, certificate));
    announce(&format!("listening on {scheme}://{address}"));

    let ended = tokio::select! {
        ended = &mut server => ended,
        () = stop => {
            tracing::info!("stopping");
            // It has no receiver any more when every worker has gone; that is fine.
            let _ = stop_sender.send(true);
            handle.stop(true).await;
            server.await
        }
    };
    housekeeping.abort();
    ended.context("the server's task failed")?.context("serving failed")
}

/// Runs until it is aborted.
async fn housekeeping(state: web::Data<State>, metrics: PrometheusHandle, certificate: Option<Certificate>) {
    let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
    let sweeping = upload_sweep::sweep_for_ever(state);
    let tidying = async {
        loop {
            upkeep.tick().await;
            metrics.run_upkeep();
        }
    };
    let renewing = async {
        if let Some(certificate) = certificate {
            certificate.follow().await;
        }
    };
    tokio::join!(sweeping, tidying, renewing);
}

/// Prints a line on stdout at once, also when stdout is a pipe; a closed stdout is no reason to die.
fn announce(line: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Resolves at SIGTERM or Ctrl-C.
pub async fn stop_signal() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(error) => {
                tracing::error!(%error, "cannot listen for SIGTERM");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
