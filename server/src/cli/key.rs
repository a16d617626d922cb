//! `touchline key`: API keys without HTTP.

use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use config::Settings;
use entities::ApiKeyId;
use entities::api_keys::{self, ApiKey, NewApiKey};
use entities::page::PageRequest;
use serde_json::{Value, json};

use super::error::CliError;
use super::{print_json, tenant};
use crate::http::api_keys::LONGEST_NAME;
use crate::http::auth::api_key;

/// Works while a server runs on the same database; the new key holds at once.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum KeyCommand {
    /// Make an API key; its text is printed once
    Create(CreateArgs),
    /// Show a tenant's API keys, without the revoked ones
    List(TenantArgs),
    /// End an API key
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub struct CreateArgs {
    /// The tenant's name
    #[arg(long)]
    tenant: String,
    /// What the key may do, separated by commas
    #[arg(long, required = true, value_delimiter = ',')]
    scope: Vec<Scope>,
    /// What to call the key
    #[arg(long, default_value = "made on the command line")]
    name: String,
    /// Days until the key ends; without it, it never ends by itself
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: Option<u32>,
}

#[derive(Args)]
pub struct TenantArgs {
    /// The tenant's name
    #[arg(long)]
    tenant: String,
}

#[derive(Args)]
pub struct RevokeArgs {
    /// The tenant's name
    #[arg(long)]
    tenant: String,
    /// The key's id
    id: ApiKeyId,
}

/// `read` for what a viewer may, `write` also for what an editor may.
#[derive(Clone, Copy, ValueEnum)]
enum Scope {
    Read,
    Write,
}

impl From<Scope> for api_keys::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Write => Self::Write,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  touchline key create --tenant \"FC Example\" --scope read,write --name scoreboard
  touchline key list --tenant \"FC Example\"
  touchline key revoke --tenant \"FC Example\" 0198c0de-0000-7000-8000-000000000000";

pub fn run(command: KeyCommand, settings: &Settings) -> Result<(), CliError> {
    tenant::with_existing_database(settings, async |db| match command {
        KeyCommand::Create(args) => create(db, args).await,
        KeyCommand::List(args) => list(db, &args.tenant).await,
        KeyCommand::Revoke(args) => revoke(db, &args).await,
    })
}

async fn create(db: &entities::Database, args: CreateArgs) -> Result<(), CliError> {
    let name = args.name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(CliError::Usage(format!("a name has 1 to {LONGEST_NAME} characters")));
    }
    let scope = args.scope.into_iter().map(api_keys::Scope::from).max();
    let scope = scope.ok_or_else(|| CliError::Usage("a key needs a scope: read or write".to_owned()))?;
    let tenant = tenant::by_name(db, &args.tenant).await?;
    let text = api_key::generate();
    let new = NewApiKey {
        tenant_id: tenant.id,
        name: name.to_owned(),
        hint: api_key::hint(&text),
        sha256: api_key::sha256(&text),
        scope,
        expires_at: args.days.map(|days| Utc::now() + TimeDelta::days(i64::from(days))),
    };
    let key = api_keys::create(db, new).await.map_err(anyhow::Error::from)?;
    let mut shown = shown(&key);
    shown["key"] = text.into();
    print_json(&shown)
}

async fn list(db: &entities::Database, tenant: &str) -> Result<(), CliError> {
    let tenant = tenant::by_name(db, tenant).await?;
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = PageRequest::new(None, cursor.as_deref()).map_err(anyhow::Error::from)?;
        let page = api_keys::list(db, tenant.id, &page).await.map_err(anyhow::Error::from)?;
        items.extend(page.items.iter().map(shown));
        cursor = page.next;
        if cursor.is_none() {
            return print_json(&json!({ "items": items }));
        }
    }
}

async fn revoke(db: &entities::Database, args: &RevokeArgs) -> Result<(), CliError> {
    let tenant = tenant::by_name(db, &args.tenant).await?;
    if !api_keys::revoke(db, tenant.id, args.id).await.map_err(anyhow::Error::from)? {
        return Err(CliError::Usage(format!("{:?} has no API key {}", tenant.name, args.id)));
    }
    print_json(&json!({ "id": args.id, "revoked": true }))
}

fn shown(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "hint": key.hint,
        "scopes": key.scope.all(),
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "created_at": key.created_at,
    })
}
