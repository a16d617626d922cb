//! A port that stays while the servers behind it come and go, as a proxy's does.

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Forwards connections until it is dropped.
pub struct Forward {
    address: String,
    behind: Arc<Mutex<String>>,
    accepting: JoinHandle<()>,
}

impl Forward {
    /// Takes a free port for the server at `behind` (`127.0.0.1:PORT`).
    pub async fn to(behind: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let behind = Arc::new(Mutex::new(behind.to_owned()));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&behind)));
        Ok(Self { address, behind, accepting })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends further connections to another server.
    pub fn turn_to(&self, behind: &str) {
        *lock(&self.behind) = behind.to_owned();
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, behind: Arc<Mutex<String>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let server = lock(&behind).clone();
        tokio::spawn(async move {
            // Without a server the client's connection is closed, and so it is when either side ends it.
            if let Ok(mut server) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

fn lock(behind: &Mutex<String>) -> MutexGuard<'_, String> {
    behind.lock().expect("no code panics while it holds this lock")
}
