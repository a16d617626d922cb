//! The rows on both databases: every test runs on a fresh SQLite file and on a fresh PostgreSQL database.

mod deployment;
mod exports;
mod history;
mod jobs;
mod marks;
mod people;
mod removals;
mod retries;
mod schema;
mod segments;
mod stored;
mod support;
mod tenancy;
mod usage;
mod videos;
mod wakeups;
mod webhooks;
