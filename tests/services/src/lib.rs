//! Private servers for tests: a PostgreSQL and a Redis of the test process' own, which end with it.
//!
//! Both listen on a socket in a temporary folder, so that no port is taken, and both are real: what is missing on a
//! machine fails the test with the line that installs it.

mod folder;
mod guardian;
mod postgres;
mod redis;

pub use folder::temporary_folder;
pub use postgres::{copy_of_database, fresh_database};
pub use redis::{Redis, fresh_redis};
