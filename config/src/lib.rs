//! Touchline's settings: typed, layered, validated.
//!
//! In reading order:
//!
//! * [`Settings`]: every key, fixed at start. `default.toml` documents them one by one.
//! * [`Live`]: the part that can be changed while the server runs, and how a merge patch changes it.
//! * [`DeviceList`] and [`DeviceName`]: `auto`, `cuda:0`, `cpu:1`, `sim:3`.
//! * [`SimSettings`]: how simulated devices are slow and faulty on purpose.
//! * [`IssuerSettings`]: whose tokens are accepted beside our own.
//! * [`Network`]: addresses of proxies, and what the authority of a URL may be.
//! * [`ConfigError`]: what was wrong, in which layer, at which key.
//!
//! ```
//! let env = [("TOUCHLINE__DEVICES__LIST".to_owned(), r#"["cpu:0"]"#.to_owned())];
//! let settings = config::Settings::load_from(None, env).unwrap();
//! assert_eq!(settings.devices.list.to_string(), "cpu:0");
//! assert_eq!(settings.database.url, "sqlite://data/touchline.db");
//! ```

mod devices;
mod error;
mod issuers;
mod layers;
mod live;
mod network;
mod secret;
mod settings;
mod sim;

pub use devices::{DeviceList, DeviceName};
pub use error::{ConfigError, Invalid};
pub use issuers::{IssuerAlgorithm, IssuerRole, IssuerSettings};
pub use live::{DetectSettings, Limits, Live, LogFormat, LogLevel, LogSettings, PlannerSettings, UpscaleSettings};
pub use network::{Network, is_authority};
pub use secret::{Secret, redact_url};
pub use settings::{
    AuthSettings, CorsSettings, DatabaseSettings, DevicesSettings, ModelsSettings, ProcessesSettings, RedisSettings,
    RetentionSettings, SegmentsSettings, ServerSettings, Settings, StorageSettings, TlsSettings, WebhookSettings,
};
pub use sim::{SimFault, SimSettings};
