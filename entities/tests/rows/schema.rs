//! Opening databases, and the steps of the schema.

use entities::{Error, tenants};
use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::support::{Fresh, on_both};

on_both!(every_step_goes_down_and_up_again, many_can_open_at_once, who_writes_may_read_beside_it_however_many_write);

async fn every_step_goes_down_and_up_again(fresh: Fresh) {
    let raw = sea_orm::Database::connect(&fresh.url).await.unwrap();
    let tables = async || {
        let sql = match raw.get_database_backend() {
            DbBackend::Sqlite => "select name from sqlite_master where type = 'table' order by name",
            _ => "select tablename as name from pg_tables where schemaname = 'public' order by tablename",
        };
        let rows = raw.query_all_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap();
        let names = rows.iter().map(|row| row.try_get::<String>("", "name").unwrap());
        names.filter(|name| name != "seaql_migrations").collect::<Vec<_>>()
    };
    let all = tables().await;
    assert_eq!(all.len(), 28, "{all:?}");
    fresh.tenant("club").await;
    Migrator::down(&raw, None).await.unwrap();
    assert!(tables().await.is_empty(), "{:?}", tables().await);
    Migrator::up(&raw, None).await.unwrap();
    assert_eq!(tables().await, all);
}

async fn many_can_open_at_once(fresh: Fresh) {
    let raw = sea_orm::Database::connect(&fresh.url).await.unwrap();
    Migrator::down(&raw, None).await.unwrap();
    let openers: Vec<_> = (0..4)
        .map(|_| {
            let url = fresh.url.clone();
            tokio::spawn(async move { entities::connect(&url).await.unwrap() })
        })
        .collect();
    for opener in openers {
        let db = opener.await.unwrap();
        db.ping().await.unwrap();
        db.close().await.unwrap();
    }
    fresh.tenant("club").await;
}

async fn who_writes_may_read_beside_it_however_many_write(fresh: Fresh) {
    // Far more than there are connections.
    let mut writers = Vec::new();
    for number in 0..100 {
        let (db, tenant) = (fresh.db.clone(), fresh.tenant(&format!("club {number}")).await.id);
        writers.push(tokio::spawn(async move {
            let tx = db.begin().await?;
            tenants::lock(&tx, tenant).await?;
            let found = tenants::get(&db, tenant).await?;
            tx.commit().await?;
            Ok::<_, Error>(found.is_some())
        }));
    }
    for writer in writers {
        assert!(writer.await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn sqlite_is_durable_and_strict() {
    let fresh = Fresh::sqlite().await;
    let raw = sea_orm::Database::connect(&fresh.url).await.unwrap();
    let journal = Statement::from_string(DbBackend::Sqlite, "pragma journal_mode");
    let row = raw.query_one_raw(journal).await.unwrap().unwrap();
    assert_eq!(row.try_get::<String>("", "journal_mode").unwrap(), "wal");
    assert!(!fresh.db.is_shared());
    // A transaction has the write lock from its beginning: another process's write waits, and then fails as busy.
    let tx = fresh.db.begin().await.unwrap();
    raw.execute_unprepared("pragma busy_timeout = 1").await.unwrap();
    let refused = raw.execute_unprepared("update tenants set name = name").await;
    assert!(refused.unwrap_err().to_string().contains("locked"));
    tx.rollback().await.unwrap();
    raw.execute_unprepared("update tenants set name = name").await.unwrap();
}

#[tokio::test]
async fn unusable_urls_are_refused_without_their_password() {
    let memory = entities::connect("sqlite::memory:").await.unwrap_err();
    assert!(matches!(memory, Error::Unusable { .. }), "{memory}");
    let other = entities::connect("mysql://me:secret@host/db").await.unwrap_err().to_string();
    assert!(other.contains("mysql://me:***@host/db") && !other.contains("secret"), "{other}");
    let missing = entities::connect("sqlite:///nowhere/at/all/touchline.db").await.unwrap_err();
    assert!(missing.to_string().starts_with("cannot open the database sqlite:///nowhere"), "{missing}");
}
