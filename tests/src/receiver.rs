//! A small HTTP server on a free port that keeps what it is sent and answers as configured: the other side of
//! webhooks.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long a request is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    /// By name in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Received {
    /// A header that must be there.
    pub fn header(&self, name: &str) -> Result<&str> {
        self.headers.get(name).map(String::as_str).with_context(|| format!("the request has no {name}"))
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// What to answer; the last one holds for all further requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// Elsewhere, by a redirect to a path of its own.
    Redirect,
    /// Nothing, for as long as the connection lasts.
    Silence,
}

/// See the [module](self). Listens as long as the test lives.
pub struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Receiver {
    /// Listens on a free port, answering 204.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let answers = Arc::new(Mutex::new(VecDeque::from([Answer::Status(204)])));
        let (kept, given) = (Arc::clone(&received), Arc::clone(&answers));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (kept, given) = (Arc::clone(&kept), Arc::clone(&given));
                tokio::spawn(async move {
                    // A request that is cut off is not kept.
                    let _ = serve(connection, &kept, &given).await;
                });
            }
        });
        Ok(Self { port, received, answers })
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What to answer from now on, one after the other.
    pub fn answer(&self, answers: &[Answer]) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers.iter().copied().collect();
    }

    /// Everything that came so far.
    pub fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many requests have come, and returns all.
    pub async fn wait(&self, count: usize) -> Result<Vec<Received>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.all();
            if all.len() >= count {
                return Ok(all);
            }
            if Instant::now() > deadline {
                bail!("{} of {count} requests came", all.len());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn serve(connection: TcpStream, kept: &Mutex<Vec<Received>>, answers: &Mutex<VecDeque<Answer>>) -> Result<()> {
    let mut stream = BufReader::new(connection);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).context("no path")?.to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length: usize = headers.get("content-length").map_or(Ok(0), |length| length.parse())?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(Received { path, headers, body });
        let answer = {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let first = answers.front().copied().unwrap_or(Answer::Status(204));
            if answers.len() > 1 {
                answers.pop_front();
            }
            first
        };
        let answer = match answer {
            Answer::Status(status) => format!("HTTP/1.1 {status} Configured\r\nContent-Length: 0\r\n\r\n"),
            Answer::Redirect => {
                "HTTP/1.1 307 Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
            Answer::Silence => {
                // Until the other side gives up.
                let _ = stream.read_u8().await;
                return Ok(());
            }
        };
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}
