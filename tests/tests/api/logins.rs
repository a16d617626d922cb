//! Guessing passwords: what is throttled, for whom, and how many passwords are checked at once.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use reqwest::StatusCode;
use serde_json::{Value, json};
use touchline_tests::client::Client;
use touchline_tests::server::{Account, Server};

/// The tests name the addresses that logins come from.
const PROXIED: [(&str, &str); 2] =
    [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#), ("TOUCHLINE__SERVER__TRUSTED_PROXIES", r#"["127.0.0.1"]"#)];
/// Wrong passwords of one account from one address, before the next has to wait.
const FREE: usize = 10;

struct Door {
    server: Server,
    http: reqwest::Client,
}

impl Door {
    async fn open() -> Result<Self> {
        Ok(Self { server: Server::start(&PROXIED).await?, http: reqwest::Client::new() })
    }

    fn account(&self, name: &str) -> Result<Account> {
        self.server.account("club", &format!("{name}@club.example"), "viewer")
    }

    /// An answer to a login from an address.
    async fn log_in(&self, from: Ipv4Addr, email: &str, password: &str) -> Result<reqwest::Response> {
        let request = self.http.post(format!("{}/api/v1/auth/token", self.server.url()));
        let request = request.header("X-Forwarded-For", from.to_string());
        Ok(request.json(&json!({"email": email, "password": password})).send().await?)
    }

    async fn fail(&self, from: Ipv4Addr, email: &str) -> Result<StatusCode> {
        Ok(self.log_in(from, email, "not the password").await?.status())
    }

    async fn succeed(&self, from: Ipv4Addr, account: &Account) -> Result<StatusCode> {
        Ok(self.log_in(from, &account.email, &account.password).await?.status())
    }
}

fn address(number: u32) -> Ipv4Addr {
    (0xc633_6400 + number).into()
}

/// How many seconds a refusal asks to wait.
fn wait_of(answer: &reqwest::Response) -> Result<u64> {
    Ok(answer.headers().get("retry-after").context("no Retry-After")?.to_str()?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_failures_are_throttled() -> Result<()> {
    let door = Door::open().await?;
    let (ann, bob) = (door.account("ann")?, door.account("bob")?);
    for _ in 0..FREE + 2 {
        assert_eq!(door.succeed(address(1), &ann).await?, StatusCode::OK, "successes are not counted");
    }
    for status in join_all((0..4 * FREE).map(|_| door.succeed(address(1), &ann))).await {
        assert_eq!(status?, StatusCode::OK, "neither are those that come at once");
    }
    for _ in 0..FREE - 1 {
        assert_eq!(door.fail(address(1), &ann.email.to_uppercase()).await?, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(door.succeed(address(1), &ann).await?, StatusCode::OK, "a success forgives them");
    // Unknown accounts are not told apart.
    for email in [ann.email.as_str(), "unknown@club.example"] {
        for _ in 0..FREE {
            assert_eq!(door.fail(address(1), email).await?, StatusCode::UNAUTHORIZED, "{email}");
        }
        let answer = door.log_in(address(1), email, &ann.password).await?;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{email}");
        let wait = wait_of(&answer)?;
        ensure!((1..=60).contains(&wait), "{wait}");
        let problem: Value = answer.json().await?;
        assert_eq!(problem["code"], "too_many_logins");
    }
    assert_eq!(door.succeed(address(1), &bob).await?, StatusCode::OK, "another account is not throttled");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_lock_a_user_out() -> Result<()> {
    let door = Door::open().await?;
    let ann = door.account("ann")?;
    for attacker in 0..8 {
        for _ in 0..FREE {
            assert_eq!(door.fail(address(attacker), &ann.email).await?, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(door.fail(address(attacker), &ann.email).await?, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(door.succeed(address(100), &ann).await?, StatusCode::OK, "the user, from an address without failures");
    let guessed = door.succeed(address(0), &ann).await?;
    assert_eq!(guessed, StatusCode::TOO_MANY_REQUESTS, "a password that is guessed too late is not checked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_burst_of_wrong_passwords_ten_are_checked() -> Result<()> {
    let door = Door::open().await?;
    let ann = door.account("ann")?;
    let burst = join_all((0..5 * FREE).map(|_| door.fail(address(1), &ann.email))).await;
    let burst = burst.into_iter().collect::<Result<Vec<_>>>()?;
    let checked = burst.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count();
    let refused = burst.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!((checked, refused), (FREE, 4 * FREE), "{burst:?}");
    // The same limit holds where a session asks for the present password.
    let other = door.log_in(address(2), &ann.email, &ann.password).await?;
    let tokens: Value = other.json().await?;
    let change = async |from: Ipv4Addr| {
        let request = door.http.post(format!("{}/api/v1/me/password", door.server.url()));
        let request = request.bearer_auth(tokens["access_token"].as_str().unwrap_or_default());
        let request = request.header("X-Forwarded-For", from.to_string());
        let body = json!({"current": "not the password", "new": "a-second-password"});
        anyhow::Ok(request.json(&body).send().await?.status())
    };
    assert_eq!(change(address(1)).await?, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(change(address(2)).await?, StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_try_many_accounts() -> Result<()> {
    const MOST: usize = 200;
    let door = Door::open().await?;
    let (ann, bob) = (door.account("ann")?, door.account("bob")?);
    assert_eq!(door.succeed(address(1), &bob).await?, StatusCode::OK);
    let tries = (0..MOST + 50).map(|number| {
        let door = &door;
        async move { door.fail(address(1), &format!("{number}@club.example")).await }
    });
    let statuses: Vec<_> = stream::iter(tries).buffer_unordered(8).collect().await;
    let statuses = statuses.into_iter().collect::<Result<Vec<_>>>()?;
    let refused = statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    ensure!(refused > 0 && statuses.len() - refused >= MOST, "{refused} of {} are refused", statuses.len());
    assert_eq!(door.succeed(address(1), &ann).await?, StatusCode::TOO_MANY_REQUESTS, "a stranger there");
    assert_eq!(door.succeed(address(1), &bob).await?, StatusCode::OK, "a user who has logged in from there");
    assert_eq!(door.succeed(address(2), &ann).await?, StatusCode::OK, "another address");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_are_checked_and_wait_are_bounded() -> Result<()> {
    let door = Door::open().await?;
    let ann = door.account("ann")?;
    let client = Client::log_in(&door.server.url(), &ann.email, &ann.password).await?;
    // Two for each core are checked and 32 wait; far more come at once, each from an address of its own.
    let cores = std::thread::available_parallelism()?.get() as u32;
    let flood = join_all((0..50 * (cores + 1)).map(|number| {
        let door = &door;
        async move { door.log_in(address(number), &format!("{number}@club.example"), "not the password").await }
    }));
    let calm = client.get::<Value>("/me");
    let (flood, calm) = tokio::join!(flood, calm);
    calm.context("other requests are answered meanwhile")?;
    let mut busy = 0;
    for answer in flood {
        let answer = answer?;
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            ensure!(wait_of(&answer)? >= 1);
            busy += 1;
        } else {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
    }
    ensure!(busy > 0, "nothing bounds what waits");
    let counted = client.metric_of("touchline_logins_total", &[("outcome", "busy")]).await?;
    assert_eq!(counted, f64::from(busy));
    assert_eq!(door.succeed(address(1), &ann).await?, StatusCode::OK);
    Ok(())
}
