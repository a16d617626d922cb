//! End-to-end tests of Touchline and what they share: everything goes through the public surface, that is the built
//! program, its command line and its HTTP API.
//!
//! In reading order:
//!
//! * [`server`]: the built program as a private server on a free port. [`shared_server`]: one for the tests of a process.
//!   [`nodes`]: two that share everything. [`process`]: children that end with this process.
//! * [`cli`]: `touchline render`; [`client`]: a small typed client of the API.
//! * [`ffmpeg`]: the `ffmpeg` program, which makes sources and pictures.
//! * [`browser`]: a headless Chromium. [`issuer`]: a foreign issuer of tokens.
//! * [`footage`]: sources whose frames carry their number and whose sound clicks at known times.
//! * [`damage`]: files with random damage, the same each time.
//! * [`origin`]: pages of another origin than the server's.
//! * [`forward`]: a port that stays while servers come and go.
//! * [`inputs`]: footage as it really comes, file by file, and what Touchline does with it.
//! * [`rows`]: a server's database, read beside it; [`random`]: dice with a seed.
//! * [`receiver`]: a small HTTP server that keeps what it is sent.
//! * [`scenarios`]: kills, faulty devices, full disks, crowds and damaged files.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use touchline_tests::{client::Client, server::Server};
//!
//! let server = Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
//! let account = server.account("club", "coach@club.example", "editor")?;
//! let client = Client::log_in(&server.url(), &account.email, &account.password).await?;
//! let video = client.upload("match.mp4".as_ref(), 1 << 20, |_, _| {}).await?;
//! # Ok(()) }
//! ```

pub mod browser;
pub mod cli;
pub mod client;
pub mod damage;
pub mod ffmpeg;
pub mod footage;
pub mod forward;
pub mod inputs;
pub mod issuer;
pub mod nodes;
pub mod origin;
pub mod process;
pub mod random;
pub mod receiver;
pub mod rows;
pub mod scenarios;
pub mod server;
pub mod shared_server;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};

/// The built program, `target/release/touchline`.
///
/// # Errors
/// When it was not built: `cargo test` of this crate alone does not build it.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding the running program")?;
    // Programs lie in target/release, tests in target/release/deps.
    let found = own.ancestors().skip(1).map(|folder| folder.join("touchline")).find(|path| path.is_file());
    let found = found.context("target/release/touchline is missing; run `make build` first")?;
    ensure!(found.is_absolute(), "{} is no absolute path", found.display());
    Ok(found)
}

/// The folder of the repository, an absolute path: the one that the running program lies in, or else the one around the
/// working folder. Found at run time, since a checkout may be moved or copied together with what it has built.
///
/// # Panics
/// When neither lies in a checkout.
pub fn repository() -> &'static Path {
    static FOUND: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = std::env::current_exe().ok();
        let working = std::env::current_dir().ok();
        let found = [program, working].into_iter().flatten().find_map(|path| repository_around(&path));
        found.expect("neither the running program nor the working folder lies in a checkout of Touchline")
    });
    &FOUND
}

/// The nearest folder at or above `path` that holds the workspace with this crate.
fn repository_around(path: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| folder.join("Cargo.lock").is_file() && folder.join("tests/Cargo.toml").is_file();
    path.ancestors().find(is_root).map(Path::to_owned)
}

/// Everything that lies below a folder, as files.
pub fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                found.extend(files_below(&path)?);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    Ok(found)
}
