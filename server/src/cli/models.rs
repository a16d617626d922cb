//! `touchline models`: set-up of the baked models.

use clap::{Args, Subcommand};
use config::Settings;
use models::{ModelStatus, ModelStore, Offer};
use serde_json::json;

use super::error::CliError;
use super::{print_json, progress};

/// Models are baked at set-up and never fetched while the server runs.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum ModelsCommand {
    /// Convert the downloaded weights to ONNX and check every sum; quick when all is there
    Bake,
    /// Show every model and what this machine can run it on
    List(ListArgs),
    /// Check every model file against its SHA-256
    Verify,
}

#[derive(Args)]
pub struct ListArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  touchline models bake
  touchline models list --json
  touchline models verify

A model of your own: put the ONNX file into the models folder, describe it in manifest.toml, run `verify`.";

pub fn run(command: &ModelsCommand, settings: &Settings) -> Result<(), CliError> {
    let folder = ModelStore::locate(&settings.models.dir).map_err(failed)?;
    let store = ModelStore::open(&folder).map_err(failed)?;
    match command {
        ModelsCommand::Bake => bake(&store),
        ModelsCommand::List(args) => list(&store, args.json),
        ModelsCommand::Verify => verify(&store),
    }
}

fn bake(store: &ModelStore) -> Result<(), CliError> {
    let spinner = progress::spinner("baking");
    let baked = models::bake(store, None, &mut |line: &str| {
        if spinner.is_hidden() {
            eprintln!("models: {line}");
        } else {
            spinner.set_message(line.to_owned());
        }
    });
    spinner.finish_and_clear();
    print_json(&baked.map_err(failed)?)
}

fn list(store: &ModelStore, json: bool) -> Result<(), CliError> {
    let models = models::list(store);
    if json {
        return print_json(&models);
    }
    let header = ["NAME", "FAMILY", "KIND", "LICENCE", "STATE", "RUNS ON"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(header).chain(models.iter().map(row)).collect();
    for row in &rows {
        println!("{}", line(row, &rows));
    }
    Ok(())
}

fn row(model: &ModelStatus) -> [String; 6] {
    let state = match (model.present, model.verified) {
        (false, _) => "missing",
        (true, false) => "corrupt",
        (true, true) => "ready",
    };
    let runs_on: Vec<_> = model.runs_on.iter().filter(|offer| offer.offered).map(place).collect();
    [
        model.name.clone(),
        model.family.name().to_owned(),
        serde_name(&model.kind),
        model.licence.clone(),
        state.to_owned(),
        if runs_on.is_empty() { "nothing here".to_owned() } else { runs_on.join(", ") },
    ]
}

/// Such as "openvino bf16".
fn place(offer: &Offer) -> String {
    format!("{} {}", offer.provider, offer.precision)
}

fn serde_name(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// A row padded to the widest cell of each column.
fn line<const N: usize>(row: &[String; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:width$}", width = width(column)));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn verify(store: &ModelStore) -> Result<(), CliError> {
    models::verify(store).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        CliError::Failed(anyhow::anyhow!(lines.join(";\n  ")))
    })?;
    print_json(&json!({ "verified": store.names() }))
}

fn failed(error: models::ModelError) -> CliError {
    CliError::Failed(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "BB"], ["AAA", "B"]].map(|row| row.map(str::to_owned));
        assert_eq!(line(&rows[0], &rows), "A    BB");
        assert_eq!(line(&rows[1], &rows), "AAA  B");
    }
}
