//! The built program as a private server: its own data folder, a free port, stopped by its process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::process::{self, Signal};

/// A running server. It is killed when dropped, or when this process ends; [`Server::stop`] ends it as an operator would.
pub struct Server {
    child: Child,
    scheme: String,
    address: String,
    variables: Vec<(String, String)>,
    data: PathBuf,
    /// Removed with the server, unless the caller owns the folder.
    _folder: Option<TempDir>,
}

/// A user that was made by the command line.
#[derive(Debug, Deserialize)]
pub struct Account {
    pub id: String,
    pub tenant_id: String,
    pub email: String,
    pub password: String,
}

/// How long loading, measuring and warming the models may take at the first start.
const START_PATIENCE: Duration = Duration::from_secs(300);
/// A server stops within ten seconds; a busy machine gets some more.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

impl Server {
    /// Starts a server with `variables` in its environment and waits until it is ready.
    ///
    /// # Errors
    /// With the server's last words when it ends before it is ready.
    pub async fn start(variables: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut server = Self::start_in(folder.path(), variables).await?;
        server.keep(folder);
        Ok(server)
    }

    /// Removes the folder of its data with the server.
    pub fn keep(&mut self, folder: TempDir) {
        self._folder = Some(folder);
    }

    /// [`Server::start`] on data of an earlier server.
    pub async fn start_in(data: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::spawn(data, variables)?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts a server and waits only until it listens.
    pub fn spawn(data: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        let data_dir = data.join("data");
        std::fs::create_dir_all(data)?;
        let mut own = vec![
            ("TOUCHLINE__SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("TOUCHLINE__DATA_DIR".to_owned(), data_dir.display().to_string()),
            ("TOUCHLINE__SERVER__METRICS_TOKEN".to_owned(), METRICS_TOKEN.to_owned()),
        ];
        own.extend(backends(data, variables)?);
        own.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (stdout, stderr) = (data.join("stdout.log"), data.join("stderr.log"));
        let mut serve = process::command(&binary()?);
        serve.arg("serve").envs(own.iter().cloned()).stdin(Stdio::null());
        serve.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let child = process::spawn(serve).context("starting the server")?;
        let data = data.to_owned();
        let (scheme, address) = Default::default();
        let mut server = Self { child, scheme, address, variables: own, data, _folder: None };
        (server.scheme, server.address) = server.announced(&stdout)?;
        Ok(server)
    }

    /// Waits for `listening on SCHEME://ADDRESS`; both.
    fn announced(&mut self, stdout: &Path) -> Result<(String, String)> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let said = std::fs::read_to_string(stdout).unwrap_or_default();
            let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let announced = whole.filter_map(|line| line.trim().strip_prefix("listening on ")?.split_once("://"));
            if let Some((scheme, address)) = { announced }.next() {
                return Ok((scheme.to_owned(), address.to_owned()));
            }
            self.check_alive()?;
            ensure!(Instant::now() < deadline, "the server does not listen: {}", self.log());
            std::thread::sleep(POLL);
        }
    }

    async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        let url = format!("{}/readyz", self.url());
        while !reqwest::get(&url).await.is_ok_and(|answer| answer.status() == 200) {
            self.check_alive()?;
            ensure!(Instant::now() < deadline, "the server does not become ready: {}", self.log());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended with {status}: {}", self.log()),
            None => Ok(()),
        }
    }

    /// Whether the server is no more.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// `http://127.0.0.1:PORT`, or `https://` with TLS.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The server's `data_dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.data.join("data")
    }

    /// The server's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("stderr.log")).unwrap_or_default()
    }

    /// What the server printed.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.data.join("stdout.log")).unwrap_or_default()
    }

    /// The settings of the server, as the environment of its commands.
    pub fn environment(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Runs a command of the program with the server's settings.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary()?);
        command.args(arguments).envs(self.variables.iter().cloned()).stdin(Stdio::null());
        command.output().context("running touchline")
    }

    /// [`Server::command`] that must succeed; its JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "touchline {}: {}", arguments.join(" "), said.trim());
        serde_json::from_slice(&output.stdout).with_context(|| format!("the JSON of touchline {}", arguments.join(" ")))
    }

    /// Makes a tenant, unless it is there, and a user of it.
    pub fn account(&self, tenant: &str, email: &str, role: &str) -> Result<Account> {
        // One that is there is refused; where another reason makes it fail, so does the next command.
        self.command(&["tenant", "create", tenant])?;
        let user = self.json(&["user", "create", "--tenant", tenant, "--email", email, "--role", role])?;
        Ok(serde_json::from_value(user)?)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When the server is still there after three times the ten seconds it has.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        process::signal(&self.child, Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the server does not stop: {}", self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Kills the server as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The metrics of a server with the figures of each tenant, in the Prometheus text format.
pub async fn metrics(url: &str) -> Result<String> {
    let request = reqwest::Client::new().get(format!("{url}/metrics")).bearer_auth(METRICS_TOKEN);
    Ok(request.send().await?.text().await?)
}

/// What shows the figures of each tenant.
const METRICS_TOKEN: &str = "the metrics token of these tests";

/// The environment variable that lets servers use a private PostgreSQL and a private Redis when it is `shared`.
pub const BACKENDS: &str = "TOUCHLINE_TEST_BACKENDS";

/// The setting that says where rows are.
pub const DATABASE_URL: &str = "TOUCHLINE__DATABASE__URL";
const REDIS_URL: &str = "TOUCHLINE__REDIS__URL";
/// Remembers the settings of [`backends`] beside a server's data.
const KEPT_BACKENDS: &str = "backends.json";

/// Whether servers use a private PostgreSQL and Redis.
pub fn uses_shared_backends() -> bool {
    std::env::var_os(BACKENDS).is_some_and(|value| value == "shared")
}

/// The settings of PostgreSQL and Redis for a server on `data`, the same at each start on the same data; none when
/// backends are in the process, or `variables` say where rows are.
fn backends(data: &Path, variables: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
    if !uses_shared_backends() || variables.iter().any(|(name, _)| *name == DATABASE_URL) {
        return Ok(Vec::new());
    }
    let kept = data.join(KEPT_BACKENDS);
    if let Ok(text) = std::fs::read(&kept) {
        return Ok(serde_json::from_slice(&text)?);
    }
    let setting = |name: &str, value: String| (name.to_owned(), value);
    let settings = vec![
        setting(DATABASE_URL, services::fresh_database()),
        setting(REDIS_URL, services::fresh_redis()),
        setting("TOUCHLINE__AUTH__SECRET", "a secret that all nodes of a test share".to_owned()),
    ];
    std::fs::write(&kept, serde_json::to_vec(&settings)?)?;
    Ok(settings)
}

/// The URL of the rows of a server on `data` with `variables` in its environment.
pub fn database_url(data: &Path, variables: &[(&str, &str)]) -> Result<String> {
    let own = backends(data, variables)?;
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let url = own.chain(variables.iter().copied()).find(|(name, _)| *name == DATABASE_URL);
    let file = || format!("sqlite://{}", data.join("data/touchline.db").display());
    Ok(url.map_or_else(file, |(_, url)| url.to_owned()))
}

/// Gives data that were copied from another server's, which does not run, rows and a Redis of their own, where those
/// are not among the files.
pub fn separate_backends(data: &Path) -> Result<()> {
    let kept = data.join(KEPT_BACKENDS);
    let Ok(text) = std::fs::read(&kept) else { return Ok(()) };
    let mut settings: Vec<(String, String)> = serde_json::from_slice(&text)?;
    for (name, value) in &mut settings {
        match name.as_str() {
            DATABASE_URL => *value = services::copy_of_database(value),
            REDIS_URL => *value = services::fresh_redis(),
            _ => {}
        }
    }
    std::fs::write(&kept, serde_json::to_vec(&settings)?)?;
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
