//! The first account of a deployment.

use std::env;

use actors::threads::named;
use anyhow::Context;
use entities::Database;
use entities::users::{self, Role};

use super::password;
use super::secret::random_text;

/// The tenant made at the first start.
const TENANT: &str = "default";
/// The operator's address unless the environment says otherwise.
const EMAIL: &str = "admin@localhost";

/// The login of the first operator with a password that was generated: it is kept nowhere else.
pub struct GeneratedLogin {
    /// The operator's address.
    pub email: String,
    /// The password.
    pub password: String,
}

/// Makes the tenant `default` and its operator on a deployment without users: from
/// `TOUCHLINE_ADMIN_EMAIL` and `TOUCHLINE_ADMIN_PASSWORD`, or with a generated password, which is
/// returned, to be printed once.
///
/// # Errors
/// When the given password is refused or the rows cannot be written.
pub async fn first_start(db: &Database) -> anyhow::Result<Option<GeneratedLogin>> {
    if users::any(db).await? {
        return Ok(None);
    }
    let given = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let email = given("TOUCHLINE_ADMIN_EMAIL").unwrap_or_else(|| EMAIL.to_owned());
    let chosen = given("TOUCHLINE_ADMIN_PASSWORD");
    let generated = chosen.is_none();
    let password = chosen.unwrap_or_else(random_text::<18>);
    let hashed = {
        let password = password.clone();
        named("argon2".to_owned(), move || password::hash(&password))
            .await
            .context("hashing the operator's password")?
    }
    .context("TOUCHLINE_ADMIN_PASSWORD cannot be used")?;
    let made = users::create_first(db, TENANT, &email, &hashed, Role::Operator).await?;
    Ok((made.is_some() && generated).then_some(GeneratedLogin { email, password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn the_first_start_makes_one_operator_and_the_second_none() {
        let dir = tempfile::tempdir().unwrap();
        let db = entities::connect(&format!("sqlite://{}/touchline.db", dir.path().display())).await.unwrap();
        first_start(&db).await.unwrap();
        first_start(&db).await.unwrap();
        let tenant = entities::tenants::find_by_name(&db, TENANT).await.unwrap().unwrap();
        let users = users::list(&db, tenant.id, &Default::default()).await.unwrap().items;
        assert_eq!(users.len(), 1);
        assert_eq!(users[0].role, Role::Operator);
        assert!(users[0].password_hash.starts_with("$argon2id$"));
    }
}
