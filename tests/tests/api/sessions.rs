//! Passwords and sessions: what ends them, what outlives a change of the secret, and what is never logged.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::server::{Account, Server};
use touchline_tests::shared_server::{shared_operator, shared_server, unique};

const OLD: &str = "the first secret of these tests, longer than 32 bytes";
const NEW: &str = "the second secret of these tests, longer than 32 bytes";

fn variables<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)].into_iter().chain(more.iter().copied()).collect()
}

/// A user of a tenant of its own on the shared server.
fn account(server: &Server, name: &str, role: &str) -> Result<Account> {
    server.account(&unique("club"), &format!("{}@club.example", unique(name)), role)
}

async fn log_in(server: &Server, account: &Account) -> Result<Value> {
    let body = json!({"email": account.email, "password": account.password});
    Client::with_token(&server.url(), "").post("/auth/token", &body).await
}

async fn refresh(server: &Server, tokens: &Value) -> Result<Value> {
    let body = json!({"refresh_token": tokens["refresh_token"]});
    Client::with_token(&server.url(), "").post("/auth/refresh", &body).await
}

fn holder(server: &Server, tokens: &Value) -> Client {
    Client::with_token(&server.url(), tokens["access_token"].as_str().unwrap_or_default())
}

/// The status that `result` was refused with.
fn refused<T>(result: Result<T>) -> Result<StatusCode> {
    match result {
        Ok(_) => anyhow::bail!("it was not refused"),
        Err(error) => Ok(error.downcast::<Refusal>()?.status),
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_theft_ends_the_login() -> Result<()> {
    let server = shared_server().await?;
    let account = account(server, "ann", "editor")?;
    let first = log_in(server, &account).await?;
    let elsewhere = log_in(server, &account).await?;
    let second = refresh(server, &first).await?;
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let third = refresh(server, &second).await?;
    // Another client has a copy of the first, which is not the one that was exchanged last: both of them are out.
    assert_eq!(refused(refresh(server, &first).await)?, StatusCode::UNAUTHORIZED);
    assert_eq!(refused(refresh(server, &third).await)?, StatusCode::UNAUTHORIZED);
    let elsewhere = refresh(server, &elsewhere).await.context("another login goes on")?;

    let again = log_in(server, &account).await?;
    let client = holder(server, &again);
    let body = json!({"refresh_token": again["refresh_token"]});
    answered(client.request(Method::POST, "/auth/logout").json(&body).send().await?).await?;
    assert_eq!(refused(client.get::<Value>("/me").await)?, StatusCode::UNAUTHORIZED);
    assert_eq!(refused(refresh(server, &again).await)?, StatusCode::UNAUTHORIZED);
    let elsewhere = refresh(server, &elsewhere).await.context("another login is not logged out")?;
    // Without a body every login of the user ends.
    let client = holder(server, &elsewhere);
    answered(client.request(Method::POST, "/auth/logout").send().await?).await?;
    assert_eq!(refused(refresh(server, &elsewhere).await)?, StatusCode::UNAUTHORIZED);
    let anonymous = Client::with_token(&server.url(), "").request(Method::POST, "/auth/logout").send().await?;
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_that_refresh_at_once_all_live() -> Result<()> {
    let server = shared_server().await?;
    let mut tokens = log_in(server, &account(server, "ann", "viewer")?).await?;
    for _ in 0..3 {
        let tabs = futures_util::future::join_all((0..8).map(|_| refresh(server, &tokens))).await;
        let tabs = tabs.into_iter().collect::<Result<Vec<_>>>()?;
        for tab in &tabs {
            assert_eq!(tab["refresh_token"], tabs[0]["refresh_token"], "each has the same successor");
            holder(server, tab).get::<Value>("/me").await?;
        }
        assert_ne!(tabs[0]["refresh_token"], tokens["refresh_token"]);
        tokens = tabs[0].clone();
    }
    Ok(())
}

#[tokio::test]
async fn a_suspension_spends_no_refresh_token() -> Result<()> {
    let (server, operator) = (shared_server().await?, shared_operator().await?);
    let account = account(server, "ann", "viewer")?;
    let tokens = log_in(server, &account).await?;
    let set_state = async |state: &str| {
        let path = format!("/admin/tenants/{}", account.tenant_id);
        let request = operator.request(Method::PATCH, &path).json(&json!({"state": state}));
        answered(request.send().await?).await
    };
    set_state("suspended").await?;
    for _ in 0..2 {
        let refusal = refresh(server, &tokens).await.err().context("it is refused")?.downcast::<Refusal>()?;
        assert_eq!((refusal.status, &refusal.problem["code"]), (StatusCode::FORBIDDEN, &json!("tenant_suspended")));
    }
    set_state("active").await?;
    let fresh = refresh(server, &tokens).await.context("the token works again")?;
    holder(server, &fresh).get::<Value>("/me").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_session_at_once() -> Result<()> {
    let server = shared_server().await?;
    let ann = account(server, "ann", "viewer")?;
    let (here, elsewhere) = (log_in(server, &ann).await?, log_in(server, &ann).await?);
    let (client, other) = (holder(server, &here), holder(server, &elsewhere));
    let ticket = async || anyhow::Ok(other.post::<Value>("/ws-tickets", &Value::Null).await?["ticket"].clone());
    let address = server.url().replacen("http", "ws", 1);
    let open = async |ticket: Value| {
        let ticket = ticket.as_str().unwrap_or_default().to_owned();
        tokio_tungstenite::connect_async(format!("{address}/api/v1/ws?ticket={ticket}")).await
    };
    let (mut socket, _) = open(ticket().await?).await?;
    let unused = ticket().await?;

    let body = json!({"current": ann.password, "new": "a-second-password"});
    let fresh: Value = client.post("/me/password", &body).await?;
    for ended in [&here, &elsewhere] {
        assert_eq!(refused(holder(server, ended).get::<Value>("/me").await)?, StatusCode::UNAUTHORIZED);
        assert_eq!(refused(refresh(server, ended).await)?, StatusCode::UNAUTHORIZED);
    }
    ensure!(open(unused).await.is_err(), "a ticket of an ended session opens a socket");
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.context("the socket stays open")?;
    // The session that changed it goes on with the tokens of the answer.
    holder(server, &fresh).get::<Value>("/me").await?;
    let fresh = refresh(server, &fresh).await?;

    // An admin's change ends it as well.
    let operator = shared_operator().await?;
    let path = format!("/admin/users/{}", ann.id);
    let change = operator.request(Method::PATCH, &path).json(&json!({"password": "a-third-password"}));
    answered(change.send().await?).await?;
    assert_eq!(refused(holder(server, &fresh).get::<Value>("/me").await)?, StatusCode::UNAUTHORIZED);
    assert_eq!(refused(refresh(server, &fresh).await)?, StatusCode::UNAUTHORIZED);
    let third = Account { password: "a-third-password".to_owned(), ..ann };
    holder(server, &log_in(server, &third).await?).get::<Value>("/me").await?;
    Ok(())
}

#[tokio::test]
async fn a_changed_secret_keeps_what_the_one_before_it_signed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start_in(folder.path(), &variables(&[("TOUCHLINE__AUTH__SECRET", OLD)])).await?;
    let account = server.account("club", "ann@club.example", "editor")?;
    let file = folder.path().join("match.mp4");
    touchline_tests::scenarios::crowd::footage(&file, 1)?;
    let tokens = log_in(&server, &account).await?;
    let client = holder(&server, &tokens);
    let video = client.upload(&file, 1 << 20, |_, _| {}).await?;
    let link: Value = client.post(&format!("/videos/{}/links", video.id), &json!({"expires_in": 3600})).await?;
    let link = link["url"].as_str().context("an address")?.split("/api/v1").last().context("a path")?.to_owned();
    server.stop()?;

    let rotated = variables(&[("TOUCHLINE__AUTH__SECRET", NEW), ("TOUCHLINE__AUTH__PREVIOUS_SECRET", OLD)]);
    let mut server = Server::start_in(folder.path(), &rotated).await?;
    let shared = |server: &Server| reqwest::get(format!("{}/api/v1{link}", server.url()));
    holder(&server, &tokens).get::<Value>("/me").await.context("access tokens hold")?;
    assert_eq!(shared(&server).await?.status(), StatusCode::OK, "links hold");
    let fresh = refresh(&server, &tokens).await.context("refresh tokens hold")?;
    server.stop()?;

    let server = Server::start_in(folder.path(), &variables(&[("TOUCHLINE__AUTH__SECRET", NEW)])).await?;
    assert_eq!(refused(holder(&server, &tokens).get::<Value>("/me").await)?, StatusCode::UNAUTHORIZED);
    assert_eq!(shared(&server).await?.status(), StatusCode::UNAUTHORIZED);
    holder(&server, &fresh).get::<Value>("/me").await.context("what the new secret signed holds")?;
    refresh(&server, &fresh).await.context("and so do its refresh tokens")?;
    Ok(())
}

#[tokio::test]
async fn logs_hold_no_secrets() -> Result<()> {
    let secrets = variables(&[("TOUCHLINE__AUTH__SECRET", OLD), ("TOUCHLINE__LOG__LEVEL", "trace")]);
    let server = Server::start(&secrets).await?;
    let account = server.account("club", "ann@club.example", "admin")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    touchline_tests::scenarios::crowd::footage(&file, 1)?;
    let tokens = log_in(&server, &account).await?;
    let client = holder(&server, &tokens);
    let video = client.upload(&file, 1 << 20, |_, _| {}).await?;
    let link: Value = client.post(&format!("/videos/{}/links", video.id), &json!({})).await?;
    let link = link["url"].as_str().context("an address")?.to_owned();
    assert_eq!(reqwest::get(&link).await?.status(), StatusCode::OK);
    let ticket: Value = client.post("/ws-tickets", &Value::Null).await?;
    let ticket = ticket["ticket"].as_str().context("a ticket")?.to_owned();
    let address = server.url().replacen("http", "ws", 1);
    tokio_tungstenite::connect_async(format!("{address}/api/v1/ws?ticket={ticket}")).await?;
    let key: Value = client.post("/api-keys", &json!({"name": "a", "scopes": ["read"]})).await?;
    let key = key["key"].as_str().context("a key")?.to_owned();
    Client::with_token(&server.url(), &key).get::<Value>("/me").await?;
    let fresh = refresh(&server, &tokens).await?;
    refresh(&server, &fresh).await?;
    // Mistakes are logged in more words.
    let wrong = Account { password: "a password that is wrong".to_owned(), ..account };
    assert_eq!(refused(log_in(&server, &wrong).await)?, StatusCode::UNAUTHORIZED);
    assert_eq!(refused(refresh(&server, &tokens).await)?, StatusCode::UNAUTHORIZED);
    let malformed = json!({"email": "a@b", "password": "a password in a body that is refused", "more": 1});
    assert_eq!(
        refused(Client::with_token(&server.url(), "").post::<Value>("/auth/token", &malformed).await)?,
        StatusCode::UNPROCESSABLE_ENTITY
    );

    let said = format!("{}{}", server.log(), server.printed());
    ensure!(said.contains("answered"), "nothing was logged");
    let signature = link.split("signature=").last().context("a signature")?.to_owned();
    let text = |tokens: &Value, name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
    for (what, secret) in [
        ("the secret", OLD.to_owned()),
        ("a wrong password", wrong.password),
        ("a password in a refused body", "a password in a body that is refused".to_owned()),
        ("an access token", text(&tokens, "access_token")),
        ("a refresh token", text(&tokens, "refresh_token")),
        ("a new access token", text(&fresh, "access_token")),
        ("a new refresh token", text(&fresh, "refresh_token")),
        ("a ticket", ticket),
        ("an API key", key),
        ("a link's signature", signature),
    ] {
        ensure!(secret.len() > 8, "{what} is empty");
        ensure!(!said.contains(&secret), "{what} is in the log");
    }
    ensure!(!said.contains("$argon2id$"), "a password's hash is in the log");
    Ok(())
}

/// A certificate for 127.0.0.1 that signs itself.
fn self_signed(folder: &std::path::Path, name: &str) -> Result<reqwest::Certificate> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .context("running openssl; install it with: apt-get install openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(reqwest::Certificate::from_pem(&std::fs::read(certificate)?)?)
}

fn trusting(certificate: reqwest::Certificate) -> Result<reqwest::Client> {
    // No connection outlives its request: each shakes hands anew.
    Ok(reqwest::Client::builder().tls_certs_only([certificate]).pool_max_idle_per_host(0).build()?)
}

#[tokio::test]
async fn tls_is_spoken_and_a_renewed_certificate_is_shown_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let client = trusting(self_signed(folder.path(), "first")?)?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let tls = [("TOUCHLINE__TLS__CERTIFICATE", certificate.as_str()), ("TOUCHLINE__TLS__KEY", key.as_str())];
    let server = Server::spawn(&folder.path().join("server"), &variables(&tls))?;
    let url = server.url();
    ensure!(url.starts_with("https://127.0.0.1:"), "{url}");
    let health = format!("{url}/healthz");
    assert_eq!(client.get(&health).send().await?.status(), StatusCode::OK);
    assert!(
        reqwest::Client::new().get(&health).send().await.is_err(),
        "a certificate that no authority signed is not trusted"
    );
    // Plain HTTP on that port is answered by nothing, and disturbs no other connection.
    assert!(reqwest::get(health.replacen("https", "http", 1)).await.is_err());

    let renewed = trusting(self_signed(folder.path(), "second")?)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while renewed.get(&health).send().await.is_err() {
        ensure!(Instant::now() < deadline, "the renewed certificate is not shown: {}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // An invalid file is logged, and the present certificate stays in use.
    std::fs::write(&certificate, "no certificate")?;
    while !server.log().contains("cannot be used") {
        ensure!(Instant::now() < deadline + Duration::from_secs(20), "nothing is said of a bad certificate");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(renewed.get(&health).send().await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn bad_tls_files_stop_the_start_and_are_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    self_signed(folder.path(), "one")?;
    let other = folder.path().join("other");
    std::fs::create_dir(&other)?;
    self_signed(&other, "other")?;
    let path = |path: &str| folder.path().join(path).display().to_string();
    std::fs::write(path("empty.pem"), "")?;
    for (certificate, key, named) in [
        ("missing.pem", "key.pem", "missing.pem"),
        ("empty.pem", "key.pem", "empty.pem"),
        ("certificate.pem", "empty.pem", "empty.pem"),
        ("certificate.pem", "other/key.pem", "do not go together"),
    ] {
        let (certificate, key) = (path(certificate), path(key));
        let tls = [("TOUCHLINE__TLS__CERTIFICATE", certificate.as_str()), ("TOUCHLINE__TLS__KEY", key.as_str())];
        let Err(error) = Server::spawn(&folder.path().join("server"), &variables(&tls)) else {
            anyhow::bail!("{certificate} and {key} were accepted");
        };
        ensure!(error.to_string().contains(named), "{error}");
    }
    Ok(())
}
