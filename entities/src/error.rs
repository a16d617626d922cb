//! What can go wrong with rows.

use sea_orm::{DbErr, RuntimeErr, SqlErr};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the database or of its use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be opened.
    #[error("cannot open the database {url}: {source}")]
    Open {
        /// Its URL, without the password.
        url: String,
        /// What the driver said.
        source: DbErr,
    },
    /// The URL names no database that Touchline can use.
    #[error("cannot use the database {url}: {reason}")]
    Unusable {
        /// Its URL, without the password.
        url: String,
        /// Why, and what would do.
        reason: &'static str,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot migrate the database {url}: {source}")]
    Migrate {
        /// Its URL, without the password.
        url: String,
        /// What the migration said.
        source: DbErr,
    },
    /// A query failed.
    #[error("database error while {doing}: {source}")]
    Query {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        source: DbErr,
    },
    /// A value that must be unique exists already.
    #[error("{what} is already taken")]
    Taken {
        /// Which value.
        what: String,
    },
    /// What a new row refers to was deleted at this very moment.
    #[error("{what} was deleted meanwhile")]
    Gone {
        /// What it refers to.
        what: &'static str,
    },
}

impl Error {
    /// Whether the database had no room to write: a full disk, which may have room again.
    pub fn is_full(&self) -> bool {
        self.has_code(&FULL)
    }

    /// Whether the database cannot hold a text: PostgreSQL has no U+0000, which JSON and SQLite have.
    pub fn is_text(&self) -> bool {
        self.has_code(&TEXT)
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        let Self::Query { source, .. } = self else { return false };
        let (DbErr::Conn(failed) | DbErr::Exec(failed) | DbErr::Query(failed)) = source else { return false };
        let RuntimeErr::SqlxError(failed) = failed else { return false };
        let code = failed.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| codes.contains(&code.as_ref()))
    }
}

/// PostgreSQL's `character_not_in_repertoire` and `untranslatable_character`.
const TEXT: [&str; 2] = ["22021", "22P05"];

/// SQLITE_FULL, SQLITE_IOERR_WRITE and SQLITE_IOERR_SHMSIZE, which a full disk leads to as well; PostgreSQL's
/// `disk_full`.
const FULL: [&str; 4] = ["13", "778", "4874", "53100"];

/// Adds what was being done to a driver's error.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T>;
    /// Like [`Doing::doing`]; a violated unique index becomes [`Error::Taken`].
    fn unique(self, what: impl FnOnce() -> String, doing: &'static str) -> Result<T>;
    /// Like [`Doing::doing`]; a violated foreign key becomes [`Error::Gone`].
    fn referring(self, what: &'static str, doing: &'static str) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, DbErr> {
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|source| Error::Query { doing, source })
    }

    fn unique(self, what: impl FnOnce() -> String, doing: &'static str) -> Result<T> {
        self.map_err(|source| match source.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Error::Taken { what: what() },
            _ => Error::Query { doing, source },
        })
    }

    fn referring(self, what: &'static str, doing: &'static str) -> Result<T> {
        self.map_err(|source| match source.sql_err() {
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => Error::Gone { what },
            _ => Error::Query { doing, source },
        })
    }
}
