//! `touchline storage`: whether the storage and the database belong together.

use std::path::Path;
use std::sync::Arc;

use actors::storage::adoption::{self, StorageStatus};
use actors::storage::{LocalStorage, Storage};
use clap::Subcommand;
use config::Settings;
use serde_json::json;

use super::error::CliError;
use super::{print_json, tenant};

/// A storage carries the id of the deployment whose files it holds, in the file `.touchline-deployment`. A server whose
/// database is of another deployment does not start, and deletes nothing.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum StorageCommand {
    /// Show the ids of the storage and the database, and how many files' owners the database knows; changes nothing
    Status,
    /// Give the storage to the database, whatever mark it carries; stop every server that uses either first
    Adopt,
}

const EXAMPLES: &str = "\
Examples:
  touchline storage status
  touchline storage adopt
  TOUCHLINE__DATABASE__URL=sqlite:///srv/restored.db touchline storage status

`belonging` is `own` (the storage carries the database's id), `adoptable` (it has no mark, and is empty or known to the
database: the next start marks it), `unknown` (it has no mark, and the database does not know its files) or `foreign`
(it carries another id). In the last two cases `touchline serve` does not start.

After `adopt`, the next start moves the files that the database does not know to lost+found in the storage and deletes
them after `retention.orphans_days`. Check `owners.unknown` of `status` first.";

pub fn run(command: StorageCommand, settings: &Settings) -> Result<(), CliError> {
    let folder = settings.storage.folder().unwrap_or_else(|| settings.data_dir.join("media"));
    if matches!(command, StorageCommand::Status) {
        tenant::require_database(settings)?;
    }
    tenant::with_database(settings, async |db| {
        let status = match command {
            StorageCommand::Status => {
                let storage: Arc<dyn Storage> = Arc::new(LocalStorage::at(folder.clone()));
                adoption::status(db, &storage).await.map_err(anyhow::Error::from)?
            }
            StorageCommand::Adopt => {
                let opened = LocalStorage::open(folder.clone()).map_err(anyhow::Error::from)?;
                let storage: Arc<dyn Storage> = Arc::new(opened);
                adoption::adopt(db, &storage).await.map_err(anyhow::Error::from)?;
                adoption::status(db, &storage).await.map_err(anyhow::Error::from)?
            }
        };
        print_json(&shown(&status, &folder, settings))
    })
}

fn shown(status: &StorageStatus, folder: &Path, settings: &Settings) -> serde_json::Value {
    json!({
        "storage": folder,
        "database": config::redact_url(&settings.database.url),
        "deployment": status.deployment,
        "mark": status.mark,
        "owners": status.owners,
        "belonging": status.belonging,
    })
}
