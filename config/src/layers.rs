//! Defaults, file and environment variables, merged by `figment`.
//!
//! Each layer is a provider whose metadata names the file or the variable. The settings are extracted after each layer,
//! so that an unknown key or a wrong type is reported even where a later layer overrides it.

use std::path::Path;

use figment::error::Kind;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml::Table;

use crate::{ConfigError, Settings};

const DEFAULTS: &str = include_str!("../default.toml");
const PREFIX: &str = "TOUCHLINE__";

/// A TOML table and where it comes from. The providers of `figment` do not fit: its `Toml` brings a second TOML parser,
/// and its `Env` has a syntax of its own for values and cannot say which variable a value came from.
struct Layer {
    name: String,
    table: Table,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let dict = Value::serialize(&self.table)?.into_dict().expect("a table serialises to a dictionary");
        Ok(Profile::Default.collect(dict))
    }
}

/// The settings of `default.toml` alone; `{data_dir}` is not yet replaced.
pub(crate) fn defaults() -> Settings {
    default_layer().extract().expect("default.toml fits Settings; a test loads it")
}

fn default_layer() -> Figment {
    let table = DEFAULTS.parse().expect("default.toml is valid TOML; a test loads it");
    Figment::from(Layer { name: "config/default.toml".to_owned(), table })
}

/// All layers merged and typed, not yet validated.
pub(crate) fn merge(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let defaults = default_layer();
    let mut layers: Vec<Layer> = file.map(read_file).transpose()?.into_iter().collect();
    // Sorted, so that of several mistakes the same one is reported each time.
    let mut variables: Vec<_> = env.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    layers.extend(variables.iter().map(|(name, text)| read_variable(name, text, &defaults)));

    let (mut merged, mut settings) = (defaults.clone(), self::defaults());
    for layer in layers {
        merged = merged.merge(layer);
        settings = merged.extract().map_err(|error| describe(error, &defaults))?;
    }
    Ok(settings)
}

fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    Ok(Layer { name: format!("the configuration file {}", path.display()), table })
}

/// `TOUCHLINE__SECTION__KEY` and its text as a layer. Text that is not TOML is a string, and so is text for a key whose
/// default is a string unless it is a TOML string or list: a secret of digits stays what was typed.
fn read_variable(name: &str, text: &str, defaults: &Figment) -> Layer {
    let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    let is_text = defaults.find_value(&path.join(".")).is_ok_and(|default| default.as_str().is_some());
    let parsed = format!("value = {text}").parse::<Table>().ok();
    // A line break in the text could bring further keys; then it is not a single value.
    let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    let value = match parsed {
        Some(value) if !is_text || value.is_str() || value.is_array() => value,
        _ => toml::Value::String(text.to_owned()),
    };
    let nested = path.into_iter().rev().fold(value, |inner, key| Table::from_iter([(key, inner)]).into());
    let toml::Value::Table(table) = nested else { unreachable!("`split` yields at least one key, which is a table") };
    Layer { name: format!("the environment variable {name}"), table }
}

/// Names the key and the layer of the value that does not fit.
fn describe(error: figment::Error, defaults: &Figment) -> ConfigError {
    let key = error.path.join(".");
    let layer = error.metadata.map_or_else(|| "the settings".to_owned(), |metadata| metadata.name.into_owned());
    let is_section = defaults.find_value(&key).is_ok_and(|default| default.as_dict().is_some());
    match error.kind {
        Kind::UnknownField(..) => ConfigError::UnknownKey { key, layer },
        Kind::InvalidType(..) if is_section => {
            ConfigError::Type { layer, message: format!("`{key}` is a section; give its keys") }
        }
        kind => ConfigError::Type { layer, message: format!("`{key}`: {kind}") },
    }
}
