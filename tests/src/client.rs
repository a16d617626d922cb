//! A small typed client of the HTTP API: what the demo and the end-to-end tests say to a server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use edits::FrameDetections;
use futures_util::{SinkExt, StreamExt};
use reqwest::header::{ETAG, HeaderMap, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::server::metrics;

/// One user's view of a server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

/// A refusal of the server: its status and problem object.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub problem: Value,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answers {}: {}", self.status, self.problem)
    }
}

impl std::error::Error for Refusal {}

/// A video.
#[derive(Debug, Clone, Deserialize)]
pub struct Video {
    pub id: String,
    pub name: String,
    pub state: String,
    pub bytes: u64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub duration: Option<f64>,
    pub problem: Option<Value>,
}

/// An export, as its resource.
#[derive(Debug, Clone, Deserialize)]
pub struct Export {
    pub id: String,
    pub state: String,
    pub progress: f64,
    pub frames_done: u64,
    pub frames_total: u64,
    pub frames_inferred: u64,
    pub fps: f64,
    pub attempt: i32,
    pub device_seconds: f64,
    pub warnings: Vec<String>,
    pub problem: Option<Value>,
    pub report: Option<Value>,
    pub simulated: bool,
}

/// An open WebSocket.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A progress message of the WebSocket.
#[derive(Debug, Clone, Deserialize)]
pub struct Progress {
    pub seq: u64,
    pub export_id: String,
    pub state: String,
    pub progress: f64,
    pub frames_done: u64,
    pub frames_total: u64,
    pub fps: f64,
    pub eta_seconds: Option<f64>,
    pub message: String,
}

impl Progress {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        is_terminal(&self.state)
    }
}

/// Whether an export in this state is over.
pub fn is_terminal(state: &str) -> bool {
    matches!(state, "complete" | "failed" | "cancelled")
}

/// Stored detections.
#[derive(Debug, Clone, Deserialize)]
pub struct Detections {
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub model: Option<String>,
    pub frames: Vec<FrameDetections>,
}

/// What reading detections gave.
#[derive(Debug)]
pub enum Read<T> {
    /// The representation, its entity tag and its bytes.
    Fresh { value: T, etag: String, body: Vec<u8> },
    /// The client's own is still right.
    NotModified,
}

const POLL: Duration = Duration::from_millis(50);

impl Client {
    /// Logs in by e-mail address and password.
    pub async fn log_in(server: &str, email: &str, password: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Tokens {
            access_token: String,
        }
        let mut client = Self::with_token(server, "");
        let credentials = json!({"email": email, "password": password});
        let request = client.http.post(client.path("/auth/token")).json(&credentials);
        let tokens: Tokens = answered(request.send().await?).await?.json().await?;
        client.token = tokens.access_token;
        Ok(client)
    }

    /// A client with a token of the caller's.
    pub fn with_token(server: &str, token: &str) -> Self {
        Self { http: reqwest::Client::new(), server: server.to_owned(), token: token.to_owned() }
    }

    /// The same user at a server that was started again elsewhere.
    pub fn at(&self, server: &str) -> Self {
        Self { server: server.to_owned(), ..self.clone() }
    }

    /// The access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.server)
    }

    /// A request with the client's token; `path` is below `/api/v1`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.path(path)).bearer_auth(&self.token)
    }

    /// The JSON at `path`.
    ///
    /// # Errors
    /// A [`Refusal`] for every answer that is not a success.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(answered(self.request(Method::GET, path).send().await?).await?.json().await?)
    }

    /// Posts JSON and reads JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        Ok(answered(self.request(Method::POST, path).json(body).send().await?).await?.json().await?)
    }

    /// Uploads a file by tus in pieces of at most `piece` bytes and waits until the video is ready. `sent` hears how
    /// many bytes of how many the server has.
    pub async fn upload(&self, file: &Path, piece: usize, sent: impl FnMut(u64, u64)) -> Result<Video> {
        let id = self.send(file, piece, sent).await?;
        loop {
            let video = self.video(&id).await?;
            match video.state.as_str() {
                "processing" => tokio::time::sleep(POLL).await,
                "ready" => return Ok(video),
                state => bail!("the video is {state}: {:?}", video.problem),
            }
        }
    }

    /// The pieces of an upload; the id of the video it becomes.
    pub async fn send(&self, file: &Path, piece: usize, mut sent: impl FnMut(u64, u64)) -> Result<String> {
        ensure!(piece > 0, "a piece has at least one byte");
        let mut source = tokio::fs::File::open(file).await.with_context(|| format!("opening {}", file.display()))?;
        let length = source.metadata().await?.len();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let location = self.create_upload(length, &name).await?;
        let mut offset = 0;
        let mut buffer = vec![0; piece];
        while offset < length {
            let wanted = piece.min(usize::try_from(length - offset).unwrap_or(piece));
            source.read_exact(&mut buffer[..wanted]).await?;
            offset = self.send_piece(&location, offset, buffer[..wanted].to_vec()).await?;
            sent(offset, length);
        }
        let id = location.rsplit('/').next().context("the upload's location has no id")?;
        Ok(id.to_owned())
    }

    /// Announces an upload of `length` bytes; its path below `/api/v1`.
    pub async fn create_upload(&self, length: u64, name: &str) -> Result<String> {
        let metadata = format!("filename {}", STANDARD.encode(name));
        let request = self.request(Method::POST, "/uploads").header("Tus-Resumable", "1.0.0");
        let request = request.header("Upload-Length", length).header("Upload-Metadata", metadata);
        let answer = answered(request.send().await?).await?;
        let location = header(answer.headers(), LOCATION.as_str())?;
        let path = location.split("/api/v1").last().unwrap_or_default();
        Ok(path.to_owned())
    }

    /// Sends one piece; the offset the server has afterwards.
    pub async fn send_piece(&self, location: &str, offset: u64, bytes: Vec<u8>) -> Result<u64> {
        let request = self.request(Method::PATCH, location).header("Tus-Resumable", "1.0.0");
        let request = request.header("Upload-Offset", offset).header("Content-Type", "application/offset+octet-stream");
        let answer = answered(request.body(bytes).send().await?).await?;
        Ok(header(answer.headers(), "upload-offset")?.parse()?)
    }

    /// How many bytes of an upload the server has.
    pub async fn upload_offset(&self, location: &str) -> Result<u64> {
        let request = self.request(Method::HEAD, location).header("Tus-Resumable", "1.0.0");
        let answer = answered(request.send().await?).await?;
        Ok(header(answer.headers(), "upload-offset")?.parse()?)
    }

    /// Reads a video.
    pub async fn video(&self, id: &str) -> Result<Video> {
        self.get(&format!("/videos/{id}")).await
    }

    /// Starts an export.
    pub async fn start(&self, spec: &Value) -> Result<Export> {
        self.post("/exports", spec).await
    }

    /// Starts an export; repeated with the same key, the same one.
    pub async fn start_once(&self, spec: &Value, key: &str) -> Result<Export> {
        let request = self.request(Method::POST, "/exports").header("Idempotency-Key", key).json(spec);
        Ok(answered(request.send().await?).await?.json().await?)
    }

    /// Reads an export.
    pub async fn export(&self, id: &str) -> Result<Export> {
        self.get(&format!("/exports/{id}")).await
    }

    /// Starts an export, follows it by WebSocket and returns it complete.
    ///
    /// # Errors
    /// With its problem object when it ends otherwise.
    pub async fn render(&self, spec: &Value, heard: impl FnMut(&Progress)) -> Result<Export> {
        let started = self.start(spec).await?;
        self.watch(&started.id, heard).await?;
        let export = self.export(&started.id).await?;
        ensure!(export.state == "complete", "the export is {}: {:?}", export.state, export.problem);
        Ok(export)
    }

    /// Opens a WebSocket and subscribes to an export, or to all of the tenant's (`*`).
    pub async fn listen(&self, export: &str) -> Result<Socket> {
        let ticket: Value = self.post("/ws-tickets", &Value::Null).await?;
        let ticket = ticket["ticket"].as_str().context("the server gave no ticket")?;
        let address = self.server.replacen("http", "ws", 1);
        let (mut socket, _) = connect_async(format!("{address}/api/v1/ws?ticket={ticket}")).await?;
        let subscribe = json!({"type": "subscribe", "export_id": export});
        socket.send(Message::text(subscribe.to_string())).await?;
        Ok(socket)
    }

    /// Follows an export by WebSocket to its end; `heard` gets every message.
    pub async fn watch(&self, export: &str, mut heard: impl FnMut(&Progress)) -> Result<Progress> {
        let mut socket = self.listen(export).await?;
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message? else { continue };
            let message: Value = serde_json::from_str(&text)?;
            ensure!(message["type"] == "progress", "the server says {message}");
            let progress: Progress = serde_json::from_value(message)?;
            heard(&progress);
            if progress.is_last() {
                socket.close(None).await?;
                return Ok(progress);
            }
        }
        bail!("the server closed the WebSocket before export {export} had ended")
    }

    /// Downloads an export's result to `file`; its size.
    pub async fn download(&self, export: &str, file: &Path) -> Result<u64> {
        let request = self.request(Method::GET, &format!("/exports/{export}/file"));
        let mut answer = answered(request.send().await?).await?;
        let mut target = tokio::fs::File::create(file).await.with_context(|| format!("creating {}", file.display()))?;
        let mut bytes = 0;
        while let Some(chunk) = answer.chunk().await? {
            target.write_all(&chunk).await?;
            bytes += chunk.len() as u64;
        }
        target.flush().await?;
        Ok(bytes)
    }

    /// Reads an export's stored detections, unless they are still those of `etag`.
    pub async fn detections(&self, export: &str, etag: Option<&str>) -> Result<Read<Detections>> {
        let mut request = self.request(Method::GET, &format!("/exports/{export}/detections"));
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let answer = request.send().await?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Read::NotModified);
        }
        let answer = answered(answer).await?;
        let etag = header(answer.headers(), ETAG.as_str())?;
        let body = answer.bytes().await?.to_vec();
        Ok(Read::Fresh { value: serde_json::from_slice(&body)?, etag, body })
    }

    /// The value of a metric without labels, or the sum over its labels; 0 when it was never counted.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        self.metric_of(name, &[]).await
    }

    /// The sum of a metric over the series that have all of `labels`.
    pub async fn metric_of(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let text = metrics(&self.server).await?;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let has = |(label, value): &(&str, &str)| series.contains(&format!("{label}=\"{value}\""));
            let same = series.split('{').next() == Some(name) && labels.iter().all(has);
            if same { value.parse::<f64>().ok() } else { None }
        });
        // An empty sum is -0.
        Ok(values.sum::<f64>() + 0.0)
    }
}

/// The answer, or the [`Refusal`] it is.
pub async fn answered(answer: Response) -> Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.text().await?;
    let problem = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Err(Refusal { status, problem }.into())
}

fn header(headers: &HeaderMap, name: &str) -> Result<String> {
    let value = headers.get(name).with_context(|| format!("the answer has no {name}"))?;
    Ok(value.to_str()?.to_owned())
}
