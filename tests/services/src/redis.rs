//! A private Redis.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crate::guardian::guard;

/// A private Redis, which keeps nothing on disk. It ends when dropped or, with its folder, when the process ends.
pub struct Redis {
    folder: PathBuf,
    guardian: Option<Child>,
}

/// The databases that one Redis has; each of [`fresh_redis`] is one.
const DATABASES: u32 = 4096;

/// The URL of an empty database on the process' own Redis.
///
/// # Panics
/// When Redis is not installed or does not start.
pub fn fresh_redis() -> String {
    static SERVER: OnceLock<Mutex<Redis>> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(|| Mutex::new(Redis::start()));
    let url = server.lock().expect("no code panics while it holds this lock").url();
    format!("{url}?db={}", NEXT.fetch_add(1, Ordering::Relaxed) % DATABASES)
}

impl Redis {
    /// Starts one.
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    pub fn start() -> Self {
        // Not in TMPDIR, whose path may be too long for a socket's name.
        let folder = tempfile::Builder::new().prefix("touchline-redis-").tempdir_in("/tmp").expect("a folder").keep();
        let mut redis = Self { folder, guardian: None };
        redis.revive();
        redis
    }

    /// `unix://SOCKET`
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Kills it as a power cut would: it forgets everything.
    pub fn kill(&mut self) {
        if let Some(mut guardian) = self.guardian.take() {
            let mut input = guardian.stdin.take().expect("its input is a pipe");
            // One that has ended already hears nothing.
            let _ = input.write_all(b"keep\n");
            drop(input);
            guardian.wait().expect("a child can be waited for");
        }
    }

    /// Starts it again, at the same address, with nothing in it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn revive(&mut self) {
        self.kill();
        // A guardian that reads 'keep' keeps the folder; one whose pipe ends removes it.
        let script = r#""$0" --port 0 --unixsocket "$1/socket" --save '' --appendonly no --dir "$1" --databases "$2" \
            >"$1/log" 2>&1 & server=$!; read -r last; kill -KILL $server; wait $server
            if [ "$last" = keep ]; then rm -f "$1/socket"; else rm -rf "$1"; fi"#;
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program()).arg(&self.folder).arg(DATABASES.to_string());
        self.guardian = Some(guard(&mut command));
        for _ in 0..600 {
            if answers(&self.socket()) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("Redis did not start: {}", std::fs::read_to_string(self.folder.join("log")).unwrap_or_default());
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        // A folder that is gone already needs no removing.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG\r\n")
    };
    ask().unwrap_or(false)
}

fn program() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join("redis-server")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        eprintln!("install Redis first: apt-get install redis-server");
        panic!("Redis is not installed: apt-get install redis-server");
    })
}
