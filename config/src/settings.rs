//! Every key of `default.toml`, typed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    ConfigError, DetectSettings, DeviceList, DeviceName, Invalid, IssuerSettings, Limits, Live, LogSettings, Network,
    PlannerSettings, Secret, SimSettings, UpscaleSettings, issuers, layers, network::is_public_url,
    secret::serialize_url, sim,
};

/// Shortest `auth.secret`, in bytes: the output size of HMAC-SHA-256, as RFC 7518 §3.2 asks.
const MIN_SECRET: usize = 32;

/// All settings of one process. Secrets are left out when this is serialised.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of everything local.
    pub data_dir: PathBuf,
    /// The HTTP server.
    pub server: ServerSettings,
    /// Rows and jobs.
    pub database: DatabaseSettings,
    /// What several nodes would share.
    pub redis: RedisSettings,
    /// Media, segments and results.
    pub storage: StorageSettings,
    /// What infers.
    pub devices: DevicesSettings,
    /// Where the models are.
    pub models: ModelsSettings,
    /// Tokens and links.
    pub auth: AuthSettings,
    /// HTTPS.
    pub tls: TlsSettings,
    /// Browsers of other origins.
    pub cors: CorsSettings,
    /// How exports are cut.
    pub segments: SegmentsSettings,
    /// Processes that read what tenants sent.
    pub processes: ProcessesSettings,
    /// How long things are kept.
    pub retention: RetentionSettings,
    /// Telling others.
    pub webhooks: WebhookSettings,
    /// Each tenant's limits at start; see [`Settings::live`].
    pub limits: Limits,
    /// Upscaling at start.
    pub upscale: UpscaleSettings,
    /// Detection at start.
    pub detect: DetectSettings,
    /// Cost at start.
    pub planner: PlannerSettings,
    /// Logging at start.
    pub log: LogSettings,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What links and `Location` begin with; empty: the address that the request was sent to.
    pub public_url: String,
    /// Requests a second from one address without a credential that holds; 0: unlimited.
    pub requests_per_second_by_address: u32,
    /// Proxies whose `X-Forwarded-*` and `Forwarded` headers are used.
    pub trusted_proxies: Vec<Network>,
    /// Bearer token with which `/metrics` shows the figures of each tenant; empty: they are never shown.
    #[serde(skip_serializing)]
    pub metrics_token: Secret,
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `sqlite://…` or `postgres://…`, with `{data_dir}` already replaced. Serialised without its password.
    #[serde(serialize_with = "serialize_url")]
    pub url: String,
}

impl DatabaseSettings {
    /// True for PostgreSQL, which several nodes can share.
    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres://") || self.url.starts_with("postgresql://")
    }

    /// The file of an SQLite database, without the URL's parameters; None for PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        let path = self.url.strip_prefix("sqlite://")?;
        Some(Path::new(path.split_once('?').map_or(path, |(path, _)| path)))
    }
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// Empty: everything is in the process.
    #[serde(serialize_with = "serialize_url")]
    pub url: String,
}

/// `[storage]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSettings {
    /// `file://FOLDER`, with `{data_dir}` already replaced.
    pub url: String,
}

impl StorageSettings {
    /// The folder behind a `file://` URL; `None` for any other scheme.
    pub fn folder(&self) -> Option<PathBuf> {
        self.url.strip_prefix("file://").map(|path| PathBuf::from(decode(path)))
    }
}

/// `[devices]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DevicesSettings {
    /// Which devices.
    pub list: DeviceList,
    /// Cores of one CPU share.
    pub cpu_threads: usize,
    /// Frames of a batch; 0: the default of the device's class. See [`DevicesSettings::fixed_batch`].
    pub batch: usize,
    /// Milliseconds a simulated device waits for each frame.
    pub sim_frame_ms: f64,
    /// How single simulated devices differ, for trying schedules and faults.
    pub sim: Vec<SimSettings>,
    /// Seconds without an owed result after which a device counts as stalled.
    pub stall_seconds: f64,
    /// Private memory of the process of a device, in MiB; 0: no limit. Not for GPUs, whose drivers reserve address space as
    /// they like.
    pub memory_mb: u32,
}

impl DevicesSettings {
    /// The batch size to use instead of the default of the device's class.
    pub fn fixed_batch(&self) -> Option<usize> {
        Some(self.batch).filter(|batch| *batch > 0)
    }

    /// How a simulated device differs from the others.
    pub fn sim_of(&self, device: DeviceName) -> Option<&SimSettings> {
        self.sim.iter().find(|entry| entry.device == device)
    }
}

/// `[models]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsSettings {
    /// Folder of the baked models.
    pub dir: PathBuf,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// Signs tokens and links.
    #[serde(skip_serializing)]
    pub secret: Secret,
    /// Still accepted after a change of `secret`.
    #[serde(skip_serializing)]
    pub previous_secret: Secret,
    /// Life of an access token, in minutes.
    pub access_minutes: u32,
    /// Life of a refresh token, in days.
    pub refresh_days: u32,
    /// Whose tokens are accepted beside our own.
    pub issuers: Vec<IssuerSettings>,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the certificate and those between it and the root; empty: no TLS.
    pub certificate: PathBuf,
    /// PEM file of the certificate's private key.
    pub key: PathBuf,
}

impl TlsSettings {
    /// The files of certificate and key, where TLS is asked for.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        Some((self.certificate.as_path(), self.key.as_path())).filter(|(file, _)| !file.as_os_str().is_empty())
    }
}

/// `[cors]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CorsSettings {
    /// Origins such as `https://club.example`, or `*` for any.
    pub allowed_origins: Vec<String>,
}

/// `[segments]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentsSettings {
    /// Length of a segment in seconds of output.
    pub seconds: f64,
}

/// `[processes]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessesSettings {
    /// Private memory of one render process, in MiB.
    pub memory_mb: u32,
    /// Seconds without progress after which a process is killed.
    pub stall_s: f64,
}

/// `[retention]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// Days after its end when an export is deleted; 0: never.
    pub exports_days: u32,
    /// Hours for which a failed export keeps its finished segments for a retry; 0: until it is deleted.
    pub segments_hours: u32,
    /// Days for which a file without a row is kept in the storage's `lost+found`; 0: for ever.
    pub orphans_days: u32,
}

/// `[webhooks]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Webhooks may call loopback and private addresses, and plain http.
    pub allow_private: bool,
    /// How long a receiver may take to answer.
    pub timeout_seconds: f64,
    /// Pauses between the tries of a delivery.
    pub retry_seconds: Vec<f64>,
    /// Days for which ended deliveries are kept; 0: for ever.
    pub keep_days: u32,
}

impl Settings {
    /// Loads the defaults, then `file`, then the process's environment, and validates the whole.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        // A variable whose name or value is no Unicode cannot be one of ours.
        let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::load_from(file, env)
    }

    /// [`Settings::load`] with an environment of the caller's making.
    pub fn load_from(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut settings = layers::merge(file, env)?;
        let data_dir = encode(&settings.data_dir.to_string_lossy());
        for url in [&mut settings.database.url, &mut settings.storage.url] {
            *url = url.replace("{data_dir}", &data_dir);
        }
        let invalid = settings.check();
        if invalid.is_empty() { Ok(settings) } else { Err(ConfigError::Invalid(invalid)) }
    }

    /// The part that can be changed while the server runs, as it is at start.
    pub fn live(&self) -> Live {
        Live {
            limits: self.limits.clone(),
            upscale: self.upscale.clone(),
            detect: self.detect.clone(),
            planner: self.planner.clone(),
            log: self.log.clone(),
        }
    }

    fn check(&self) -> Vec<Invalid> {
        let mut found = self.live().check();
        found.extend(sim::check(&self.devices.sim, &self.devices.list));
        found.extend(issuers::check(&self.auth.issuers));
        let mut want = |right: bool, pointer: &str, message: &str| {
            if !right {
                found.push(Invalid::new(pointer, message));
            }
        };
        let (database, auth, devices) = (&self.database, &self.auth, &self.devices);
        let sqlite = database.url.starts_with("sqlite://");
        want(!self.data_dir.as_os_str().is_empty(), "/data_dir", "must name a folder");
        want(sqlite || database.is_postgres(), "/database/url", "must begin with sqlite:// or postgres://");
        let redis = |schemes: &[&str]| schemes.iter().any(|scheme| self.redis.url.starts_with(scheme));
        want(
            self.redis.url.is_empty() || redis(&["redis://", "unix://"]),
            "/redis/url",
            match redis(&["rediss://"]) {
                true => {
                    "rediss:// (Redis over TLS) is not spoken: put a tunnel such as stunnel or a service mesh in \
                    front of Redis and name its local end with redis:// or unix://"
                }
                false => "must be empty, or begin with redis:// or unix://",
            },
        );
        want(
            self.storage.folder().is_some_and(|folder| !folder.as_os_str().is_empty()),
            "/storage/url",
            "must be file://FOLDER; other storages are not supported yet",
        );
        want((1..=1024).contains(&devices.cpu_threads), "/devices/cpu_threads", "must be 1 to 1024");
        want(devices.batch <= 256, "/devices/batch", "must be 0 (measured) to 256");
        want(
            (0.0..=60_000.0).contains(&devices.sim_frame_ms),
            "/devices/sim_frame_ms",
            "must be 0 to 60000 milliseconds",
        );
        want((1.0..=86_400.0).contains(&devices.stall_seconds), "/devices/stall_seconds", "must be 1 to 86400 seconds");
        let memory = devices.memory_mb == 0 || (256..=1_048_576).contains(&devices.memory_mb);
        want(memory, "/devices/memory_mb", "must be 256 to 1048576, or 0 for no limit");
        want(!self.models.dir.as_os_str().is_empty(), "/models/dir", "must name a folder");
        for (secret, pointer) in [(&auth.secret, "/auth/secret"), (&auth.previous_secret, "/auth/previous_secret")] {
            let long_enough = secret.expose().is_none_or(|s| s.len() >= MIN_SECRET);
            want(long_enough, pointer, "must have at least 32 bytes, or be empty");
        }
        let public_url = &self.server.public_url;
        want(
            public_url.is_empty() || is_public_url(public_url),
            "/server/public_url",
            "must be empty, or http:// or https:// with a host, perhaps a port and a path, and nothing else",
        );
        want(
            !database.is_postgres() || auth.secret.expose().is_some(),
            "/auth/secret",
            "is required with PostgreSQL, because every node needs the same one",
        );
        want((1..=1440).contains(&auth.access_minutes), "/auth/access_minutes", "must be 1 to 1440");
        want((1..=3650).contains(&auth.refresh_days), "/auth/refresh_days", "must be 1 to 3650");
        let tls = &self.tls;
        let both = tls.certificate.as_os_str().is_empty() == tls.key.as_os_str().is_empty();
        want(both, "/tls", "needs both a certificate and a key, or neither");
        let origins_right = self.cors.allowed_origins.iter().all(|origin| is_origin(origin));
        want(origins_right, "/cors/allowed_origins", "each must be \"*\" or scheme://host[:port] without a path");
        want((0.1..=600.0).contains(&self.segments.seconds), "/segments/seconds", "must be 0.1 to 600 seconds");
        let processes = &self.processes;
        want((256..=1_048_576).contains(&processes.memory_mb), "/processes/memory_mb", "must be 256 to 1048576");
        want((1.0..=86_400.0).contains(&processes.stall_s), "/processes/stall_s", "must be 1 to 86400 seconds");
        let retention = &self.retention;
        want(retention.orphans_days <= 36_500, "/retention/orphans_days", "must be 0 (for ever) to 36500");
        want(retention.exports_days <= 36_500, "/retention/exports_days", "must be 0 (never) to 36500");
        let webhooks = &self.webhooks;
        let (shortest, longest) = (0.1, 60.0);
        want(
            (shortest..=longest).contains(&webhooks.timeout_seconds),
            "/webhooks/timeout_seconds",
            "must be 0.1 to 60",
        );
        let pauses_right = webhooks.retry_seconds.iter().all(|pause| (0.0..=604_800.0).contains(pause));
        want(
            pauses_right && webhooks.retry_seconds.len() <= 50,
            "/webhooks/retry_seconds",
            "must be at most 50 pauses of 0 to 604800 seconds",
        );
        want(webhooks.keep_days <= 36_500, "/webhooks/keep_days", "must be 0 (for ever) to 36500");
        want(retention.segments_hours <= 876_000, "/retention/segments_hours", "must be 0 (never) to 876000");
        found
    }
}

/// An origin as browsers send it (RFC 6454): scheme, host and port, nothing after.
fn is_origin(text: &str) -> bool {
    text == "*"
        || ["http://", "https://"]
            .iter()
            .filter_map(|scheme| text.strip_prefix(scheme))
            .any(|host| !host.is_empty() && !host.contains(['/', '*', ' ', '?', '#']))
}

/// A path as it stands in a URL: what would end or escape it is percent-encoded.
fn encode(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// The reverse of [`encode`].
fn decode(path: &str) -> String {
    path.replace("%23", "#").replace("%3F", "?").replace("%25", "%")
}
