//! Accounts, run by a tenant's admins and by operators, and the log of who did what.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::scenarios::crowd;
use touchline_tests::shared_server::{shared_operator, shared_server, unique};

fn refusal<T>(result: Result<T>) -> Result<Refusal> {
    match result {
        Ok(_) => anyhow::bail!("the call was not refused"),
        Err(error) => error.downcast::<Refusal>(),
    }
}

/// An e-mail address that no other test uses.
fn address(name: &str) -> String {
    format!("{}@club.example", unique(name))
}

async fn send(client: &Client, method: Method, path: &str, body: Value) -> Result<reqwest::Response> {
    answered(client.request(method, path).json(&body).send().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_runs_the_people_of_its_own_tenant() -> Result<()> {
    let (server, operator) = (shared_server().await?, shared_operator().await?);
    let account = server.account(&unique("club"), &address("boss"), "admin")?;
    let boss = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let rival = server.account(&unique("rival"), &address("boss"), "admin")?;
    let rival_boss = Client::log_in(&server.url(), &rival.email, &rival.password).await?;

    let address_of_ann = address("ann");
    let new = json!({"email": address_of_ann.to_uppercase(), "password": "a-first-password", "role": "viewer"});
    let ann: Value = boss.post("/users", &new).await?;
    let path = format!("/users/{}", ann["id"].as_str().context("id")?);
    assert_eq!((&ann["email"], &ann["tenant_id"]), (&json!(address_of_ann), &json!(account.tenant_id)));
    let client = Client::log_in(&server.url(), &address_of_ann, "a-first-password").await?;
    assert_eq!(refusal(client.get::<Value>("/users").await)?.status, StatusCode::FORBIDDEN);

    // No user gives a right beyond its own, and addresses are unique in the deployment.
    let operator_to_be = json!({"email": address("eve"), "password": "a-first-password", "role": "operator"});
    assert_eq!(refusal(boss.post::<Value>("/users", &operator_to_be).await)?.status, StatusCode::FORBIDDEN);
    assert_eq!(refusal(rival_boss.post::<Value>("/users", &new).await)?.status, StatusCode::CONFLICT);
    for wrong in [
        json!({"email": "no address", "password": "long enough", "role": "viewer"}),
        json!({"email": address("bob"), "password": "short", "role": "viewer"}),
    ] {
        assert_eq!(refusal(boss.post::<Value>("/users", &wrong).await)?.status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    // A new role holds at once, for the token that is in use, too.
    send(&boss, Method::PATCH, &path, json!({"role": "admin"})).await?;
    assert_eq!(refusal(client.get::<Value>("/users").await)?.status, StatusCode::FORBIDDEN, "the token says viewer");
    let again = Client::log_in(&server.url(), &address_of_ann, "a-first-password").await?;
    again.get::<Value>("/users").await?;
    send(&boss, Method::PATCH, &path, json!({"role": "viewer"})).await?;
    assert_eq!(refusal(again.get::<Value>("/users").await)?.status, StatusCode::FORBIDDEN, "the account says viewer");
    send(&boss, Method::PATCH, &path, json!({"password": "a-second-password"})).await?;
    assert_eq!(refusal(again.get::<Value>("/me").await)?.status, StatusCode::UNAUTHORIZED, "a new password ends it");
    let again = Client::log_in(&server.url(), &address_of_ann, "a-second-password").await?;
    assert!(Client::log_in(&server.url(), &address_of_ann, "a-first-password").await.is_err());

    // Another tenant's people are not there; an operator finds them.
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let refused = send(&rival_boss, method.clone(), &path, json!({})).await;
        assert_eq!(refusal(refused)?.status, StatusCode::NOT_FOUND, "{method}");
    }
    operator.get::<Value>(&format!("/admin{path}")).await?;
    let own = format!("/users/{}", account.id);
    assert_eq!(refusal(send(&boss, Method::DELETE, &own, json!({})).await)?.status, StatusCode::CONFLICT);
    let less = send(&boss, Method::PATCH, &own, json!({"role": "viewer"})).await;
    assert_eq!(refusal(less)?.status, StatusCode::CONFLICT);

    send(&boss, Method::DELETE, &path, json!({})).await?;
    assert_eq!(refusal(again.get::<Value>("/me").await)?.status, StatusCode::UNAUTHORIZED);

    // Everything of it is in the log, no password is, and only operators read it.
    let log: Value = operator.get(&format!("/admin/audit?tenant_id={}", account.tenant_id)).await?;
    let actions: Vec<_> = log["items"].as_array().context("items")?.iter().map(|entry| &entry["action"]).collect();
    let expected = ["user.delete", "user.change", "user.change", "user.change", "user.create"];
    assert_eq!(actions, expected.map(|action| json!(action)).iter().collect::<Vec<_>>());
    assert!(!log.to_string().contains("password\":\""), "{log}");
    assert_eq!(log["items"][0]["actor"], format!("user {}", account.id));
    assert_eq!(refusal(boss.get::<Value>("/admin/audit").await)?.status, StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_have_a_history_and_go_back() -> Result<()> {
    let (_server, operator) = crowd::server(1, 1.0).await?;
    let change = async |body: Value| {
        let request = operator.request(Method::PATCH, "/admin/config").header("If-Match", "*").json(&body);
        anyhow::Ok(answered(request.send().await?).await?.json::<Value>().await?)
    };
    let start: Value = operator.get("/admin/config").await?;
    change(json!({"limits": {"queued_exports": 5}})).await?;
    change(json!({"limits": {"queued_exports": 6}, "log": {"level": "debug"}})).await?;
    // Refused whole: of a good and a bad value neither holds.
    let refused = refusal(change(json!({"limits": {"queued_exports": 9}, "log": {"level": "loud"}})).await)?;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.problem["errors"][0]["pointer"], "/log/level");
    let now: Value = operator.get("/admin/config").await?;
    assert_eq!((&now["version"], &now["limits"]["queued_exports"]), (&json!(2), &json!(6)));

    let back: Value = operator.post("/admin/config/rollback", &json!({"version": 1})).await?;
    assert_eq!((&back["version"], &back["limits"]["queued_exports"]), (&json!(3), &json!(5)));
    assert_eq!(back["log"]["level"], start["log"]["level"]);
    let stale = operator.request(Method::POST, "/admin/config/rollback").header("If-Match", "\"v2\"");
    assert_eq!(stale.json(&json!({"version": 0})).send().await?.status(), StatusCode::PRECONDITION_FAILED);
    let to_start: Value = operator.post("/admin/config/rollback", &json!({"version": 0})).await?;
    assert_eq!(to_start["limits"], start["limits"]);
    let unknown = refusal(operator.post::<Value>("/admin/config/rollback", &json!({"version": 99})).await)?;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);

    let page: Value = operator.get("/admin/config/history?limit=3").await?;
    let versions: Vec<_> =
        page["items"].as_array().context("items")?.iter().map(|row| row["version"].clone()).collect();
    assert_eq!(versions, [json!(4), json!(3), json!(2)]);
    assert_eq!((&page["items"][1]["rolled_back_to"], &page["items"][2]["rolled_back_to"]), (&json!(1), &Value::Null));
    let next = page["next_cursor"].as_str().context("a cursor")?;
    let rest: Value = operator.get(&format!("/admin/config/history?limit=3&cursor={next}")).await?;
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next_cursor"]), (Some(1), &Value::Null));
    let log: Value = operator.get("/admin/audit?action=config.rollback").await?;
    assert_eq!(log["items"].as_array().map(Vec::len), Some(2));
    let log: Value = operator.get("/admin/audit?action=config.change").await?;
    assert_eq!(log["items"][0]["details"]["/limits/queued_exports"], json!({"from": 5, "to": 6}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_change_their_own_password() -> Result<()> {
    let server = shared_server().await?;
    let account = server.account(&unique("club"), &address("ann"), "viewer")?;
    let login = json!({"email": account.email, "password": account.password});
    let stranger = Client::with_token(&server.url(), "");
    let tokens: Value = stranger.post("/auth/token", &login).await?;
    let ann = Client::with_token(&server.url(), tokens["access_token"].as_str().context("a token")?);
    let wrong = json!({"current": "not this one", "new": "a-second-password"});
    let refused = refusal(send(&ann, Method::POST, "/me/password", wrong).await)?;
    assert_eq!((refused.status, &refused.problem["code"]), (StatusCode::FORBIDDEN, &json!("wrong_password")));
    let short = json!({"current": account.password, "new": "short"});
    assert_eq!(
        refusal(send(&ann, Method::POST, "/me/password", short).await)?.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let right = json!({"current": account.password, "new": "a-second-password"});
    let fresh: Value = send(&ann, Method::POST, "/me/password", right).await?.json().await?;
    // Every session of the old password has ended, and the answer has begun a new one.
    assert_eq!(refusal(ann.get::<Value>("/me").await)?.status, StatusCode::UNAUTHORIZED);
    let again = Client::with_token(&server.url(), fresh["access_token"].as_str().context("a token")?);
    assert_eq!(again.get::<Value>("/me").await?["email"], account.email);
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    assert_eq!(refusal(stranger.post::<Value>("/auth/refresh", &refresh).await)?.status, StatusCode::UNAUTHORIZED);
    assert!(Client::log_in(&server.url(), &account.email, &account.password).await.is_err());
    Client::log_in(&server.url(), &account.email, "a-second-password").await?;
    Ok(())
}
