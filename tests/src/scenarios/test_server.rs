//! A club with a video on a server of its own, which scenarios kill, restart and copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::client::{Client, Export, is_terminal};
use crate::rows::Rows;
use crate::server::{self, Account, Server};

/// See the [module](self).
pub struct TestServer {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    token: String,
    server: Option<Server>,
    /// The client of the tenant, at the server that runs now; where none has run yet, it reaches nothing.
    pub club: Client,
    /// Removed with the server.
    _owned: Option<TempDir>,
}

/// How long an export may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(10);
/// How long a change may take that is waited for with [`TestServer::until`].
const CHANGE: Duration = Duration::from_secs(60);

impl TestServer {
    /// A new server with a tenant and an editor of it.
    pub async fn open(variables: &[(&str, &str)]) -> Result<Self> {
        let owned = tempfile::tempdir()?;
        let mut server = Self::open_in(owned.path(), variables).await?;
        server._owned = Some(owned);
        Ok(server)
    }

    /// [`TestServer::open`] in a folder of the caller's.
    pub async fn open_in(folder: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        let variables = with_long_tokens(variables);
        let server = start(folder, &variables, None).await?;
        let account = server.account("club", "coach@club.example", "editor")?;
        let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
        let token = club.token().to_owned();
        Ok(Self { folder: folder.to_owned(), variables, token, server: Some(server), club, _owned: None })
    }

    /// The same data on another server with these variables, which does not run yet. This server must not run either.
    pub fn copy(&self, variables: &[(&str, &str)]) -> Result<Self> {
        ensure!(self.server.is_none(), "a running server's data cannot be copied");
        let owned = tempfile::tempdir()?;
        copy_folder(&self.folder, owned.path())?;
        server::separate_backends(owned.path())?;
        let (folder, token) = (owned.path().to_owned(), self.token.clone());
        let club = Client::with_token("", &token);
        Ok(Self { folder, variables: with_long_tokens(variables), token, server: None, club, _owned: Some(owned) })
    }

    /// Replaces the variables of the server from its next start on.
    pub fn set(&mut self, variables: &[(&str, &str)]) {
        self.variables = with_long_tokens(variables);
    }

    /// Starts the server again, killing the one that runs. `faults` are what `FAILPOINTS` says.
    pub async fn restart(&mut self, faults: Option<&str>) -> Result<()> {
        self.kill()?;
        let server = start(&self.folder, &self.variables, faults).await?;
        self.club = Client::with_token(&server.url(), &self.token);
        self.server = Some(server);
        Ok(())
    }

    /// Kills the server as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |mut server| server.kill())
    }

    /// Stops the server as an operator would.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        ensure!(server.stop()?.success(), "the server did not stop cleanly: {}", server.log());
        Ok(())
    }

    /// Whether the server ends by itself within `patience`.
    pub async fn dies_within(&mut self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.server.as_mut().map_or(Ok(true), Server::has_ended)? {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(false)
    }

    /// What the server that runs, or ran last, logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stderr.log")).unwrap_or_default()
    }

    /// Makes a tenant and a user of it.
    pub fn account(&self, tenant: &str, email: &str, role: &str) -> Result<Account> {
        self.running()?.account(tenant, email, role)
    }

    /// Where the server answers.
    pub fn url(&self) -> Result<String> {
        Ok(self.running()?.url())
    }

    /// The process id of the server.
    pub fn id(&self) -> Result<u32> {
        Ok(self.running()?.id())
    }

    fn running(&self) -> Result<&Server> {
        self.server.as_ref().context("no server runs")
    }

    /// The server's `data_dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's rows.
    pub async fn rows(&self) -> Result<Rows> {
        Rows::open(&self.database_url()?).await
    }

    /// Where the server's rows are.
    pub fn database_url(&self) -> Result<String> {
        let variables: Vec<_> = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        server::database_url(&self.folder, &variables)
    }

    /// The bytes of an export's result.
    pub async fn result(&self, export: &str) -> Result<Vec<u8>> {
        let file = self.folder.join("download");
        self.club.download(export, &file).await?;
        Ok(fs::read(&file)?)
    }

    /// Waits until something of the server is so, and looks at it so often.
    pub async fn until(&self, every: Duration, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + CHANGE;
        while !is_so()? {
            ensure!(Instant::now() < deadline, "nothing changes: {}", self.log());
            tokio::time::sleep(every).await;
        }
        Ok(())
    }

    /// Waits for an export's end, whatever it is.
    pub async fn ended(&self, export: &str) -> Result<Export> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let export = self.club.export(export).await?;
            if is_terminal(&export.state) {
                return Ok(export);
            }
            ensure!(Instant::now() < deadline, "export {} stays {}: {}", export.id, export.state, self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits for an export's good end.
    pub async fn completed(&self, export: &str) -> Result<Export> {
        let export = self.ended(export).await?;
        if export.state != "complete" {
            bail!("export {} is {}: {:?}", export.id, export.state, export.problem);
        }
        Ok(export)
    }

    /// Files below `data_dir` that no row accounts for. Waits some seconds for a sweep to take them.
    pub async fn orphans(&self) -> Result<Vec<String>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = orphans(&self.data_dir(), &self.rows().await?).await?;
            if found.is_empty() || Instant::now() > deadline {
                return Ok(found);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The variables, and one that lets the token outlive every restart.
fn with_long_tokens(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let all = variables.iter().chain(&[("TOUCHLINE__AUTH__ACCESS_MINUTES", "1440")]);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn start(folder: &Path, variables: &[(String, String)], faults: Option<&str>) -> Result<Server> {
    let mut all: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(faults.map(|faults| ("FAILPOINTS", faults)));
    Server::start_in(folder, &all).await
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Files of a server that are not its media: rows, secret, lock.
const OWN: [&str; 5] = ["touchline.db", "touchline.db-wal", "touchline.db-shm", "lock", "secret"];

/// Beginnings of keys in the storage that no row accounts for: its marks, and files that were set aside.
const OWN_MEDIA: [&str; 2] = [".touchline", "lost+found/"];

async fn orphans(data_dir: &Path, rows: &Rows) -> Result<Vec<String>> {
    let (files, uploads) = (rows.files().await?, rows.uploads().await?);
    let mut found = Vec::new();
    let mut folders = vec![data_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        // A folder may be removed while it is read.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            let name = path.strip_prefix(data_dir)?.to_string_lossy().into_owned();
            let accounted = match name.split_once('/') {
                None => OWN.contains(&name.as_str()),
                Some(("media", key)) => OWN_MEDIA.iter().any(|own| key.starts_with(own)) || files.contains(key),
                Some(("uploads", file)) => {
                    let id = file.rsplit('/').next().and_then(|name| name.parse().ok());
                    id.is_some_and(|id| uploads.contains(&id))
                }
                Some(_) => false,
            };
            if !accounted {
                found.push(name);
            }
        }
    }
    Ok(found)
}
