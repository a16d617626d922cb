//! API keys: what they open, what they do not, and how they end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use touchline_tests::client::{Client, Refusal, Socket, answered};
use touchline_tests::server::Server;
use touchline_tests::shared_server::{shared_server, unique};

struct Fixture {
    server: &'static Server,
    /// Names of the tenants of `admin` and of `stranger`.
    tenant: String,
    other: String,
    admin: Client,
    stranger: Client,
}

async fn fixture() -> Result<Fixture> {
    let server = shared_server().await?;
    let (tenant, other) = (unique("club"), unique("other"));
    let admin_of = |tenant: &str| server.account(tenant, &format!("a@{tenant}.example"), "admin");
    let (mine, theirs) = (admin_of(&tenant)?, admin_of(&other)?);
    let admin = Client::log_in(&server.url(), &mine.email, &mine.password).await?;
    let stranger = Client::log_in(&server.url(), &theirs.email, &theirs.password).await?;
    Ok(Fixture { server, tenant, other, admin, stranger })
}

/// The refusal that `result` must be.
fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Result<Refusal> {
    match result {
        Ok(value) => anyhow::bail!("{value:?} was accepted"),
        Err(error) => error.downcast::<Refusal>(),
    }
}

/// Makes a key; its id, and a client that holds it.
async fn key(fixture: &Fixture, body: Value) -> Result<(String, Client)> {
    let made: Value = fixture.admin.post("/api-keys", &body).await?;
    let text = made["key"].as_str().context("a new key shows its text")?;
    ensure!(text.starts_with("tl_") && text.len() == 46, "{text}");
    ensure!(text.starts_with(made["hint"].as_str().context("a hint")?), "{made}");
    let id = made["id"].as_str().context("an id")?.to_owned();
    Ok((id, Client::with_token(&fixture.server.url(), text)))
}

async fn revoke(client: &Client, id: &str) -> Result<()> {
    answered(client.request(Method::DELETE, &format!("/api-keys/{id}")).send().await?).await.map(drop)
}

/// How long a socket takes to be closed.
async fn closed(mut socket: Socket) -> Result<Duration> {
    let began = Instant::now();
    let ended = async { while !matches!(socket.next().await, None | Some(Err(_) | Ok(Message::Close(_)))) {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.context("the socket stays open")?;
    Ok(began.elapsed())
}

#[tokio::test]
async fn a_key_does_what_its_scope_says_and_no_more() -> Result<()> {
    let fixture = fixture().await?;
    let (read_id, read) = key(&fixture, json!({"name": " scoreboard ", "scopes": ["read"]})).await?;
    let (write_id, write) = key(&fixture, json!({"name": "camera", "scopes": ["write"], "expires_in": 3600})).await?;

    for (client, role, name) in [(&read, "viewer", "scoreboard"), (&write, "editor", "camera")] {
        let me: Value = client.get("/me").await?;
        assert_eq!(
            (&me["kind"], &me["role"], &me["name"], &me["tenant"]["name"]),
            (&json!("key"), &json!(role), &json!(name), &json!(fixture.tenant))
        );
        let videos: Value = client.get("/videos").await?;
        assert_eq!(videos["items"], json!([]));
        // Administration is for people.
        for path in ["/api-keys", "/admin/tenants"] {
            assert_eq!(refusal(client.get::<Value>(path).await)?.status, StatusCode::FORBIDDEN, "{role} {path}");
        }
        let made = client.post::<Value>("/api-keys", &json!({"name": "more", "scopes": ["write"]})).await;
        assert_eq!(refusal(made)?.status, StatusCode::FORBIDDEN);
        let logout = refusal(answered(client.request(Method::POST, "/auth/logout").send().await?).await)?;
        assert_eq!((logout.status, &logout.problem["code"]), (StatusCode::FORBIDDEN, &json!("not_a_login")));
    }
    assert_eq!(refusal(read.create_upload(1000, "a.mp4").await)?.status, StatusCode::FORBIDDEN);
    write.create_upload(1000, "a.mp4").await?;

    // What is known of a key afterwards does not open anything.
    let list: Value = fixture.admin.get("/api-keys").await?;
    let items = list["items"].as_array().context("items")?;
    assert_eq!((items.len(), &items[0]["id"], &items[1]["id"]), (2, &json!(write_id), &json!(read_id)));
    assert_eq!((&items[0]["scopes"], &items[1]["scopes"]), (&json!(["read", "write"]), &json!(["read"])));
    assert!(!list.to_string().contains(read.token()) && !list.to_string().contains("sha256"), "{list}");
    assert!(items[0]["expires_at"].is_string() && items[1]["expires_at"].is_null(), "{list}");
    let one: Value = fixture.admin.get(&format!("/api-keys/{read_id}")).await?;
    assert_eq!(one["hint"], json!(read.token()[..8]));
    Ok(())
}

#[tokio::test]
async fn a_key_is_its_tenants_and_ends_when_it_is_revoked() -> Result<()> {
    let fixture = fixture().await?;
    let (id, client) = key(&fixture, json!({"name": "camera", "scopes": ["read", "write"]})).await?;
    let path = format!("/api-keys/{id}");
    assert_eq!(refusal(fixture.stranger.get::<Value>(&path).await)?.status, StatusCode::NOT_FOUND);
    assert_eq!(refusal(revoke(&fixture.stranger, &id).await)?.status, StatusCode::NOT_FOUND);
    let others: Value = fixture.stranger.get("/api-keys").await?;
    assert_eq!(others["items"], json!([]));

    let (_, brief) = key(&fixture, json!({"name": "brief", "scopes": ["read"], "expires_in": 1})).await?;
    let socket = client.listen("*").await?;
    let brief_socket = brief.listen("*").await?;
    revoke(&fixture.admin, &id).await?;
    // It is closed within a second; a busy machine gets some more.
    let (took, brief_took) = (closed(socket).await?, closed(brief_socket).await?);
    ensure!(took < Duration::from_secs(5) && brief_took < Duration::from_secs(5), "{took:?} {brief_took:?}");
    for ended in [&client, &brief, &Client::with_token(&fixture.server.url(), "tl_made-up")] {
        let refused = refusal(ended.get::<Value>("/videos").await)?;
        assert_eq!((refused.status, &refused.problem["code"]), (StatusCode::UNAUTHORIZED, &json!("invalid_key")));
    }
    assert_eq!(refusal(fixture.admin.get::<Value>(&path).await)?.status, StatusCode::NOT_FOUND);
    assert_eq!(refusal(revoke(&fixture.admin, &id).await)?.status, StatusCode::NOT_FOUND);

    let (_, client) = key(&fixture, json!({"name": "camera", "scopes": ["write"]})).await?;
    let socket = client.listen("*").await?;
    fixture.server.json(&["tenant", "suspend", &fixture.tenant])?;
    let took = closed(socket).await?;
    ensure!(took < Duration::from_secs(5), "{took:?}");
    let refused = refusal(client.get::<Value>("/videos").await)?;
    assert_eq!((refused.status, &refused.problem["code"]), (StatusCode::FORBIDDEN, &json!("tenant_suspended")));
    Ok(())
}

#[tokio::test]
async fn wrong_keys_are_not_made_and_the_last_use_is_known() -> Result<()> {
    let fixture = fixture().await?;
    for wrong in [
        json!({"name": "", "scopes": ["read"]}),
        json!({"name": "a", "scopes": []}),
        json!({"name": "a", "scopes": ["admin"]}),
        json!({"name": "a", "scopes": ["read"], "expires_in": 0}),
        json!({"name": "a", "scopes": ["read"], "expires_in": i64::MAX}),
        json!({"name": "a", "scopes": ["read"], "role": "admin"}),
        json!({"name": "a".repeat(201), "scopes": ["read"]}),
    ] {
        let refused = refusal(fixture.admin.post::<Value>("/api-keys", &wrong).await)?;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    let (id, client) = key(&fixture, json!({"name": "a", "scopes": ["read"]})).await?;
    let path = format!("/api-keys/{id}");
    let unused: Value = fixture.admin.get(&path).await?;
    assert_eq!(unused["last_used_at"], Value::Null);
    client.get::<Value>("/me").await?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let used = loop {
        let row: Value = fixture.admin.get(&path).await?;
        if !row["last_used_at"].is_null() {
            break row;
        }
        ensure!(Instant::now() < deadline, "the use was never written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // The next use comes within the same minute: it is not written.
    client.get::<Value>("/me").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again: Value = fixture.admin.get(&path).await?;
    assert_eq!(again, used);
    Ok(())
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_without_http() -> Result<()> {
    let fixture = fixture().await?;
    let tenant = fixture.tenant.as_str();
    let made = fixture.server.json(&["key", "create", "--tenant", tenant, "--scope", "read,write", "--name", "cli"])?;
    assert_eq!((&made["scopes"], &made["name"]), (&json!(["read", "write"]), &json!("cli")));
    let (id, text) = (made["id"].as_str().context("an id")?, made["key"].as_str().context("a key")?);
    let client = Client::with_token(&fixture.server.url(), text);
    let me: Value = client.get("/me").await?;
    assert_eq!((&me["role"], &me["id"]), (&json!("editor"), &json!(id)));
    let list = fixture.server.json(&["key", "list", "--tenant", tenant])?;
    assert_eq!((list["items"].as_array().map(Vec::len), &list["items"][0]["id"]), (Some(1), &json!(id)));
    assert!(!list.to_string().contains(text));
    let elsewhere = fixture.server.command(&["key", "revoke", "--tenant", &fixture.other, id])?;
    assert_eq!(elsewhere.status.code(), Some(2));
    fixture.server.json(&["key", "revoke", "--tenant", tenant, id])?;
    assert_eq!(refusal(client.get::<Value>("/me").await)?.status, StatusCode::UNAUTHORIZED);
    let unscoped = fixture.server.command(&["key", "create", "--tenant", tenant])?;
    assert_eq!(unscoped.status.code(), Some(2));
    Ok(())
}
