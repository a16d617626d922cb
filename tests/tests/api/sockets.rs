//! WebSockets: a user and a tenant have a number of them, and what is sent on one has a rate.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use touchline_tests::client::{Client, Socket};
use touchline_tests::shared_server::{shared_operator, shared_server, unique};

use crate::limits::patch;

/// How long a change of a limit may take to hold, and a socket that was closed to be counted no more.
const PATIENCE: Duration = Duration::from_secs(20);

struct Club {
    coach: Client,
    player: Client,
    tenant: String,
}

/// A tenant with two users.
async fn club() -> Result<Club> {
    let server = shared_server().await?;
    let name = unique("club");
    let account = server.account(&name, &format!("coach@{name}.example"), "editor")?;
    let coach = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let other = server.account(&name, &format!("player@{name}.example"), "viewer")?;
    let player = Client::log_in(&server.url(), &other.email, &other.password).await?;
    Ok(Club { coach, player, tenant: account.tenant_id })
}

/// The limit that refuses a socket; none when it was opened.
async fn refused(client: &Client) -> Result<Result<Socket, Value>> {
    let error = match client.listen("*").await {
        Ok(socket) => return Ok(Ok(socket)),
        Err(error) => error,
    };
    match error.downcast::<Error>()? {
        Error::Http(answer) if answer.status().as_u16() == StatusCode::TOO_MANY_REQUESTS.as_u16() => {
            let body = answer.into_body().context("the refusal has no body")?;
            Ok(Err(serde_json::from_slice::<Value>(&body)?["limit"].clone()))
        }
        other => Err(other.into()),
    }
}

/// Opens a socket as soon as there is room for it.
async fn opened(client: &Client) -> Result<Socket> {
    let opening = async {
        loop {
            if let Ok(socket) = refused(client).await? {
                return anyhow::Ok(socket);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opening).await.context("there is no room for a socket")?
}

/// Opens sockets until one is refused; those that are open, and the limit.
async fn fill(client: &Client, most: usize) -> Result<(Vec<Socket>, Value)> {
    let mut open = Vec::new();
    while open.len() <= most {
        match refused(client).await? {
            Ok(socket) => open.push(socket),
            Err(limit) => return Ok((open, limit)),
        }
    }
    bail!("more than {most} sockets are open");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_tenants_have_a_number_of_sockets() -> Result<()> {
    let operator = shared_operator().await?;
    let (club, other) = (club().await?, club().await?);
    let limits = json!({"limits": {"sockets_per_user": 2, "sockets_per_tenant": 3}});
    let changed = patch(&operator, &club.tenant, limits).await?;
    assert_eq!(changed["limits"]["sockets_per_tenant"], 3);
    // A change holds within a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut of_coach, limit) = fill(&club.coach, 2).await?;
    assert_eq!((of_coach.len(), limit), (2, json!("sockets_per_user")));
    let (of_player, limit) = fill(&club.player, 1).await?;
    assert_eq!((of_player.len(), limit), (1, json!("sockets_per_tenant")));
    opened(&other.coach).await.context("another tenant has its own")?;
    // One that closes makes room.
    of_coach.pop().context("it has two")?.close(None).await?;
    opened(&club.player).await?;
    // A limit is at least 1.
    let request = operator.request(Method::PATCH, &format!("/admin/tenants/{}", club.tenant));
    let none = request.json(&json!({"limits": {"sockets_per_user": 0}})).send().await?;
    assert_eq!(none.status(), StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_too_fast_is_closed_by_policy() -> Result<()> {
    let club = club().await?;
    let mut calm = club.player.listen("*").await?;
    let mut hasty = club.coach.listen("*").await?;
    let question = json!({"type": "subscribe", "export_id": "nonsense"}).to_string();
    let mut code = None;
    // One after the other: what is under way when a connection closes could take the close frame along.
    for _ in 0..5000 {
        hasty.send(Message::text(question.clone())).await?;
        let answer = loop {
            match hasty.next().await.context("the connection ended without a close frame")?? {
                Message::Ping(_) | Message::Pong(_) => {}
                answer => break answer,
            }
        };
        if let Message::Close(frame) = answer {
            code = frame.map(|frame| frame.code);
            break;
        }
    }
    assert_eq!(code, Some(CloseCode::Policy));
    // A colleague's socket goes on.
    calm.send(Message::text(question)).await?;
    while let Some(message) = calm.next().await {
        if let Message::Text(text) = message? {
            assert_eq!(serde_json::from_str::<Value>(&text)?["type"], "error");
            return Ok(());
        }
    }
    bail!("the colleague's socket was closed")
}

/// Gets tickets until one is refused; how many there were, and the limit.
async fn take_tickets(client: &Client, most: usize) -> Result<(usize, Value)> {
    for taken in 0..=most {
        let answer = client.request(Method::POST, "/ws-tickets").send().await?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return Ok((taken, answer.json::<Value>().await?["limit"].clone()));
        }
        answer.error_for_status()?;
    }
    bail!("more than {most} tickets wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_wait_are_bounded_by_user_and_tenant() -> Result<()> {
    let operator = shared_operator().await?;
    let (club, other) = (club().await?, club().await?);
    let limits = json!({"limits": {"sockets_per_user": 20, "sockets_per_tenant": 30}});
    patch(&operator, &club.tenant, limits).await?;
    // A change holds within a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (of_coach, limit) = take_tickets(&club.coach, 60).await?;
    assert_eq!(limit, json!("tickets_per_user"));
    assert!(of_coach >= 20, "{of_coach}");
    let (of_player, limit) = take_tickets(&club.player, 60).await?;
    assert_eq!(limit, json!("tickets_per_tenant"));
    assert!(of_coach + of_player >= 30, "{of_player}");
    opened(&other.coach).await.context("another tenant has its own")?;
    Ok(())
}
