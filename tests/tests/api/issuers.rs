//! Tokens of foreign issuers: which are accepted, what they may do, and what the keys' server can do to us.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use futures_util::StreamExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::issuer::{Behaviour, Issuer, Signer};
use touchline_tests::server::Server;

/// Tokens are for the tenant `club`.
const CLUB: &str = "tenant = 'club', role_claim = 'groups', roles = { coaches = 'editor', fans = 'viewer' }";
/// A claim says which tenant they are for.
const MANY: &str = "tenant_claim = 'team', tenants = { blue = 'other', ghost = 'nowhere' }, role_claim = '/realm/roles', \
     roles = { boss = 'operator', chief = 'admin' }, allow_operator = true";
/// The shortest time between two fetches of the keys.
const FETCH_EVERY: Duration = Duration::from_millis(5200);

async fn server(issuers: &[String]) -> Result<Server> {
    let issuers = format!("[{}]", issuers.join(", "));
    let variables = [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#), ("TOUCHLINE__AUTH__ISSUERS", issuers.as_str())];
    let server = Server::start(&variables).await?;
    for tenant in ["club", "other"] {
        server.json(&["tenant", "create", tenant])?;
    }
    Ok(server)
}

/// What `/me` answers a token.
async fn me(server: &Server, token: &str) -> Result<(StatusCode, Value)> {
    let answer = Client::with_token(&server.url(), token).request(Method::GET, "/me").send().await?;
    Ok((answer.status(), answer.json().await?))
}

#[tokio::test]
async fn good_tokens_do_what_their_claims_stand_for() -> Result<()> {
    let signers =
        [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(|kind| Signer::new(&format!("{kind:?}"), kind));
    let [rsa, ec, ed] = signers;
    let (rsa, ec, ed) = (rsa?, ec?, ed?);
    let (club, many) = (Issuer::start(&[&rsa, &ec, &ed]).await?, Issuer::start(&[&ec]).await?);
    let server = server(&[club.entry(CLUB), many.entry(MANY)]).await?;

    let mut subjects = Vec::new();
    for signer in [&rsa, &ec, &ed] {
        let token = signer.sign(&club.claims(json!({"groups": ["strangers", "coaches", "fans"]})))?;
        let (status, who) = me(&server, &token).await?;
        assert_eq!(status, StatusCode::OK, "{who}");
        assert_eq!(
            (&who["kind"], &who["role"], &who["tenant"]["name"]),
            (&json!("foreign"), &json!("editor"), &json!("club"))
        );
        subjects.push(who["id"].clone());
    }
    assert!(subjects.iter().all(|subject| *subject == subjects[0]), "one subject is one id: {subjects:?}");

    let fan = Client::with_token(&server.url(), &rsa.sign(&club.claims(json!({"groups": "fans"})))?);
    let refused = fan.create_upload(1000, "a.mp4").await.err().context("a viewer uploads")?.downcast::<Refusal>()?;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let logout = fan.request(Method::POST, "/auth/logout").send().await?;
    assert_eq!(logout.status(), StatusCode::FORBIDDEN);

    let boss = ec.sign(&many.claims(json!({"team": "blue", "realm": {"roles": ["chief", "boss"]}})))?;
    let (_, who) = me(&server, &boss).await?;
    assert_eq!((&who["role"], &who["tenant"]["name"]), (&json!("operator"), &json!("other")));
    // What an operator from elsewhere does has no author among our users.
    let boss = Client::with_token(&server.url(), &boss);
    let change = boss.request(Method::PATCH, "/admin/config").header("If-Match", "*");
    answered(change.json(&json!({"limits": {"queued_exports": 7}})).send().await?).await?;

    // A socket ends with the token that it was opened by.
    let brief = club.claims(json!({"groups": "fans", "exp": Utc::now().timestamp() + 2}));
    let mut socket = Client::with_token(&server.url(), &ed.sign(&brief)?).listen("*").await?;
    let closed = async { while !matches!(socket.next().await, None | Some(Err(_) | Ok(Message::Close(_)))) {} };
    tokio::time::timeout(Duration::from_secs(15), closed).await.context("the socket stays open")?;
    Ok(())
}

#[tokio::test]
async fn bad_tokens_open_nothing() -> Result<()> {
    let (rsa, ec) = (Signer::new("rsa", Algorithm::RS256)?, Signer::new("ec", Algorithm::ES256)?);
    let (forger, unlisted) = (Signer::new("rsa", Algorithm::RS256)?, Signer::new("unlisted", Algorithm::RS256)?);
    let (club, many) = (Issuer::start(&[&rsa, &ec]).await?, Issuer::start(&[&ec]).await?);
    let server = server(&[club.entry(CLUB), many.entry(MANY)]).await?;
    let now = Utc::now().timestamp();
    let with = |more: Value| {
        let mut claims = club.claims(json!({"groups": ["coaches"]}));
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    };
    let without = |name: &str| {
        let mut claims = with(json!({}));
        claims.as_object_mut().map(|claims| claims.remove(name));
        claims
    };
    // Clocks may be five seconds apart.
    for right in
        [with(json!({})), with(json!({"exp": now - 2})), with(json!({"nbf": now + 3, "iat": now + 3})), without("nbf")]
    {
        let (status, who) = me(&server, &rsa.sign(&right)?).await?;
        assert_eq!(status, StatusCode::OK, "{right}: {who}");
    }
    for wrong in [
        with(json!({"exp": now - 60})),
        with(json!({"nbf": now + 60})),
        with(json!({"iat": now + 60})),
        with(json!({"iat": "yesterday"})),
        with(json!({"aud": "another"})),
        with(json!({"aud": ["another", "one"]})),
        with(json!({"iss": "https://another.example/"})),
        with(json!({"iss": many.name()})),
        with(json!({"sub": ""})),
        without("exp"),
        without("aud"),
        without("sub"),
        without("iss"),
    ] {
        let (status, problem) = me(&server, &rsa.sign(&wrong)?).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}: {problem}");
    }

    // What signs is chosen by the key, never by the token.
    let good = with(json!({}));
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let public = rsa.jwk()?;
    let modulus = URL_SAFE_NO_PAD.decode(public["n"].as_str().context("a modulus")?)?;
    let confused = |secret: &[u8]| {
        let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret))
    };
    let genuine = rsa.sign(&good)?;
    let [head, body, signature] = genuine.split('.').collect::<Vec<_>>()[..] else { anyhow::bail!("no token") };
    let raised = part(&with(json!({"groups": ["coaches"], "sub": "another subject"})));
    for (what, token) in [
        ("unsigned", format!("{}.{}.", part(&json!({"alg": "none", "kid": "rsa"})), part(&good))),
        ("unsigned, in capitals", format!("{}.{}.", part(&json!({"alg": "NONE", "kid": "rsa"})), part(&good))),
        ("with the signature left out", format!("{head}.{body}.")),
        ("with other claims", format!("{head}.{raised}.{signature}")),
        ("signed by the public key as a secret", confused(&modulus)?),
        ("signed by the public key's text", confused(public["n"].as_str().context("a modulus")?.as_bytes())?),
        ("signed by the public key's JSON", confused(public.to_string().as_bytes())?),
        ("signed by another key of the same name", forger.sign(&good)?),
        ("signed by a key that is not listed", unlisted.sign(&good)?),
        (
            "whose key is for another algorithm",
            format!("{}.{body}.{signature}", part(&json!({"alg": "RS256", "kid": "ec"}))),
        ),
        (
            "of a stronger kind than the key's",
            format!("{}.{body}.{signature}", part(&json!({"alg": "PS256", "kid": "rsa"}))),
        ),
        (
            "that brings its own key",
            format!("{}.{body}.{signature}", part(&json!({"alg": "RS256", "kid": "mine", "jwk": forger.jwk()?}))),
        ),
        (
            "with an unknown critical extension",
            format!("{}.{body}.{signature}", part(&json!({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}))),
        ),
        ("of nonsense", format!("{head}.{body}.{}", "A".repeat(342))),
        ("too long", format!("{head}.{}.{signature}", "A".repeat(5000))),
    ] {
        let (status, problem) = me(&server, &token).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "a token {what}: {problem}");
    }

    // Valid tokens that stand for no role or no tenant.
    for (more, code) in [
        (json!({"groups": ["strangers", "operator", "admin"]}), "missing_right"),
        (json!({"groups": null}), "missing_right"),
    ] {
        let (status, problem) = me(&server, &rsa.sign(&with(more.clone()))?).await?;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!(code)), "{more}");
    }
    for team in [json!("other"), json!("red"), json!(["blue", "ghost"]), json!("ghost"), Value::Null] {
        let token = ec.sign(&many.claims(json!({"team": team, "realm": {"roles": "chief"}})))?;
        let (status, problem) = me(&server, &token).await?;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("unknown_tenant")), "{team}");
    }
    server.json(&["tenant", "suspend", "club"])?;
    let (status, problem) = me(&server, &genuine).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("tenant_suspended")));
    Ok(())
}

#[tokio::test]
async fn keys_change_and_floods_of_unknown_ones_are_not_passed_on() -> Result<()> {
    let (first, second) = (Signer::new("first", Algorithm::ES256)?, Signer::new("second", Algorithm::EdDSA)?);
    let issuer = Issuer::start(&[&first]).await?;
    let server = server(&[issuer.entry(CLUB)]).await?;
    let fan = issuer.claims(json!({"groups": "fans"}));
    let (old, new) = (first.sign(&fan)?, second.sign(&fan)?);
    assert_eq!(issuer.fetches(), 0, "keys are fetched when they are needed");
    assert_eq!(me(&server, &old).await?.0, StatusCode::OK);
    assert_eq!(me(&server, &old).await?.0, StatusCode::OK);
    assert_eq!(issuer.fetches(), 1);

    let strangers =
        (0..40).map(|n| Signer::new(&format!("stranger {n}"), Algorithm::EdDSA)).collect::<Result<Vec<_>>>()?;
    for stranger in &strangers {
        assert_eq!(me(&server, &stranger.sign(&fan)?).await?.0, StatusCode::UNAUTHORIZED);
    }
    ensure!(issuer.fetches() <= 2, "{} fetches for 40 unknown keys", issuer.fetches());

    issuer.publish(&[&second])?;
    tokio::time::sleep(FETCH_EVERY).await;
    assert_eq!(me(&server, &new).await?.0, StatusCode::OK, "an unknown key is looked up");
    assert_eq!(me(&server, &old).await?.0, StatusCode::UNAUTHORIZED, "a key that was withdrawn signs no more");

    // The keys at hand are used on while the issuer is away.
    issuer.set_behaviour(Behaviour::Away);
    tokio::time::sleep(FETCH_EVERY).await;
    assert_eq!(me(&server, &old).await?.0, StatusCode::UNAUTHORIZED);
    assert_eq!(me(&server, &new).await?.0, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_delays_no_other_request() -> Result<()> {
    let signer = Signer::new("key", Algorithm::ES256)?;
    let issuer = Issuer::start(&[&signer]).await?;
    let server = server(&[issuer.entry(CLUB)]).await?;
    let token = signer.sign(&issuer.claims(json!({"groups": "fans"})))?;
    for behaviour in [Behaviour::Away, Behaviour::Endless, Behaviour::Slow] {
        issuer.set_behaviour(behaviour);
        let asked = me(&server, &token);
        let others = async {
            let mut slowest = Duration::ZERO;
            for _ in 0..20 {
                let began = Instant::now();
                ensure!(reqwest::get(format!("{}/healthz", server.url())).await?.status().is_success());
                slowest = slowest.max(began.elapsed());
            }
            Ok(slowest)
        };
        let ((status, problem), slowest) = tokio::try_join!(asked, others)?;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("issuer_away")),
            "{behaviour:?}"
        );
        ensure!(slowest < Duration::from_secs(4), "others waited {slowest:?} while the issuer was {behaviour:?}");
        tokio::time::sleep(FETCH_EVERY).await;
    }
    issuer.set_behaviour(Behaviour::Answers);
    assert_eq!(me(&server, &token).await?.0, StatusCode::OK);
    Ok(())
}
