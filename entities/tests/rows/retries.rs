//! New attempts of ended exports, keys of repeated requests, and the sweepers' queries.

use chrono::{TimeDelta, Utc};
use entities::{
    Transaction,
    exports::{self, Export, ExportState, Retried},
    idempotency::{self, Known, RequestKey},
    jobs::{self, JobKind, JobState},
    segments::{self, Committed, NewSegment, Segment},
    tenants,
};

use crate::support::{Fresh, on_both};

on_both!(
    a_retry_goes_on_with_the_kept_segments,
    a_cancelled_export_keeps_no_segment,
    only_an_ended_attempt_is_retried_and_only_by_its_tenant,
    a_key_is_its_tenants_and_goes_with_its_export,
    a_key_is_forgotten_after_a_day,
    sweeps_find_what_has_ended,
);

/// Finishes the next segment of an export.
async fn finish_next(fresh: &Fresh) -> Committed {
    let job = fresh.claim("node", JobKind::Segment).await.unwrap();
    let new = NewSegment {
        first_frame: i64::from(job.index) * 30,
        frames: 30,
        storage_key: format!("segment-{}", job.index),
        bytes: 500,
        sha256: "00".repeat(32),
        device_seconds: 0.25,
        frames_inferred: 15,
        devices: Vec::new(),
    };
    segments::commit(&fresh.db, &job, new, &[]).await.unwrap()
}

/// An export with two finished segments of three that has failed.
async fn failed(fresh: &Fresh, tenant: entities::TenantId) -> (Export, Vec<Segment>) {
    let (export, coordinator) = fresh.coordinated(tenant, "node").await;
    for index in 0..3 {
        fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
    }
    for _ in 0..2 {
        assert_eq!(finish_next(fresh).await, Committed::First);
    }
    let problem = exports::problem("disk_full", "segment 2: no space");
    assert!(exports::fail(&fresh.db, &coordinator, problem).await.unwrap().is_some());
    let kept = segments::list(&fresh.db, tenant, export.id).await.unwrap();
    assert_eq!(kept.len(), 2);
    (export, kept)
}

async fn retry(fresh: &Fresh, tenant: entities::TenantId, id: entities::ExportId, kept: &[Segment]) -> Retried {
    let tx = fresh.db.begin().await.unwrap();
    let retried = exports::retry(&tx, tenant, id, kept, None).await.unwrap();
    tx.commit().await.unwrap();
    retried
}

async fn a_retry_goes_on_with_the_kept_segments(fresh: Fresh) {
    let tenant = fresh.tenant("club").await.id;
    let (export, kept) = failed(&fresh, tenant).await;
    let row = exports::get(&fresh.db, tenant, export.id).await.unwrap().unwrap();
    let problem = row.problem.unwrap();
    assert_eq!((problem["code"].as_str(), problem["status"].as_i64()), (Some("disk_full"), Some(507)));

    // The file of segment 0 is lost: only segment 1 counts on.
    let Retried::Now(again) = retry(&fresh, tenant, export.id, &kept[1..]).await else {
        panic!("a failed export can be retried");
    };
    let row = exports::get(&fresh.db, tenant, export.id).await.unwrap().unwrap();
    assert_eq!(*again, row);
    assert_eq!((row.state, row.attempt, row.progress), (ExportState::Queued, 2, 0.0));
    assert_eq!((row.frames_done, row.frames_inferred, row.device_seconds), (30, 15, 0.25));
    assert_eq!((row.problem, row.started_at, row.finished_at), (None, None, None));
    let left = segments::list(&fresh.db, tenant, export.id).await.unwrap();
    assert_eq!(left.iter().map(|segment| segment.index).collect::<Vec<_>>(), [1]);

    let coordinator = fresh.claim("node", JobKind::Coordinate).await.unwrap();
    assert_eq!((coordinator.export_id, coordinator.failures), (export.id, 0));
    let known = jobs::of_export(&fresh.db, &coordinator).await.unwrap();
    let parts: Vec<_> = known.iter().filter(|job| job.kind == JobKind::Segment).collect();
    assert_eq!(parts.iter().map(|job| (job.index, job.state)).collect::<Vec<_>>(), [(1, JobState::Done)]);
    assert_eq!(fresh.claim("node", JobKind::Segment).await, None, "what is missing is planned anew");
}

async fn a_cancelled_export_keeps_no_segment(fresh: Fresh) {
    let tenant = fresh.tenant("club").await.id;
    let export = fresh.export(tenant).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    assert_eq!(finish_next(&fresh).await, Committed::First);
    exports::cancel(&fresh.db, tenant, export.id).await.unwrap();
    assert!(segments::list(&fresh.db, tenant, export.id).await.unwrap().is_empty());
    assert!(matches!(retry(&fresh, tenant, export.id, &[]).await, Retried::Now(_)));
    let row = exports::get(&fresh.db, tenant, export.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.frames_done, row.device_seconds), (ExportState::Queued, 0, 0.0));
}

async fn only_an_ended_attempt_is_retried_and_only_by_its_tenant(fresh: Fresh) {
    let (owner, thief) = (fresh.tenant("owner").await.id, fresh.tenant("thief").await.id);
    let export = fresh.export(owner).await;
    assert_eq!(retry(&fresh, owner, export.id, &[]).await, Retried::Not(Box::new(export.clone())));
    exports::cancel(&fresh.db, owner, export.id).await.unwrap();
    assert_eq!(retry(&fresh, thief, export.id, &[]).await, Retried::NotFound);
    let row = exports::get(&fresh.db, owner, export.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempt), (ExportState::Cancelled, 1));
}

fn key(request: &str) -> RequestKey {
    RequestKey { key: "k".to_owned(), request_sha256: request.repeat(64) }
}

async fn begun(fresh: &Fresh, tenant: entities::TenantId) -> Transaction {
    let tx = fresh.db.begin().await.unwrap();
    assert!(tenants::lock(&tx, tenant).await.unwrap().is_some());
    tx
}

async fn a_key_is_its_tenants_and_goes_with_its_export(fresh: Fresh) {
    let (owner, other) = (fresh.tenant("owner").await.id, fresh.tenant("other").await.id);
    let export = fresh.export(owner).await;
    let tx = begun(&fresh, owner).await;
    assert_eq!(idempotency::find_locked(&tx, owner, &key("a")).await.unwrap(), Known::New);
    idempotency::keep(&tx, owner, key("a"), export.id).await.unwrap();
    tx.commit().await.unwrap();
    let find = async |tenant, request| idempotency::find(&fresh.db, tenant, &key(request)).await.unwrap();
    assert_eq!(find(owner, "a").await, Known::Same(export.id));
    assert_eq!(find(owner, "b").await, Known::Other);
    assert_eq!((find(other, "a").await, find(other, "b").await), (Known::New, Known::New));
    exports::cancel(&fresh.db, owner, export.id).await.unwrap();
    exports::delete(&fresh.db, owner, export.id).await.unwrap();
    assert_eq!(find(owner, "a").await, Known::New);
}

async fn a_key_is_forgotten_after_a_day(fresh: Fresh) {
    let tenant = fresh.tenant("club").await.id;
    let (first, second) = (fresh.export(tenant).await, fresh.export(tenant).await);
    for export in [&first, &second] {
        let tx = begun(&fresh, tenant).await;
        assert_eq!(idempotency::find_locked(&tx, tenant, &key("a")).await.unwrap(), Known::New);
        idempotency::keep(&tx, tenant, key("a"), export.id).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(idempotency::find(&fresh.db, tenant, &key("a")).await.unwrap(), Known::Same(export.id));
        assert_eq!(idempotency::forget_expired(&fresh.db).await.unwrap(), 0);
        fresh.sql("update idempotency_keys set created_at = '2000-01-01T00:00:00+00:00'").await;
    }
    assert_eq!(idempotency::forget_expired(&fresh.db).await.unwrap(), 1);
}

async fn sweeps_find_what_has_ended(fresh: Fresh) {
    let tenant = fresh.tenant("club").await.id;
    let running = fresh.export(tenant).await;
    let (failed, _) = failed(&fresh, tenant).await;
    let (soon, past) = (Utc::now() + TimeDelta::hours(1), Utc::now() - TimeDelta::hours(1));
    let failed = (tenant, failed.id);
    assert_eq!(exports::ended_before(&fresh.db, soon).await.unwrap(), [failed]);
    assert_eq!(exports::ended_before(&fresh.db, past).await.unwrap(), []);
    assert_eq!(exports::keeping_segments_since(&fresh.db, soon).await.unwrap(), [failed]);
    assert_eq!(exports::keeping_segments_since(&fresh.db, past).await.unwrap(), []);
    let mut resumable = exports::resumable(&fresh.db).await.unwrap();
    resumable.sort_by_key(|(_, id)| *id);
    assert_eq!(resumable, [(tenant, running.id), failed]);

    assert!(!exports::drop_segments(&fresh.db, tenant, running.id).await.unwrap(), "it still makes some");
    assert!(exports::drop_segments(&fresh.db, tenant, failed.1).await.unwrap());
    assert_eq!(exports::keeping_segments_since(&fresh.db, soon).await.unwrap(), []);
    assert!(matches!(retry(&fresh, tenant, failed.1, &[]).await, Retried::Now(_)));
}
