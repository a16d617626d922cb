//! The actor that delivers messages of the outbox to their receivers.
//!
//! It claims what is due, one message a webhook and a few a tenant, sends each on its own, and records the outcome. A
//! message arrives at least once: a sender that dies after sending has it sent again, under the same `webhook-id`.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::{TimeDelta, Utc};
use config::WebhookSettings;
use entities::Database;
use entities::webhooks::{self, ClaimedDelivery, Outcome, Room};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

use super::address::{PublicOnly, check_url};
use super::signature::signatures;

/// How often it polls for what is due.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);
/// How often it deletes deliveries that ended long ago.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);
/// Messages on their way from this node at a time.
const AT_A_TIME: usize = 64;
/// Messages of one tenant on their way at a time: what receivers that accept a connection and never answer can hold up.
const OF_TENANT: usize = 4;
/// How long a connection may take to come about, in any case within the timeout of a try.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How much longer than a try may take a claim holds.
const CLAIM_BEYOND: Duration = Duration::from_secs(30);
/// Pauses are lengthened by up to this share, so that receivers are not all called at the same moment again.
const JITTER: f64 = 0.1;

/// See the [module](self).
pub struct WebhookSender {
    db: Database,
    settings: WebhookSettings,
    client: Client,
    on_their_way: usize,
    claiming: bool,
}

impl WebhookSender {
    /// A sender to be started.
    ///
    /// # Errors
    /// When the system has no certificates to verify https servers by.
    pub fn new(db: Database, settings: WebhookSettings) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(Duration::from_secs_f64(settings.timeout_seconds))
            .connect_timeout(CONNECT_WITHIN)
            // A receiver could send the message anywhere by a redirect.
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("touchline/", env!("CARGO_PKG_VERSION")));
        let client = if settings.allow_private { client } else { client.dns_resolver(Arc::new(PublicOnly)) };
        Ok(Self { db, settings, client: client.build()?, on_their_way: 0, claiming: false })
    }

    /// Claims what is due and there is room for.
    fn claim_due(&mut self, ctx: &mut Context<Self>) {
        let room = AT_A_TIME - self.on_their_way;
        if self.claiming || room == 0 {
            return;
        }
        self.claiming = true;
        let db = self.db.clone();
        let lease = Duration::from_secs_f64(self.settings.timeout_seconds) + CLAIM_BEYOND;
        let lease = TimeDelta::from_std(lease).expect("a minute and a half fits");
        let room = Room { claims: room, of_tenant: OF_TENANT };
        let claim = async move { webhooks::claim(&db, room, lease).await };
        ctx.spawn(claim.into_actor(self).map(|claimed, this, ctx| {
            this.claiming = false;
            match claimed {
                Ok(deliveries) => deliveries.into_iter().for_each(|claimed| this.send(claimed, ctx)),
                Err(error) => tracing::warn!(%error, "due webhook messages could not be claimed"),
            }
        }));
    }

    fn send(&mut self, claimed: ClaimedDelivery, ctx: &mut Context<Self>) {
        self.on_their_way += 1;
        let (db, client, settings) = (self.db.clone(), self.client.clone(), self.settings.clone());
        let sent = async move {
            let outcome = deliver(&client, &settings, &claimed).await;
            log_outcome(&claimed, &outcome);
            if let Err(error) = webhooks::record_outcome(&db, &claimed, outcome).await {
                tracing::warn!(delivery = %claimed.delivery.id, %error, "a delivery could not be recorded; it is sent again");
            }
        };
        ctx.spawn(sent.into_actor(self).map(|(), this, ctx| {
            this.on_their_way -= 1;
            // The same receiver may have more.
            this.claim_due(ctx);
        }));
    }

    fn forget(&mut self, ctx: &mut Context<Self>) {
        if self.settings.keep_days == 0 {
            return;
        }
        let (db, before) = (self.db.clone(), Utc::now() - TimeDelta::days(i64::from(self.settings.keep_days)));
        let forget = async move {
            if let Err(error) = webhooks::forget_ended(&db, before).await {
                tracing::warn!(%error, "old deliveries could not be forgotten");
            }
        };
        ctx.spawn(forget.into_actor(self));
    }
}

impl Actor for WebhookSender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(CLAIM_INTERVAL, Self::claim_due);
        ctx.run_interval(FORGET_INTERVAL, Self::forget);
        self.forget(ctx);
        let db = self.db.clone();
        let take_back = async move {
            // On a shared database they may be another node's, whose claims run out by themselves.
            if !db.is_shared()
                && let Err(error) = webhooks::take_back(&db).await
            {
                tracing::warn!(%error, "what the last sender had in hand waits until its claims run out");
            }
        };
        ctx.wait(take_back.into_actor(self).map(|(), this, ctx| this.claim_due(ctx)));
    }
}

/// One try.
async fn deliver(client: &Client, settings: &WebhookSettings, claimed: &ClaimedDelivery) -> Outcome {
    let (delivery, webhook) = (&claimed.delivery, &claimed.webhook);
    let again = |status: Option<StatusCode>, error: String| {
        let status = status.map(|status| status.as_u16());
        let pause = usize::try_from(delivery.attempts - 1).ok().and_then(|done| settings.retry_seconds.get(done));
        match pause {
            Some(seconds) => {
                let seconds = seconds * (1.0 + JITTER * rand::random::<f64>());
                Outcome::Again { at: Utc::now() + TimeDelta::milliseconds((seconds * 1e3) as i64), status, error }
            }
            None => Outcome::GivenUp { status, error, disable: false },
        }
    };
    // Checked again: the settings may have changed since the webhook was made.
    let url = match check_url(&webhook.url, settings.allow_private) {
        Ok(url) => url,
        Err(error) => return Outcome::GivenUp { status: None, error: error.to_string(), disable: false },
    };
    let (id, at) = (delivery.id.to_string(), Utc::now());
    let signatures = match signatures(webhook, &id, at, &delivery.body) {
        Ok(signatures) => signatures,
        Err(error) => return Outcome::GivenUp { status: None, error: error.to_string(), disable: false },
    };
    let sent = client
        .post(url)
        .header("content-type", "application/json")
        .header(HEADER_WEBHOOK_ID, &id)
        .header(HEADER_WEBHOOK_TIMESTAMP, at.timestamp())
        .header(HEADER_WEBHOOK_SIGNATURE, signatures)
        .body(delivery.body.clone())
        .send()
        .await;
    match sent {
        Ok(answer) if answer.status().is_success() => Outcome::Delivered { status: answer.status().as_u16() },
        Ok(answer) if answer.status() == StatusCode::GONE => Outcome::GivenUp {
            status: Some(StatusCode::GONE.as_u16()),
            error: "the receiver is gone for good (410); the webhook is disabled".to_owned(),
            disable: true,
        },
        Ok(answer) => again(Some(answer.status()), format!("the receiver answered {}", answer.status())),
        Err(error) => again(None, reason(&error)),
    }
}

/// What went wrong, without the address: a path may hold a secret of the tenant.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = if error.is_timeout() {
        "the receiver did not answer in time"
    } else if error.is_connect() {
        "the receiver could not be reached"
    } else {
        "the message could not be sent"
    };
    format!("{what}: {cause}")
}

fn log_outcome(claimed: &ClaimedDelivery, outcome: &Outcome) {
    let (delivery, webhook, attempt) = (claimed.delivery.id, claimed.webhook.id, claimed.delivery.attempts);
    let (name, error) = match outcome {
        Outcome::Delivered { .. } => ("delivered", None),
        Outcome::Again { error, .. } => ("again", Some(error)),
        Outcome::GivenUp { error, .. } => ("given_up", Some(error)),
    };
    metrics::counter!("touchline_webhook_tries_total", "outcome" => name).increment(1);
    match error {
        None => tracing::debug!(%delivery, %webhook, attempt, "a webhook message was delivered"),
        Some(error) => tracing::info!(%delivery, %webhook, attempt, %error, outcome = name, "a webhook message failed"),
    }
}
