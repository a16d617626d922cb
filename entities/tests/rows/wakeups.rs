//! Claimers are woken by every transaction that makes jobs ready, on PostgreSQL.

use std::time::Duration;

use entities::{
    exports::{self, Retried},
    jobs::{self, Failure, JobKind, JobWakeups, NewJob},
};

use crate::support::Fresh;

/// Fails when no wake-up comes; how long that takes does not matter.
async fn woken(wakeups: &mut JobWakeups) {
    tokio::time::timeout(Duration::from_secs(60), wakeups.next()).await.expect("a wake-up").unwrap();
}

/// Fails when a wake-up is there; one that comes later than this waits goes unnoticed.
async fn quiet(wakeups: &mut JobWakeups) {
    let woken = tokio::time::timeout(Duration::from_millis(100), wakeups.next()).await;
    assert!(woken.is_err(), "a wake-up without a reason");
}

#[tokio::test]
async fn sqlite_has_none() {
    assert!(Fresh::sqlite().await.db.job_wakeups().await.unwrap().is_none());
}

#[tokio::test]
async fn jobs_that_become_ready_wake_all_nodes() {
    let fresh = Fresh::postgres().await;
    let tenant = fresh.tenant("club").await.id;
    let export = fresh.export(tenant).await;
    let mut wakeups = fresh.db.job_wakeups().await.unwrap().expect("PostgreSQL has wake-ups");
    let mut other_node = fresh.db.job_wakeups().await.unwrap().unwrap();

    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    woken(&mut wakeups).await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    let failure = jobs::fail(&fresh.db, &job, "render_failed", "no device").await.unwrap();
    assert!(matches!(failure, Failure::Retry { .. }));
    woken(&mut wakeups).await;
    fresh.skip_backoff().await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    assert!(jobs::release(&fresh.db, &job).await.unwrap());
    woken(&mut wakeups).await;
    fresh.claim("a", JobKind::Segment).await.unwrap();
    assert_eq!(jobs::take_back(&fresh.db, "a").await.unwrap().ready, 1);
    woken(&mut wakeups).await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    fresh.expire_leases().await;
    assert_eq!(jobs::sweep(&fresh.db).await.unwrap().ready, 1);
    woken(&mut wakeups).await;
    exports::cancel(&fresh.db, tenant, export.id).await.unwrap();
    let tx = fresh.db.begin().await.unwrap();
    let retried = exports::retry(&tx, tenant, export.id, &[], None).await.unwrap();
    assert!(matches!(retried, Retried::Now(_)));
    tx.commit().await.unwrap();
    woken(&mut wakeups).await;

    // Neither what is rolled back nor what changes nothing.
    let tx = fresh.db.begin().await.unwrap();
    let new = NewJob { export: export.id, tenant, kind: JobKind::Segment, index: 7, cost: 1.0 };
    jobs::enqueue(&tx, &new).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(!jobs::release(&fresh.db, &job).await.unwrap());
    quiet(&mut wakeups).await;
    for _ in 0..6 {
        woken(&mut other_node).await;
    }
    quiet(&mut other_node).await;
}

#[tokio::test]
async fn a_lost_connection_is_opened_again_and_wakes_once() {
    let fresh = Fresh::postgres().await;
    let tenant = fresh.tenant("club").await.id;
    let export = fresh.export(tenant).await;
    let mut wakeups = fresh.db.job_wakeups().await.unwrap().unwrap();
    fresh
        .sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'touchline-wakeups' and datname = current_database()")
        .await;
    woken(&mut wakeups).await;
    quiet(&mut wakeups).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    woken(&mut wakeups).await;
    quiet(&mut wakeups).await;
}
