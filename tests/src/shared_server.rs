//! Servers that the tests of one process share, each test with tenants of its own.
//!
//! A test may share a server when all it reads and changes belongs to its tenants: no settings of the deployment, no
//! metrics over all tenants, no files of the data folder, no restart. Names of tenants and e-mail addresses are the
//! deployment's, so each test makes its own by [`unique`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::client::Client;
use crate::server::Server;

/// The first operator of a [`shared_server`].
pub const OPERATOR: (&str, &str) = ("operator@deployment.example", "run the deployment");
/// What a [`shared_server`] signs with.
pub const SECRET: &str = "a secret for tests that has more than 32 bytes";
/// The longest upload that a [`shared_server`] accepts, in bytes.
pub const UPLOAD_BYTES: u64 = 3_000_000;

/// One simulated device, and what tests have to know of a server to check what it answers.
const VARIABLES: [(&str, &str); 6] = [
    ("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#),
    ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "1.0"),
    ("TOUCHLINE__AUTH__SECRET", SECRET),
    ("TOUCHLINE__LIMITS__UPLOAD_BYTES", "3000000"),
    ("TOUCHLINE_ADMIN_EMAIL", OPERATOR.0),
    ("TOUCHLINE_ADMIN_PASSWORD", OPERATOR.1),
];

/// The server of this process, started when the first test asks for it. It ends with the process.
///
/// # Errors
/// When it cannot be started; the next test tries again.
pub async fn shared_server() -> Result<&'static Server> {
    shared_server_with(&[]).await
}

/// The server of this process that has these further variables in its environment.
pub async fn shared_server_with(further: &[(&str, &str)]) -> Result<&'static Server> {
    type Servers = HashMap<Vec<(String, String)>, &'static OnceCell<Server>>;
    static SERVERS: OnceLock<Mutex<Servers>> = OnceLock::new();
    let variables: Vec<_> = VARIABLES.iter().chain(further).copied().collect();
    let key = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let cell = {
        let mut servers = SERVERS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        *servers.entry(key).or_insert_with(|| Box::leak(Box::default()))
    };
    let start = async || {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = services::temporary_folder().join(format!("shared-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        Server::start_in(&folder, &variables).await
    };
    cell.get_or_try_init(start).await
}

/// The first operator of the [`shared_server`], logged in.
pub async fn shared_operator() -> Result<Client> {
    Client::log_in(&shared_server().await?.url(), OPERATOR.0, OPERATOR.1).await
}

/// `name` and a number that no other call in this process gets.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
