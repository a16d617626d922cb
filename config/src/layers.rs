//! Defaults, file and environment, laid over each other.
//!
//! `default.toml` lists every key, so it is also the list of keys there are: a layer is checked against it before
//! it is merged, and an unknown key or a wrong type is told together with the layer that brought it.

use std::path::Path;

use toml::{Table, Value};

use crate::{ConfigError, Settings};

const DEFAULTS: &str = include_str!("../default.toml");
const PREFIX: &str = "TOUCHLINE__";

/// The settings of `default.toml` alone; `{data_dir}` is not yet replaced.
pub(crate) fn defaults() -> Settings {
    default_table().try_into().expect("default.toml fits Settings; a test loads it")
}

fn default_table() -> Table {
    DEFAULTS.parse().expect("default.toml is valid TOML; a test loads it")
}

/// All layers merged and typed, not yet validated.
pub(crate) fn merge(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let defaults = default_table();
    let mut merged = defaults.clone();
    let mut settings = typed(&merged, &defaults, "config/default.toml")?;
    if let Some(path) = file {
        let layer = format!("the configuration file {}", path.display());
        overlay(&mut merged, read_file(path)?, &defaults, "", &layer)?;
        settings = typed(&merged, &defaults, &layer)?;
    }
    // Sorted, so that of several mistakes the same one is told each time.
    let mut variables: Vec<_> = env.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    for (name, text) in variables {
        let layer = format!("the environment variable {name}");
        let one = from_variable(&name[PREFIX.len()..], &text, &defaults);
        overlay(&mut merged, one, &defaults, "", &layer)?;
        settings = typed(&merged, &defaults, &layer)?;
    }
    Ok(settings)
}

fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

fn typed(merged: &Table, defaults: &Table, layer: &str) -> Result<Settings, ConfigError> {
    // Section by section, because the error of a whole table would not say which key was wrong.
    for (section, value) in merged {
        for (key, alone) in single_keys(section, value) {
            let mut probe = defaults.clone();
            lay_single(&mut probe, section, alone);
            if let Err(error) = probe.try_into::<Settings>() {
                let message = format!("`{key}`: {}", error.message());
                return Err(ConfigError::Type { layer: layer.to_owned(), message });
            }
        }
    }
    merged.clone().try_into().map_err(|error: toml::de::Error| ConfigError::Type {
        layer: layer.to_owned(),
        message: error.message().to_owned(),
    })
}

/// A top-level value, or each key of a section alone, with its dotted name.
fn single_keys(section: &str, value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Table(table) => table
            .iter()
            .map(|(key, value)| {
                let alone = Table::from_iter([(key.clone(), value.clone())]);
                (format!("{section}.{key}"), Value::Table(alone))
            })
            .collect(),
        value => vec![(section.to_owned(), value.clone())],
    }
}

fn lay_single(target: &mut Table, section: &str, alone: Value) {
    match (target.get_mut(section), alone) {
        (Some(Value::Table(target)), Value::Table(alone)) => target.extend(alone),
        (_, alone) => drop(target.insert(section.to_owned(), alone)),
    }
}

/// Lays `over` over `target`; `known` holds every key there is.
fn overlay(target: &mut Table, over: Table, known: &Table, at: &str, layer: &str) -> Result<(), ConfigError> {
    for (key, value) in over {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (known.get(&key), value) {
            (None, _) => {
                return Err(ConfigError::UnknownKey { key: path, layer: layer.to_owned() });
            }
            (Some(Value::Table(known)), Value::Table(over)) => {
                if let Some(Value::Table(target)) = target.get_mut(&key) {
                    overlay(target, over, known, &path, layer)?;
                }
            }
            (Some(Value::Table(_)), _) => {
                let message = format!("`{path}` is a section; give its keys");
                return Err(ConfigError::Type { layer: layer.to_owned(), message });
            }
            (Some(_), value) => drop(target.insert(key, value)),
        }
    }
    Ok(())
}

/// `SECTION__KEY` and its text as a table. Text that is no TOML is a string, and so is text for a key whose default
/// is a string unless it is a TOML string or list: a secret of digits stays what was typed.
fn from_variable(name: &str, text: &str, defaults: &Table) -> Table {
    let path: Vec<String> = name.split("__").map(str::to_lowercase).collect();
    let default = path.iter().try_fold(Value::Table(defaults.clone()), |at, key| at.get(key).cloned());
    let plain = || Value::String(text.to_owned());
    let parsed = format!("value = {text}").parse::<Table>().ok();
    // A line break in the text could bring further keys; then it is no single value.
    let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    let value = match (default, parsed) {
        (_, None) => plain(),
        (Some(Value::String(_)), Some(value)) if !value.is_str() && !value.is_array() => plain(),
        (_, Some(value)) => value,
    };
    let mut keys = path.into_iter().rev();
    let last = keys.next().unwrap_or_default();
    keys.fold(Table::from_iter([(last, value)]), |inner, key| Table::from_iter([(key, Value::Table(inner))]))
}
