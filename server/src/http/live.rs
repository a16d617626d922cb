//! Progress as it happens: tickets, and the WebSocket they open.
//!
//! A client sends `{"type":"subscribe","export_id":ID}` (or `"*"` for every export of its tenant) and
//! gets `{"type":"progress",…}` messages, the latest state at once. `unsubscribe` ends it. What cannot
//! be done is answered by `{"type":"error",…}` and the socket stays open. A client that sends faster than it may is
//! closed with code 1008: it would go on, and one that is refused each time costs as much as one that is served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError};
use actors::progress::hub::{Subscribe, SubscribeError, SubscriptionId};
use actors::progress::message::Progress;
use actors::settings::tenant_limits::LimitReached;
use entities::ExportId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::auth::ticket::TICKET_LIFE;
use super::extract::{Principal, Query, Viewer};
use super::problem::Problem;
use super::refusals::ReadRefusals;
use super::sockets::{MessageBucket, SocketPermit};
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(create_ticket).service(open_socket);
}

/// Progress waiting for one socket; the hub skips what a newer state will follow when it is full.
const WAITING: usize = 64;
/// How long one message may take to leave before the client counts as too slow.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How often the client is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long a client may stay silent.
const SILENCE: Duration = Duration::from_secs(45);
/// How often the account is checked. What is found may be half a second old, and a suspended tenant's sockets close
/// within a second.
const STANDING_EVERY: Duration = Duration::from_millis(400);
/// The longest message a client may send, in bytes.
const LONGEST_MESSAGE: usize = 4096;
/// Subscriptions of one socket at most.
const MOST_SUBSCRIPTIONS: usize = 200;

/// A ticket for one WebSocket.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ticket {
    /// For `GET /ws?ticket=`; works once.
    pub ticket: String,
    /// Seconds until it is worthless.
    #[schema(example = 30)]
    pub expires_in: u64,
}

/// The query of `GET /ws`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TicketQuery {
    /// From `POST /ws-tickets`.
    pub ticket: Option<String>,
}

/// Gives a ticket that opens one WebSocket within 30 seconds.
#[utoipa::path(tag = "live", responses((status = 201, description = "the ticket", body = Ticket), ReadRefusals))]
#[post("/ws-tickets")]
pub async fn create_ticket(viewer: Viewer, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let limits = state.rates.limits_of(&state.node, viewer.tenant).await?;
    let ticket = state.tickets.issue(*viewer, &limits).await.map_err(limit_reached)?;
    Ok(HttpResponse::Created().json(Ticket { ticket, expires_in: TICKET_LIFE.as_secs() }))
}

/// Counts the refusal.
fn limit_reached(reached: LimitReached) -> Problem {
    metrics::counter!("touchline_requests_refused_total", "limit" => reached.limit).increment(1);
    Problem::from(reached)
}

/// Opens the WebSocket of progress messages.
#[utoipa::path(
    tag = "live",
    security(()),
    params(TicketQuery),
    responses((status = 101, description = "switching to the WebSocket protocol"), ReadRefusals)
)]
#[get("/ws")]
pub async fn open_socket(
    query: Query<TicketQuery>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, actix_web::Error> {
    let refused = || {
        Problem::unauthorized(
            "invalid_ticket",
            "the ticket is missing, used or expired; get a new one from POST /api/v1/ws-tickets",
        )
    };
    let ticket = query.into_inner().ticket.ok_or_else(refused)?;
    // The credential comes first; a handshake that fails has used it up.
    let principal = state.tickets.redeem(&ticket).await.ok_or_else(refused)?;
    let limits = state.rates.limits_of(&state.node, principal.tenant).await?;
    state.tickets.redeemed(&principal, &limits).await;
    state.principals.while_listening(&state.db, principal).await?;
    let permit = state.sockets.open(&principal, &limits).map_err(limit_reached)?;
    let (response, session, messages) =
        actix_ws::handle(&request, payload).map_err(|error| Problem::bad_request("websocket", error.to_string()))?;

    let (sink, progress) = mpsc::channel(WAITING);
    let now = Instant::now();
    let socket = Socket {
        principal,
        state,
        session,
        sink,
        subscriptions: HashMap::new(),
        last_message: now,
        bucket: MessageBucket::new(now),
        _permit: permit,
    };
    let messages =
        messages.max_frame_size(LONGEST_MESSAGE).aggregate_continuations().max_continuation_size(LONGEST_MESSAGE);
    actix_web::rt::spawn(socket.run(messages, progress));
    Ok(response)
}

/// One open WebSocket.
struct Socket {
    principal: Principal,
    state: web::Data<State>,
    session: actix_ws::Session,
    sink: mpsc::Sender<Arc<Progress>>,
    subscriptions: HashMap<Option<ExportId>, SubscriptionId>,
    /// When the client last gave a sign of life.
    last_message: Instant,
    /// What it may still send now.
    bucket: MessageBucket,
    /// Counts the socket as open.
    _permit: SocketPermit,
}

/// Why a socket ends; the close frame says it.
struct Ending(CloseCode, &'static str);

/// What a client may send.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Subscribe { export_id: String },
    Unsubscribe { export_id: String },
}

impl Socket {
    async fn run(mut self, mut messages: AggregatedMessageStream, mut progress: mpsc::Receiver<Arc<Progress>>) {
        let open = metrics::gauge!("touchline_sockets_open");
        open.increment(1);
        let Ending(code, reason) = self.serve(&mut messages, &mut progress).await;
        open.decrement(1);
        for (_, subscription) in self.subscriptions.drain() {
            self.state.node.progress.unsubscribe(subscription).await;
        }
        let close = self.session.close(Some(CloseReason { code, description: Some(reason.to_owned()) }));
        // A client that reads nothing does not read this either.
        let _ = timeout(Duration::from_secs(1), close).await;
        tracing::debug!(tenant = %self.principal.tenant, reason, "socket closed");
    }

    async fn serve(
        &mut self,
        messages: &mut AggregatedMessageStream,
        progress: &mut mpsc::Receiver<Arc<Progress>>,
    ) -> Ending {
        let mut stopping = self.state.stopping.clone();
        let mut pings = interval(PING_EVERY);
        let mut standing_checks = interval(STANDING_EVERY);
        standing_checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                message = messages.recv() => self.received(message).await,
                Some(progress) = progress.recv() => self.send(&*progress).await,
                _ = pings.tick() => self.ping().await,
                _ = standing_checks.tick() => self.check_standing().await,
                _ = stopping.wait_for(|stopping| *stopping) => Err(Ending(CloseCode::Away, "the server stops")),
            };
            if let Err(ending) = step {
                return ending;
            }
        }
    }

    async fn received(&mut self, message: Option<Result<AggregatedMessage, ProtocolError>>) -> Result<(), Ending> {
        self.last_message = Instant::now();
        let is_sent = matches!(message, Some(Ok(AggregatedMessage::Text(_) | AggregatedMessage::Ping(_))));
        if is_sent && !self.bucket.take(self.last_message) {
            return Err(Ending(CloseCode::Policy, "messages come too fast"));
        }
        match message {
            Some(Ok(AggregatedMessage::Text(text))) => self.asked(&text).await,
            Some(Ok(AggregatedMessage::Ping(bytes))) => within(self.session.pong(&bytes)).await,
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => Err(Ending(CloseCode::Unsupported, "messages are JSON text")),
            Some(Ok(AggregatedMessage::Close(_))) | None => Err(Ending(CloseCode::Normal, "bye")),
            Some(Err(_)) => Err(Ending(CloseCode::Protocol, "not a WebSocket message that is understood")),
        }
    }

    async fn asked(&mut self, text: &str) -> Result<(), Ending> {
        match serde_json::from_str(text) {
            Ok(Request::Subscribe { export_id }) => match topic(&export_id) {
                Some(topic) => self.subscribe(topic, &export_id).await,
                None => self.refuse("not_found", &export_id, "there is no such export").await,
            },
            Ok(Request::Unsubscribe { export_id }) => {
                if let Some(subscription) = topic(&export_id).and_then(|topic| self.subscriptions.remove(&topic)) {
                    self.state.node.progress.unsubscribe(subscription).await;
                }
                Ok(())
            }
            Err(error) => self.refuse("bad_message", "", &error.to_string()).await,
        }
    }

    async fn subscribe(&mut self, topic: Option<ExportId>, export_id: &str) -> Result<(), Ending> {
        if self.subscriptions.len() >= MOST_SUBSCRIPTIONS && !self.subscriptions.contains_key(&topic) {
            return self.refuse("too_many", export_id, "subscribe to \"*\" instead").await;
        }
        if !self.state.sockets.may_subscribe(self.principal.tenant) {
            return self
                .refuse("too_fast", export_id, "the tenant's sockets subscribe too fast; try again later")
                .await;
        }
        let subscribe = Subscribe { tenant: self.principal.tenant, export: topic, sink: self.sink.clone() };
        match self.state.node.progress.subscribe(subscribe).await {
            Ok(Ok(subscription)) => {
                // The same topic again is answered by its latest state again, but stays one subscription.
                if let Some(former) = self.subscriptions.insert(topic, subscription) {
                    self.state.node.progress.unsubscribe(former).await;
                }
                Ok(())
            }
            Ok(Err(SubscribeError::NotFound)) => self.refuse("not_found", export_id, "there is no such export").await,
            Ok(Err(error)) => {
                tracing::error!(%error, "subscribing failed");
                Err(Ending(CloseCode::Error, "the server failed"))
            }
            Err(_) => Err(Ending(CloseCode::Away, "the server stops")),
        }
    }

    async fn refuse(&mut self, code: &str, export_id: &str, detail: &str) -> Result<(), Ending> {
        let export_id = (!export_id.is_empty()).then_some(export_id);
        self.send(&serde_json::json!({ "type": "error", "code": code, "export_id": export_id, "detail": detail })).await
    }

    async fn send(&mut self, message: &impl Serialize) -> Result<(), Ending> {
        let text = serde_json::to_string(message).map_err(|_| Ending(CloseCode::Error, "the server failed"))?;
        within(self.session.text(text)).await
    }

    async fn ping(&mut self) -> Result<(), Ending> {
        if self.last_message.elapsed() > SILENCE {
            return Err(Ending(CloseCode::Policy, "no sign of life"));
        }
        within(self.session.ping(b"")).await
    }

    async fn check_standing(&mut self) -> Result<(), Ending> {
        let standing = self.state.principals.while_listening(&self.state.db, self.principal).await;
        standing.map(drop).map_err(|_| Ending(CloseCode::Policy, "the account may not listen any more"))
    }
}

/// `Some(None)` for every export, `Some(Some(id))` for one, `None` for what is no id.
fn topic(export_id: &str) -> Option<Option<ExportId>> {
    match export_id {
        "*" => Some(None),
        id => id.parse().ok().map(Some),
    }
}

/// Sends, or ends the socket of a client that reads too slowly.
async fn within(sending: impl Future<Output = Result<(), actix_ws::Closed>>) -> Result<(), Ending> {
    match timeout(SEND_WITHIN, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ending(CloseCode::Normal, "the connection is gone")),
        Err(_) => Err(Ending(CloseCode::Policy, "the client reads too slowly")),
    }
}
