//! How devices are named.

use std::{collections::HashSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The name of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceName {
    /// `cuda:N`: the N-th GPU.
    Cuda(u32),
    /// `cpu:N`: a share of `devices.cpu_threads` cores.
    Cpu(u32),
    /// `sim:N`: a simulated device, to measure scheduling.
    Sim(u32),
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Cpu(n) => write!(f, "cpu:{n}"),
            Self::Sim(n) => write!(f, "sim:{n}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no device; name one as cuda:N, cpu:N or sim:N, such as cpu:0");
        let (kind, number) = text.trim().split_once(':').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        match kind {
            "cuda" => Ok(Self::Cuda(number)),
            "cpu" => Ok(Self::Cpu(number)),
            "sim" => Ok(Self::Sim(number)),
            _ => Err(wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for DeviceName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for DeviceName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Which devices this process uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceList {
    /// Every GPU, or without one as many CPU shares as fit. Never a simulated device.
    Auto,
    /// Exactly these: at least one, none twice.
    Named(Vec<DeviceName>),
}

impl fmt::Display for DeviceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(names) => {
                let names: Vec<_> = names.iter().map(DeviceName::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// Reads `auto`, or names with commas between them (the command line's `--devices`).
impl FromStr for DeviceList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            names => Self::named(names.split(',')),
        }
    }
}

impl DeviceList {
    fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let names = names.into_iter().map(str::parse).collect::<Result<Vec<DeviceName>, _>>()?;
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
            return Err(format!("device {twice} is named twice"));
        }
        if names.is_empty() {
            return Err("no device is named; use \"auto\" or at least one".to_owned());
        }
        Ok(Self::Named(names))
    }
}

impl<'de> Deserialize<'de> for DeviceList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected \"auto\" or a list such as [\"cpu:0\"]")]
        enum Raw {
            Text(String),
            List(Vec<String>),
        }
        match Raw::deserialize(from)? {
            Raw::Text(text) => text.parse(),
            Raw::List(list) => Self::named(list.iter().map(String::as_str)),
        }
        .map_err(D::Error::custom)
    }
}

impl Serialize for DeviceList {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Named(names) => to.collect_seq(names.iter().map(DeviceName::to_string)),
        }
    }
}
