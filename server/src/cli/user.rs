//! `touchline user`: administration without HTTP.

use std::io::BufRead;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use config::Settings;
use entities::users::{self, NewUser, User, UserChange};
use serde_json::{Value, json};

use super::error::CliError;
use super::{print_json, tenant};
use crate::http::auth::{password, secret};
use crate::http::users::looks_like_an_address;

/// Works while a server runs on the same database; a new user or password is valid at once.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum UserCommand {
    /// Add a user
    Create(CreateArgs),
    /// Set a user's password, for one who has lost it; ends every session of the user
    Password(PasswordArgs),
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

#[derive(Args)]
pub struct PasswordArgs {
    /// The address that the user logs in with
    email: String,
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
  touchline user password admin@localhost
  echo 'a long secret' | touchline user create --tenant default --email me@example.com --role admin --password-stdin";

/// Random bytes of a generated password: 24 characters of text.
const GENERATED_BYTES: usize = 18;

pub fn run(command: UserCommand, settings: &Settings) -> Result<(), CliError> {
    match command {
        UserCommand::Create(args) => create(args, settings),
        UserCommand::Password(args) => set_password(&args, settings),
    }
}

fn create(args: CreateArgs, settings: &Settings) -> Result<(), CliError> {
    if !looks_like_an_address(&args.email) {
        return Err(CliError::Usage(format!("{:?} is no e-mail address", args.email)));
    }
    let chosen = Chosen::read(args.password_stdin)?;
    tenant::with_existing_database(settings, async |db| {
        let tenant = tenant::by_name(db, &args.tenant).await?;
        let new =
            NewUser { tenant_id: tenant.id, email: args.email, password_hash: chosen.hash, role: args.role.into() };
        let user = users::create(db, new).await.map_err(tenant::taken_is_usage)?;
        print_json(&shown(&user, chosen.generated))
    })
}

/// Sets a user's password, which ends every session of the user.
fn set_password(args: &PasswordArgs, settings: &Settings) -> Result<(), CliError> {
    let chosen = Chosen::read(args.password_stdin)?;
    tenant::with_existing_database(settings, async |db| {
        let unknown = || CliError::Usage(format!("there is no user {:?}", args.email));
        let found = users::find_for_login(db, &args.email).await.map_err(anyhow::Error::from)?;
        let (user, _) = found.ok_or_else(unknown)?;
        let change = UserChange { password_hash: Some(chosen.hash), ..UserChange::default() };
        let changed = users::change(db, user.tenant_id, user.id, change).await.map_err(anyhow::Error::from)?;
        print_json(&shown(&changed.ok_or_else(unknown)?, chosen.generated))
    })
}

/// A new password, as it is stored.
struct Chosen {
    hash: String,
    /// Its text, where it was generated and is to be printed.
    generated: Option<String>,
}

impl Chosen {
    /// Reads it from standard input or generates it.
    fn read(from_stdin: bool) -> Result<Self, CliError> {
        let given = if from_stdin { Some(one_line_of_stdin()?) } else { None };
        let generated = given.is_none().then(secret::random_text::<GENERATED_BYTES>);
        let chosen = given.or_else(|| generated.clone()).unwrap_or_default();
        let hash = password::hash(&chosen).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Self { hash, generated })
    }
}

fn shown(user: &User, generated: Option<String>) -> Value {
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
    shown
}

/// One line, without its newline.
fn one_line_of_stdin() -> Result<String, CliError> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
