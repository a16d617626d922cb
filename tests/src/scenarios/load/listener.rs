//! A browser tab of the crowd: it hears of every export of its tenant.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Socket, is_terminal};

/// A WebSocket that is read for ever.
pub struct Listener {
    /// Which club's.
    pub place: usize,
    heard: Arc<Mutex<Heard>>,
    reading: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    /// How far each export was, that has not ended.
    progress: HashMap<String, f64>,
    ended: HashSet<String>,
    fault: Option<String>,
}

/// The fields of a message that are checked.
#[derive(Deserialize)]
struct ProgressMessage<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    export_id: &'a str,
    #[serde(borrow)]
    state: &'a str,
    progress: f64,
}

impl Listener {
    /// Subscribes to all exports of the client's tenant.
    pub async fn open(place: usize, client: &Client) -> Result<Self> {
        let socket = client.listen("*").await?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let reading = tokio::spawn(read(socket, Arc::clone(&heard)));
        Ok(Self { place, heard, reading })
    }

    /// Of how many of `ended` it has not heard the end.
    pub fn missed(&self, ended: &HashSet<String>) -> usize {
        let heard = lock(&self.heard);
        ended.iter().filter(|id| !heard.ended.contains(*id)).count()
    }

    /// What should not have happened.
    pub fn fault(&self) -> Option<String> {
        lock(&self.heard).fault.clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(mut socket: Socket, heard: Arc<Mutex<Heard>>) {
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Text(text)) => lock(&heard).hear(&text),
            Ok(_) => {}
            Err(error) => lock(&heard).blame(format!("a socket broke: {error}")),
        }
    }
    lock(&heard).blame("a socket was closed".to_owned());
}

impl Heard {
    fn hear(&mut self, text: &str) {
        match serde_json::from_str::<ProgressMessage<'_>>(text) {
            Ok(message) if message.kind == "progress" => self.note(&message),
            _ => self.blame(format!("a message that is no progress: {text}")),
        }
    }

    fn note(&mut self, message: &ProgressMessage<'_>) {
        if is_terminal(message.state) {
            self.progress.remove(message.export_id);
            self.ended.insert(message.export_id.to_owned());
            return;
        }
        let before = self.progress.insert(message.export_id.to_owned(), message.progress).unwrap_or_default();
        if message.progress < before || self.ended.contains(message.export_id) {
            self.blame(format!("export {} goes back to {} ({})", message.export_id, message.progress, message.state));
        }
    }

    /// The first fault says most.
    fn blame(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().expect("no code panics while it holds this lock")
}
