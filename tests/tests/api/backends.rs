//! Two nodes on one PostgreSQL and one Redis, and what happens when that Redis goes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use touchline_tests::client::Client;
use touchline_tests::nodes::{Nodes, redis_is};
use touchline_tests::server::Server;

const PATIENCE: Duration = Duration::from_secs(60);

async fn ticket(server: &Server, token: &str) -> Result<String> {
    let answer = reqwest::Client::new().post(format!("{}/api/v1/ws-tickets", server.url())).bearer_auth(token).send();
    let answer = answer.await?;
    ensure!(answer.status() == 201, "a ticket is answered {}", answer.status());
    let ticket: Value = answer.json().await?;
    Ok(ticket["ticket"].as_str().context("a ticket is a text")?.to_owned())
}

async fn opens(server: &Server, ticket: &str) -> bool {
    let url = format!("ws://{}/api/v1/ws?ticket={ticket}", server.address());
    tokio_tungstenite::connect_async(url).await.is_ok()
}

async fn token(server: &Server, email: &str, password: &str) -> Result<String> {
    let body = serde_json::json!({"email": email, "password": password});
    let answer = reqwest::Client::new().post(format!("{}/api/v1/auth/token", server.url())).json(&body).send().await?;
    ensure!(answer.status() == 200, "a login is answered {}", answer.status());
    let pair: Value = answer.json().await?;
    Ok(pair["access_token"].as_str().context("a token is a text")?.to_owned())
}

async fn me(server: &Server, token: &str) -> Result<u16> {
    let answer = reqwest::Client::new().get(format!("{}/api/v1/me", server.url())).bearer_auth(token).send().await?;
    Ok(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_deployment_and_outlive_their_redis() -> Result<()> {
    let mut nodes = Nodes::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
    let (here, there) = (&nodes.here, &nodes.there);
    let account = here.account("club", "coach@club.example", "editor")?;
    let login = token(here, &account.email, &account.password).await?;

    let given = ticket(here, &login).await?;
    ensure!(opens(there, &given).await, "a ticket of one node does not open a socket at another");
    ensure!(!opens(here, &given).await && !opens(there, &given).await, "a ticket was used twice");

    let bye = token(here, &account.email, &account.password).await?;
    ensure!(me(there, &bye).await? == 200);
    let out =
        reqwest::Client::new().post(format!("{}/api/v1/auth/logout", here.url())).bearer_auth(&bye).send().await?;
    ensure!(out.status() == 204, "logging out is answered {}", out.status());
    let deadline = Instant::now() + PATIENCE;
    while me(there, &bye).await? != 401 {
        ensure!(Instant::now() < deadline, "a logged-out token holds at another node");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let before = ticket(here, &login).await?;
    nodes.redis.kill();
    // Requests go on at once, whichever node notices first.
    ensure!(opens(here, &before).await, "a ticket was lost with Redis");
    for server in [here, there] {
        token(server, &account.email, &account.password).await?;
        let own = ticket(server, &login).await?;
        ensure!(opens(server, &own).await && !opens(server, &own).await, "a ticket without Redis works once");
        redis_is(server, false).await?;
        Client::log_in(&server.url(), &account.email, &account.password).await?;
    }
    nodes.redis.revive();
    for server in [here, there] {
        redis_is(server, true).await?;
        ensure!(me(server, &bye).await? == 401, "a logged-out token came back with Redis");
    }
    let given = ticket(there, &login).await?;
    ensure!(opens(here, &given).await, "tickets are not shared again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_and_failed_logins_are_known_at_every_node() -> Result<()> {
    let nodes = Nodes::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
    let (here, there) = (&nodes.here, &nodes.there);
    let account = here.account("club", "coach@club.example", "editor")?;
    let (own, other) =
        (token(here, &account.email, &account.password).await?, token(there, &account.email, &account.password).await?);
    ensure!(me(there, &own).await? == 200 && me(there, &other).await? == 200);
    let passwords = serde_json::json!({"current": account.password, "new": "a-second-password"});
    let request = reqwest::Client::new().post(format!("{}/api/v1/me/password", here.url())).bearer_auth(&own);
    let fresh: Value = request.json(&passwords).send().await?.error_for_status()?.json().await?;
    // The node that has the account in its cache takes the new token at once, and soon no former one.
    ensure!(me(there, fresh["access_token"].as_str().context("a token")?).await? == 200);
    let deadline = Instant::now() + PATIENCE;
    for former in [&own, &other] {
        ensure!(me(here, former).await? == 401, "a former token holds where the password was changed");
        while me(there, former).await? != 401 {
            ensure!(Instant::now() < deadline, "a former token holds at another node");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    // Ten wrong passwords, whichever node checks them.
    let fail = async |node: &Server| {
        let body = serde_json::json!({"email": account.email, "password": account.password});
        let request = reqwest::Client::new().post(format!("{}/api/v1/auth/token", node.url())).json(&body);
        anyhow::Ok(request.send().await?.status().as_u16())
    };
    for number in 0..10 {
        let node = if number % 2 == 0 { here } else { there };
        ensure!(fail(node).await? == 401, "failure {number} is refused");
    }
    ensure!(fail(here).await? == 429 && fail(there).await? == 429, "each node counts its own failures");
    Ok(())
}
