//! `touchline user`: administration without HTTP.

use std::io::BufRead;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use config::Settings;
use entities::users::{self, NewUser};
use serde_json::json;
use touchline::http::auth::{password, secret};
use touchline::http::users::looks_like_an_address;

use super::error::CliError;
use super::{print_json, tenant};

/// Works while a server runs on the same database; the new user can log in at once.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum UserCommand {
    /// Add a user
    Create(CreateArgs),
}

#[derive(Args)]
pub struct CreateArgs {
    /// The tenant's name
    #[arg(long)]
    tenant: String,
    /// The address to log in with, unique in the deployment
    #[arg(long)]
    email: String,
    /// What the user may do
    #[arg(long)]
    role: Role,
    /// Read the password from standard input, one line; without it one is made and printed
    #[arg(long)]
    password_stdin: bool,
}

/// `viewer` reads; `editor` also writes; `admin` also runs its tenant's users; `operator` also runs the deployment.
#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Viewer,
    Editor,
    Admin,
    Operator,
}

impl From<Role> for users::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Editor => Self::Editor,
            Role::Admin => Self::Admin,
            Role::Operator => Self::Operator,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  touchline user create --tenant \"FC Example\" --email coach@example.com --role editor
  echo 'a long secret' | touchline user create --tenant default --email me@example.com --role admin --password-stdin";

/// Random bytes of a generated password: 24 characters of text.
const GENERATED_BYTES: usize = 18;

pub fn run(command: UserCommand, settings: &Settings) -> Result<(), CliError> {
    let UserCommand::Create(args) = command;
    if !looks_like_an_address(&args.email) {
        return Err(CliError::Usage(format!("{:?} is no e-mail address", args.email)));
    }
    let given = if args.password_stdin { Some(one_line_of_stdin()?) } else { None };
    let generated = given.is_none().then(secret::random_text::<GENERATED_BYTES>);
    let chosen = given.or_else(|| generated.clone()).unwrap_or_default();
    let hash = password::hash(&chosen).map_err(|error| CliError::Usage(error.to_string()))?;

    tenant::with_database(settings, async |db| {
        let tenant = tenant::by_name(db, &args.tenant).await?;
        let new =
            NewUser { tenant_id: tenant.id, email: args.email.clone(), password_hash: hash, role: args.role.into() };
        let user = users::create(db, new).await.map_err(tenant::taken_is_usage)?;
        let mut shown = json!({
            "id": user.id,
            "tenant_id": user.tenant_id,
            "email": user.email,
            "role": user.role,
            "created_at": user.created_at,
        });
        if let Some(password) = generated {
            shown["password"] = password.into();
        }
        print_json(&shown)
    })
}

/// One line, without its newline.
fn one_line_of_stdin() -> Result<String, CliError> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
