//! `touchline tenant`: administration without HTTP.

use clap::{Args, Subcommand};
use config::Settings;
use entities::tenants::{self, Tenant, TenantState};
use serde_json::{Value, json};

use super::error::CliError;
use super::print_json;
use super::private_files::keep_private;

/// Works while a server runs on the same database.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum TenantCommand {
    /// Add a tenant
    Create(NameArgs),
    /// Show all tenants
    List,
    /// Refuse a tenant's requests from now on
    Suspend(NameArgs),
}

#[derive(Args)]
pub struct NameArgs {
    /// The tenant's name, unique in the deployment
    name: String,
}

const EXAMPLES: &str = "\
Examples:
  touchline tenant create \"FC Example\"
  touchline tenant list
  touchline tenant suspend \"FC Example\"";

pub fn run(command: TenantCommand, settings: &Settings) -> Result<(), CliError> {
    match command {
        TenantCommand::Create(args) => with_database(settings, async |db| create(db, &args.name).await),
        TenantCommand::List => with_existing_database(settings, async |db| list(db).await),
        TenantCommand::Suspend(args) => with_existing_database(settings, async |db| suspend(db, &args.name).await),
    }
}

async fn create(db: &entities::Database, name: &str) -> Result<(), CliError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(CliError::Usage("a tenant needs a name".to_owned()));
    }
    let tenant = tenants::create(db, name).await.map_err(taken_is_usage)?;
    print_json(&shown(&tenant))
}

async fn list(db: &entities::Database) -> Result<(), CliError> {
    let all = tenants::all(db).await.map_err(anyhow::Error::from)?;
    print_json(&json!({ "items": all.iter().map(shown).collect::<Vec<_>>() }))
}

async fn suspend(db: &entities::Database, name: &str) -> Result<(), CliError> {
    let tenant = by_name(db, name).await?;
    let suspended = tenants::set_state(db, tenant.id, TenantState::Suspended).await.map_err(anyhow::Error::from)?;
    print_json(&shown(&suspended.unwrap_or(tenant)))
}

/// The tenant of that name.
pub async fn by_name(db: &entities::Database, name: &str) -> Result<Tenant, CliError> {
    let found = tenants::find_by_name(db, name.trim()).await.map_err(anyhow::Error::from)?;
    found
        .ok_or_else(|| CliError::Usage(format!("there is no tenant named {name:?}; `touchline tenant list` shows all")))
}

/// [`with_database`] for commands that are of use only where a server or an earlier command has made a database.
///
/// # Errors
/// [`CliError::Usage`] where there is none, which is not created then.
pub fn with_existing_database(
    settings: &Settings,
    work: impl AsyncFnOnce(&entities::Database) -> Result<(), CliError>,
) -> Result<(), CliError> {
    require_database(settings)?;
    with_database(settings, work)
}

/// Refuses settings that name an SQLite database which does not exist: such a command mostly runs in a wrong folder.
pub fn require_database(settings: &Settings) -> Result<(), CliError> {
    let Some(file) = settings.database.file().filter(|file| !file.exists()) else { return Ok(()) };
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let path = path.display();
    Err(CliError::Usage(format!("no database at {path}; run this in the server's folder or set data_dir")))
}

/// Runs `work` with the database that the settings name, created where it is missing and brought up to date.
pub fn with_database(
    settings: &Settings,
    work: impl AsyncFnOnce(&entities::Database) -> Result<(), CliError>,
) -> Result<(), CliError> {
    keep_private();
    // The first command may come before the first start of the server.
    if !settings.database.is_postgres() {
        let folder = &settings.data_dir;
        std::fs::create_dir_all(folder)
            .map_err(|error| CliError::failed(format!("making {}", folder.display()), error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed("starting", error))?;
    runtime.block_on(async {
        let db = entities::connect(&settings.database.url).await.map_err(anyhow::Error::from)?;
        work(&db).await
    })
}

/// A name or address that is taken is the caller's mistake.
pub fn taken_is_usage(error: entities::Error) -> CliError {
    match error {
        entities::Error::Taken { .. } => CliError::Usage(error.to_string()),
        error => CliError::Failed(error.into()),
    }
}

fn shown(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id,
        "name": tenant.name,
        "state": tenant.state,
        "created_at": tenant.created_at,
    })
}
