//! Tenants never meet: every operation of the OpenAPI document is called with every kind of wrong credentials and with
//! another tenant's ids. An operation that is added is called without being listed here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use touchline_tests::client::{Client, Socket, answered};
use touchline_tests::scenarios::crowd;
use touchline_tests::server::{Account, Server};

const SECRET: &str = "a secret of this test, at least thirty-two bytes";
/// In every name and text of the owner: no other tenant may ever see it.
const MARK: &str = "zq9-owners-own";

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Least {
    Open,
    Viewer,
    Editor,
    Admin,
    Operator,
}

struct Operation {
    method: Method,
    /// As in the document, below the server.
    path: String,
    least: Least,
}

impl Operation {
    fn has_ids(&self) -> bool {
        self.path.contains('{')
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What `docs/api.md` promises: viewers read, editors also write, admins also run people, keys and webhooks, operators all
/// under `/admin`.
fn least(method: &Method, path: &str, open: bool) -> Least {
    if open {
        return Least::Open;
    }
    let path = path.trim_start_matches("/api/v1");
    let begins = |roots: &[&str]| roots.iter().any(|root| path.starts_with(root));
    if begins(&["/admin/"]) {
        Least::Operator
    } else if begins(&["/users", "/api-keys", "/webhooks"]) {
        Least::Admin
    } else if begins(&["/ws-tickets", "/auth/logout", "/me"]) {
        Least::Viewer
    } else if begins(&["/uploads"]) || !matches!(*method, Method::GET | Method::HEAD) {
        Least::Editor
    } else {
        Least::Viewer
    }
}

fn operations(document: &Value) -> Result<Vec<Operation>> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().context("paths")? {
        for (method, operation) in item.as_object().context("a path")? {
            let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else { continue };
            if operation.get("operationId").is_none() {
                continue;
            }
            // An operation says `security: [{}]` where the document's bearer does not hold.
            let open = operation["security"].as_array().is_some_and(|rules| rules.contains(&json!({})));
            all.push(Operation { least: least(&method, path, open), method, path: path.clone() });
        }
    }
    Ok(all)
}

/// The owner's things, by the path they are found under.
struct Things(BTreeMap<&'static str, String>);

impl Things {
    /// The path with the owner's ids in it.
    fn fill(&self, path: &str) -> Result<String> {
        let mut filled = path.to_owned();
        if filled.contains("{delivery_id}") {
            filled = filled.replace("{delivery_id}", &self.0["deliveries"]);
        }
        if filled.contains("{version}") {
            filled = filled.replace("{version}", "1");
        }
        if filled.contains("{id}") {
            let root = filled.trim_start_matches("/api/v1/").split("/{id}").next().unwrap_or_default().to_owned();
            let id = self.0.get(root.as_str()).with_context(|| format!("this test knows no id for {path}"))?;
            filled = filled.replace("{id}", id);
        }
        ensure!(!filled.contains('{'), "this test knows no id for {path}");
        Ok(filled)
    }
}

/// A body that the operation can read, so that what it answers is about the id.
fn body(path: &str) -> Value {
    match path.trim_start_matches("/api/v1") {
        "/videos/{id}/clips" => json!({"start": 0, "end": 1}),
        "/videos/{id}/detections/frame" => json!({"frame": 0}),
        _ => json!({}),
    }
}

struct Caller {
    http: reqwest::Client,
    server: String,
    /// Everything answered to strangers, to be searched for what is the owner's.
    seen: Vec<(String, String)>,
}

impl Caller {
    fn request(&self, operation: &Operation, path: &str, token: Option<&str>) -> RequestBuilder {
        let request = self.http.request(operation.method.clone(), format!("{}{path}", self.server));
        let request = request.header("Tus-Resumable", "1.0.0").header("If-Match", "*").header("Upload-Offset", "0");
        let request = match operation.path.starts_with("/api/v1/uploads") {
            true => request.header("Content-Type", "application/offset+octet-stream").header("Upload-Length", "9"),
            false => request.json(&body(&operation.path)),
        };
        token.into_iter().fold(request, |request, token| request.bearer_auth(token))
    }

    /// Calls an operation as a stranger and remembers all that was said.
    async fn call(&mut self, who: &str, operation: &Operation, path: &str, token: Option<&str>) -> Result<StatusCode> {
        let answer = self.request(operation, path, token).send().await?;
        let status = answer.status();
        let headers = format!("{:?}", answer.headers());
        let body = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
        if status.is_client_error() && operation.method != Method::HEAD {
            let problem: Value =
                serde_json::from_str(&body).with_context(|| format!("{}: {body}", operation.name()))?;
            ensure!(problem["status"] == status.as_u16(), "{} {who}: {problem}", operation.name());
        }
        self.seen.push((format!("{} {who}", operation.name()), format!("{headers}{body}")));
        Ok(status)
    }
}

fn signed(claims: &Value, secret: &str) -> Result<String> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)?)
}

fn claims(account: &Account, role: &str, expires_in: i64) -> Value {
    let now = Utc::now().timestamp();
    json!({"iss": "touchline", "aud": "touchline-api", "sub": account.id, "tid": account.tenant_id, "role": role,
        "jti": "01890000-0000-7000-8000-000000000001", "iat": now, "exp": now + expires_in})
}

/// Tokens that hold nowhere.
fn worthless(owner: &Account) -> Result<Vec<(&'static str, Option<String>)>> {
    let good = claims(owner, "operator", 600);
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(good.to_string())
    );
    let mut foreign = good.clone();
    foreign["iss"] = json!("https://elsewhere.example");
    Ok(vec![
        ("no token", None),
        ("an expired token", Some(signed(&claims(owner, "operator", -3600), SECRET)?)),
        ("an unsigned token", Some(unsigned)),
        ("a foreign issuer's token", Some(signed(&foreign, SECRET)?)),
        ("a token of another secret", Some(signed(&good, "another secret, of thirty-two bytes at least")?)),
        ("a made-up API key", Some(format!("tl_{}", "A".repeat(43)))),
        ("nonsense", Some("nonsense".to_owned())),
    ])
}

async fn client(server: &Server, tenant: &str, name: &str, role: &str) -> Result<(Account, Client)> {
    let account = server.account(tenant, &format!("{name}@{tenant}.example"), role)?;
    let client = Client::log_in(&server.url(), &account.email, &account.password).await?;
    Ok((account, client))
}

async fn made(client: &Client, path: &str, body: Value) -> Result<String> {
    let made: Value = client.post(path, &body).await.with_context(|| path.to_owned())?;
    Ok(made["id"].as_str().with_context(|| format!("{path} gives no id"))?.to_owned())
}

/// One of everything that a tenant can have.
async fn things(server: &Server, owner: &Client, account: &Account) -> Result<Things> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(format!("{MARK}.mp4"));
    crowd::footage(&file, 2)?;
    let video = owner.upload(&file, 1 << 20, |_, _| {}).await?.id;
    let upload = owner.create_upload(1000, &format!("{MARK}.mp4")).await?;
    let spec = json!({"kind": "framing", "clips": [{"video_id": video, "start": 0, "end": 1, "name": MARK}],
        "output": {"width": 270, "height": 480, "fps": 10}, "upscale": {"mode": "lanczos"}});
    let export = owner.render(&spec, |_| {}).await?.id;
    let clip = made(owner, &format!("/videos/{video}/clips"), json!({"start": 0, "end": 1, "name": MARK})).await?;
    let reel = made(owner, "/reels", json!({"name": MARK})).await?;
    let link = made(owner, &format!("/exports/{export}/links"), json!({})).await?;
    let webhook = made(owner, "/webhooks", json!({"url": format!("https://{MARK}.example/hook")})).await?;
    let delivery = made(owner, &format!("/webhooks/{webhook}/test"), json!({})).await?;
    let key = made(owner, "/api-keys", json!({"name": MARK, "scopes": ["read"]})).await?;
    let user = server.account("owner", &format!("{MARK}@owner.example"), "viewer")?.id;
    let upload = upload.rsplit('/').next().context("an upload's id")?.to_owned();
    Ok(Things(BTreeMap::from([
        ("videos", video),
        ("uploads", upload),
        ("exports", export.clone()),
        ("clips", clip),
        ("reels", reel),
        ("links", link),
        ("webhooks", webhook),
        ("deliveries", delivery),
        ("api-keys", key),
        ("users", user.clone()),
        ("admin/users", user),
        ("admin/tenants", account.tenant_id.clone()),
        ("admin/exports", export),
        ("admin/devices", "sim:0".to_owned()),
        ("admin/models", "nanodet-g".to_owned()),
    ])))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_refuses_other_tenants() -> Result<()> {
    let (server, operator) = crowd::server_with(1, 1.0, &[("TOUCHLINE__AUTH__SECRET", SECRET)]).await?;
    let (owner_account, owner) = client(&server, "owner", "boss", "admin").await?;
    let things = things(&server, &owner, &owner_account).await?;
    let (_, rival) = client(&server, "rival", "boss", "admin").await?;
    let (_, viewer) = client(&server, "rival", "viewer", "viewer").await?;
    let (_, editor) = client(&server, "rival", "editor", "editor").await?;
    let (gone, suspended) = client(&server, "gone", "boss", "admin").await?;
    let mut keys = BTreeMap::new();
    for scope in ["read", "write"] {
        let key: Value = rival.post("/api-keys", &json!({"name": scope, "scopes": [scope]})).await?;
        keys.insert(scope, key["key"].as_str().context("a key")?.to_owned());
    }
    let request = operator.request(Method::PATCH, &format!("/admin/tenants/{}", gone.tenant_id));
    answered(request.json(&json!({"state": "suspended"})).send().await?).await?;

    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let document: Value = http.get(format!("{}/api/v1/openapi.json", server.url())).send().await?.json().await?;
    let all = operations(&document)?;
    ensure!(all.len() > 80, "the document has {} operations", all.len());
    let mut caller = Caller { http, server: server.url(), seen: Vec::new() };

    // 401 comes first, then 403, whatever tenant's ids they are.
    let worthless = worthless(&owner_account)?;
    let lesser = [
        ("a viewer", viewer.token(), Least::Viewer),
        ("a read-only key", &keys["read"], Least::Viewer),
        ("an editor", editor.token(), Least::Editor),
        ("a writing key", &keys["write"], Least::Editor),
        ("an admin", rival.token(), Least::Admin),
    ];
    let mut wrong = Vec::new();
    for operation in all.iter().filter(|operation| operation.least > Least::Open) {
        let path = things.fill(&operation.path)?;
        let mut expect = async |who: &str, token: Option<&str>, expected: u16| -> Result<()> {
            let status = caller.call(who, operation, &path, token).await?;
            if status.as_u16() != expected {
                wrong.push(format!("{} with {who}: {status} instead of {expected}", operation.name()));
            }
            Ok(())
        };
        for (who, token) in &worthless {
            expect(who, token.as_deref(), 401).await?;
        }
        expect("a suspended tenant's token", Some(suspended.token()), 403).await?;
        for (who, token, right) in lesser {
            if right < operation.least {
                expect(who, Some(token), 403).await?;
            } else if operation.has_ids() {
                // Every right there is, in another tenant.
                expect(&format!("{who} of another tenant"), Some(token), 404).await?;
            }
        }
    }
    ensure!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));

    // What another tenant may read of its own, and what is public, has nothing of the owner's.
    for operation in all.iter().filter(|operation| !operation.has_ids() && operation.method == Method::GET) {
        if operation.least < Least::Operator && !operation.path.ends_with("/ws") {
            let status = caller.call("the rival", operation, &operation.path, Some(rival.token())).await?;
            ensure!(status.is_success(), "{}: {status}", operation.name());
        }
    }
    let secrets: BTreeSet<&str> =
        things.0.iter().filter(|(kind, _)| !kind.starts_with("admin/")).map(|(_, id)| id.as_str()).collect();
    for (call, said) in &caller.seen {
        for secret in secrets.iter().copied().chain([MARK, owner_account.tenant_id.as_str()]) {
            ensure!(!said.contains(secret), "{call} shows {secret}: {said}");
        }
    }
    sockets(&rival, &owner, &things).await?;

    // And nothing of the owner's was touched.
    for kind in ["videos", "exports", "clips", "reels", "links", "webhooks", "api-keys", "users"] {
        owner
            .get::<Value>(&format!("/{kind}/{}", things.0[kind]))
            .await
            .with_context(|| format!("the owner's {kind}"))?;
    }
    assert_eq!(owner.upload_offset(&format!("/uploads/{}", things.0["uploads"])).await?, 0);
    Ok(())
}

/// A stranger's socket hears nothing, neither of one export nor of all.
async fn sockets(rival: &Client, owner: &Client, things: &Things) -> Result<()> {
    let mut one = rival.listen(&things.0["exports"]).await?;
    let refusal = next_text(&mut one).await?;
    assert_eq!(refusal["type"], "error", "{refusal}");
    let mut everything = rival.listen("*").await?;
    let spec = json!({"kind": "clip", "video_id": things.0["videos"], "start": 0, "end": 1});
    owner.render(&spec, |_| {}).await?;
    // What comes after the owner's export has ended is the answer to this, and nothing came before it.
    everything.send(Message::text(json!({"type": "subscribe", "export_id": "nonsense"}).to_string())).await?;
    let answer = next_text(&mut everything).await?;
    assert_eq!(answer["type"], "error", "{answer}");
    Ok(())
}

/// The next message; pings are none.
async fn next_text(socket: &mut Socket) -> Result<Value> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            return Ok(serde_json::from_str(&text)?);
        }
    }
    bail!("the socket closed")
}
