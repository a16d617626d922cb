//! Webhooks: signed, retried, durable, and never a way into the operator's network.

use anyhow::{Context, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::receiver::{Answer, Received, Receiver};
use touchline_tests::scenarios::crowd::{self, Club};
use touchline_tests::server::Server;
use touchline_tests::shared_server::{shared_server, shared_server_with, unique};

/// Retries follow at once, and a silent receiver is left soon.
const QUICK: &[(&str, &str)] = &[
    ("TOUCHLINE__WEBHOOKS__ALLOW_PRIVATE", "true"),
    ("TOUCHLINE__WEBHOOKS__RETRY_SECONDS", "[0.2, 0.2, 0.2]"),
    ("TOUCHLINE__WEBHOOKS__TIMEOUT_SECONDS", "2.0"),
];

struct Fixture {
    server: &'static Server,
    club: Club,
    receiver: Receiver,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("match.mp4");
        crowd::footage(&file, 2)?;
        let server = shared_server_with(QUICK).await?;
        let club = crowd::club_as(server, &unique("club"), "admin", &file).await?;
        Ok(Self { server, club, receiver: Receiver::start().await?, _folder: folder })
    }

    /// A webhook to the receiver; its id and secret.
    async fn webhook(&self, events: Value) -> Result<(String, String)> {
        let body = json!({"url": self.receiver.url("/hook"), "events": events});
        let made: Value = self.club.client.post("/webhooks", &body).await?;
        Ok((text(&made["id"])?, text(&made["secret"])?))
    }

    /// The newest delivery of a webhook, once it is in `state`.
    async fn delivery_in(&self, webhook: &str, state: &str) -> Result<Value> {
        for _ in 0..500 {
            let list: Value = self.club.client.get(&format!("/webhooks/{webhook}/deliveries?limit=1")).await?;
            if list["items"][0]["state"] == state {
                return Ok(list["items"][0].clone());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        anyhow::bail!("the delivery does not become {state}: {}", self.server.log())
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("no text")?.to_owned())
}

/// Checks a message as a receiver would, by a library that is not ours.
fn verify(secret: &str, message: &Received) -> Result<()> {
    let mut headers = HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(reqwest::header::HeaderName::from_static(name), message.header(name)?.parse()?);
    }
    Ok(Webhook::new(secret)?.verify(&message.body, &headers)?)
}

fn status(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Refusal>().map(|refusal| refusal.status.as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_delivered_once_and_signed() -> Result<()> {
    let fixture = Fixture::start().await?;
    let (all, secret) = fixture.webhook(json!([])).await?;
    let export = fixture.club.start(1).await?;
    fixture.club.finished(&export).await?;
    let received = fixture.receiver.wait(1).await?;
    verify(&secret, &received[0])?;
    let message = received[0].json()?;
    assert_eq!((&message["type"], &message["data"]["id"]), (&json!("export.complete"), &json!(export)));
    assert_eq!(message["data"]["kind"], "framing");
    let delivery = fixture.delivery_in(&all, "delivered").await?;
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!(204), &json!(1)));
    assert_eq!(delivery["id"], received[0].header("webhook-id")?);

    // A message with another body, or a signature with another secret, does not hold.
    let forged = Received { body: b"{}".to_vec(), ..received[0].clone() };
    assert!(verify(&secret, &forged).is_err());
    // While the secret changes, both the old and the new one verify.
    let rotated: Value = fixture.club.client.post(&format!("/webhooks/{all}/rotate-secret"), &json!({})).await?;
    let next = text(&rotated["secret"])?;
    assert_ne!(next, secret);
    fixture.club.client.post::<Value>(&format!("/webhooks/{all}/test"), &json!({})).await?;
    let received = fixture.receiver.wait(2).await?;
    verify(&secret, &received[1])?;
    verify(&next, &received[1])?;
    assert_eq!(received[1].json()?["type"], "webhook.test");
    // The secret is never shown again.
    let shown: Value = fixture.club.client.get(&format!("/webhooks/{all}")).await?;
    assert!(shown.get("secret").is_none(), "{shown}");
    assert!(!fixture.server.log().contains(&next), "a secret is in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_tried_again_and_one_that_is_gone_is_left() -> Result<()> {
    let fixture = Fixture::start().await?;
    let (id, secret) = fixture.webhook(json!(["webhook.test"])).await?;
    let path = format!("/webhooks/{id}/test");
    // A fault, a redirect (which is not followed) and silence, then an answer.
    fixture.receiver.answer(&[Answer::Status(500), Answer::Redirect, Answer::Silence, Answer::Status(200)]);
    fixture.club.client.post::<Value>(&path, &json!({})).await?;
    let received = fixture.receiver.wait(4).await?;
    let ids: Vec<_> = received.iter().map(|message| message.header("webhook-id")).collect::<Result<_>>()?;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(received.iter().all(|message| message.path == "/hook"), "a redirect was followed");
    received.iter().try_for_each(|message| verify(&secret, message))?;
    let delivery = fixture.delivery_in(&id, "delivered").await?;
    assert_eq!((&delivery["attempts"], &delivery["status"]), (&json!(4), &json!(200)));

    // After the last pause it is given up, and can be sent again by hand.
    fixture.receiver.answer(&[Answer::Status(503)]);
    let sent: Value = fixture.club.client.post(&path, &json!({})).await?;
    let given_up = fixture.delivery_in(&id, "failed").await?;
    assert_eq!((&given_up["id"], &given_up["attempts"]), (&sent["id"], &json!(4)));
    assert!(given_up["error"].as_str().is_some_and(|error| error.contains("503")), "{given_up}");
    fixture.receiver.answer(&[Answer::Status(200)]);
    let again = format!("/webhooks/{id}/deliveries/{}/send-again", text(&sent["id"])?);
    fixture.club.client.post::<Value>(&again, &json!({})).await?;
    assert_eq!(fixture.delivery_in(&id, "delivered").await?["id"], sent["id"]);

    // 410 Gone switches the webhook off.
    fixture.receiver.answer(&[Answer::Status(410)]);
    fixture.club.client.post::<Value>(&path, &json!({})).await?;
    fixture.delivery_in(&id, "failed").await?;
    let off: Value = fixture.club.client.get(&format!("/webhooks/{id}")).await?;
    assert_eq!(off["enabled"], false);
    let before = fixture.receiver.all().len();
    let export = fixture.club.start(1).await?;
    fixture.club.finished(&export).await?;
    assert_eq!(fixture.receiver.all().len(), before, "a webhook that is off was called");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_delivery_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 2)?;
    let data = tempfile::tempdir()?;
    let (mut server, _) = crowd::server_in(data.path(), 1, 1.0, QUICK).await?;
    let club = crowd::club_as(&server, "club", "admin", &file).await?;
    let receiver = Receiver::start().await?;
    let body = json!({"url": receiver.url("/hook"), "events": ["export.complete"]});
    let made: Value = club.client.post("/webhooks", &body).await?;
    receiver.answer(&[Answer::Silence, Answer::Status(200)]);
    let export = club.start(1).await?;
    receiver.wait(1).await?;
    server.kill()?;
    let (server, _) = crowd::server_in(data.path(), 1, 1.0, QUICK).await?;
    let received = receiver.wait(2).await?;
    assert_eq!(received[0].header("webhook-id")?, received[1].header("webhook-id")?);
    assert_eq!(
        (received[1].json()?["data"]["id"].as_str(), &received[0].body),
        (Some(export.as_str()), &received[1].body)
    );
    verify(&text(&made["secret"])?, &received[1])?;
    drop(server);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_its_tenants_and_no_way_inside() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 1)?;
    let server = shared_server().await?;
    let club = crowd::club_as(server, &unique("club"), "admin", &file).await?;
    let rival = crowd::club_as(server, &unique("rival"), "admin", &file).await?;
    let receiver = Receiver::start().await?;
    // Nothing that leads inside is taken.
    for url in [
        receiver.url("/hook").as_str(),
        "https://127.0.0.1/",
        "https://[::1]:8443/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://0x7f000001/",
        "https://localhost/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http://club.example/",
    ] {
        let refused = club.client.post::<Value>("/webhooks", &json!({"url": url})).await.expect_err(url);
        assert_eq!(status(&refused), Some(422), "{url}");
    }
    let made: Value = club.client.post("/webhooks", &json!({"url": "https://hooks.club.example/x"})).await?;
    let id = text(&made["id"])?;
    // A name that means an inside address is found out when it is called (hosts of this machine name it).
    let changed = change(&club.client, &id, json!({"url": "https://ip6-localhost/"})).await?;
    assert_eq!(changed.status(), StatusCode::OK);
    let sent: Value = club.client.post(&format!("/webhooks/{id}/test"), &json!({})).await?;
    let path = format!("/webhooks/{id}/deliveries/{}", text(&sent["id"])?);
    let mut tried = Value::Null;
    for _ in 0..500 {
        tried = club.client.get(&path).await?;
        if tried["error"].is_string() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(tried["error"].is_string() && tried["status"].is_null(), "{tried}");
    assert!(receiver.all().is_empty());

    for (method, path) in [
        (Method::GET, format!("/webhooks/{id}")),
        (Method::PATCH, format!("/webhooks/{id}")),
        (Method::DELETE, format!("/webhooks/{id}")),
        (Method::POST, format!("/webhooks/{id}/test")),
        (Method::POST, format!("/webhooks/{id}/rotate-secret")),
        (Method::GET, format!("/webhooks/{id}/deliveries")),
        (Method::GET, path.clone()),
        (Method::POST, format!("{path}/send-again")),
    ] {
        let answer = rival.client.request(method.clone(), &path).json(&json!({})).send().await?;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    let rivals: Value = rival.client.get("/webhooks").await?;
    assert_eq!(rivals["items"], json!([]));
    Ok(())
}

async fn change(client: &Client, id: &str, body: Value) -> Result<reqwest::Response> {
    answered(client.request(Method::PATCH, &format!("/webhooks/{id}")).json(&body).send().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_never_answer_delay_no_other_tenant() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 1)?;
    // Longer than the test takes, so that no try of the silent ones ends.
    let patient = [("TOUCHLINE__WEBHOOKS__ALLOW_PRIVATE", "true"), ("TOUCHLINE__WEBHOOKS__TIMEOUT_SECONDS", "60.0")];
    let server = shared_server_with(&patient).await?;
    let many = crowd::club_as(server, &unique("many"), "admin", &file).await?;
    let few = crowd::club_as(server, &unique("few"), "admin", &file).await?;
    let (silent, prompt) = (Receiver::start().await?, Receiver::start().await?);
    silent.answer(&[Answer::Silence]);
    for number in 0..20 {
        let body = json!({"url": silent.url(&format!("/{number}")), "events": ["export.complete"]});
        many.client.post::<Value>("/webhooks", &body).await?;
    }
    let export = many.start(1).await?;
    many.finished(&export).await?;
    silent.wait(1).await?;

    let made: Value = few.client.post("/webhooks", &json!({"url": prompt.url("/hook")})).await?;
    few.client.post::<Value>(&format!("/webhooks/{}/test", text(&made["id"])?), &json!({})).await?;
    prompt.wait(1).await?;
    // The share of the tenant is on its way; the rest waits and leaves the senders to others.
    assert!(silent.all().len() <= 4, "{} silent receivers are called at a time", silent.all().len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn test_messages_have_a_rate_for_each_tenant() -> Result<()> {
    let fixture = Fixture::start().await?;
    let (id, _) = fixture.webhook(json!(["webhook.test"])).await?;
    let test = format!("/webhooks/{id}/test");
    let mut refused = None;
    for _ in 0..30 {
        let answer = fixture.club.client.request(Method::POST, &test).json(&json!({})).send().await?;
        if answer.status() != StatusCode::ACCEPTED {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.context("thirty test messages were accepted at once")?;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers().get("retry-after").context("no Retry-After")?.to_str()?.parse()?;
    assert!((1..=60).contains(&wait), "{wait}");
    let problem: Value = refused.json().await?;
    assert_eq!((&problem["code"], &problem["limit"]), (&json!("limit_reached"), &json!("webhook_tests")));
    // Another tenant has a rate of its own, and messages of events have none.
    let other = Fixture::start().await?;
    let (id, _) = other.webhook(json!([])).await?;
    other.club.client.post::<Value>(&format!("/webhooks/{id}/test"), &json!({})).await?;
    other.receiver.wait(1).await?;
    Ok(())
}
