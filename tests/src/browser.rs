//! A headless Chromium, driven by the WebDriver protocol (W3C) through ChromeDriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What keeps the browser to itself: no calls home, no graphics card, a sandbox it does not need among tests.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How long a browser gets to close.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often ChromeDriver is started anew because the port it chose is taken.
const PORT_TRIES: u32 = 50;

/// One browser window. Both programs end with it.
pub struct Browser {
    driver: Child,
    session: String,
    http: reqwest::Client,
    _profile: TempDir,
}

impl Browser {
    /// Starts ChromeDriver on a free port and a browser with an empty profile.
    ///
    /// # Errors
    /// Names the Debian packages when one is missing.
    pub async fn start() -> Result<Self> {
        let (driver, port) = start_driver()?;
        let (http, profile) = (reqwest::Client::new(), tempfile::tempdir()?);
        let mut arguments = FLAGS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": arguments}, "timeouts": {"script": 60_000}}}});
        let base = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, session: base, http, _profile: profile };
        let opened = browser.post("", &wanted).await.context("opening a browser window")?;
        let id = opened["sessionId"].as_str().context("chromedriver opened no session")?;
        browser.session = format!("{}/{id}", browser.session);
        Ok(browser)
    }

    /// Loads a page.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.post("/url", &json!({ "url": url })).await.map(drop)
    }

    /// Runs the body of an async function in the page and returns its value; `arguments` are its arguments.
    pub async fn run(&self, body: &str, arguments: &[Value]) -> Result<Value> {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async function(...arguments) {{ {body} }})(...arguments).then(
                value => done({{ value }}), error => done({{ error: String(error && error.stack || error) }}));"
        );
        let answer = self.post("/execute/async", &json!({ "script": script, "args": arguments })).await?;
        ensure!(answer["error"].is_null(), "in the page: {}", answer["error"]);
        Ok(answer["value"].clone())
    }

    /// Closes the window and waits for the answer, without a runtime.
    fn close_window(&self) -> Result<()> {
        let rest = self.session.strip_prefix("http://").context("the session's address")?;
        let (address, path) = rest.split_once('/').context("the session's path")?;
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        write!(connection, "DELETE /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        connection.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.http.post(format!("{}{path}", self.session)).json(body).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "the browser: {}", body["value"]["message"]);
        Ok(body["value"].clone())
    }
}

/// Starts ChromeDriver and returns the port it listens on.
///
/// `--port=0` lets the system choose a port that is free for IPv6; ChromeDriver then takes the same number for IPv4 and
/// exits where another socket of this machine holds it, which happens while tests run side by side. Another try gets
/// another port.
fn start_driver() -> Result<(Child, u16)> {
    let mut output = String::new();
    for _ in 0..PORT_TRIES {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting chromedriver: apt-get install chromium chromium-driver (scripts/setup does it)")?;
        let stdout = driver.stdout.take().context("chromedriver has no output")?;
        output.clear();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                return Ok((driver, port.trim_end_matches('.').parse()?));
            }
            output.push_str(&line);
            output.push('\n');
        }
        driver.wait()?;
        if !output.contains("port not available") {
            break;
        }
    }
    bail!("chromedriver ended before it listened:\n{output}")
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A window that is closed by the protocol ends its browser; one whose driver is killed does not.
        let _ = self.close_window();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
