//! The life of an export, and lists of exports.

use std::time::Duration;

use entities::{
    Error, VideoId,
    exports::{self, Cancelled, Completion, Deleted, ExportKind, ExportState, Filter, Finished, ResultFile},
    jobs::{self, JobKind},
    page::PageRequest,
    tenants,
};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(
    an_export_goes_forward_only,
    an_end_is_final,
    a_coordinator_that_lost_its_job_changes_nothing,
    failing_ends_the_jobs,
    deleting_needs_an_end,
    lists_are_filtered_and_paged,
    unfinished_exports_are_counted,
    an_export_of_a_video_that_is_gone_is_not_stored,
);

/// More than a tenant stores in these tests.
const ROOM: u64 = 1 << 40;

fn finished() -> Finished {
    let result = ResultFile { key: "k".to_owned(), bytes: 10, etag: "e".to_owned() };
    Finished { report: json!({"frames": 90}), result: Some(result), cost: 0.5 }
}

async fn an_export_goes_forward_only(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, job) = fresh.coordinated(tenant.id, "a").await;
    let get = || async { exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap() };
    for state in &ExportState::UNFINISHED[1..] {
        let advanced = exports::advance(&fresh.db, &job, *state).await.unwrap().unwrap();
        assert_eq!((advanced.state, &advanced), (*state, &get().await), "the row as it is stored");
    }
    let started = get().await.started_at;
    assert!(started.is_some());
    // A coordinator that adopts the export walks again.
    let again = exports::advance(&fresh.db, &job, ExportState::Preparing).await.unwrap().unwrap();
    assert_eq!(again, get().await);
    assert_eq!((get().await.state, get().await.started_at), (ExportState::Publishing, started));
    assert_eq!(
        exports::advance(&fresh.db, &job, ExportState::Complete).await.unwrap(),
        None,
        "only `finish` completes"
    );

    for (progress, expected) in [(0.5, 0.5), (0.25, 0.5), (f64::NAN, 0.5), (0.75, 0.75), (7.0, 1.0)] {
        assert!(exports::set_progress(&fresh.db, &job, progress, "at work").await.unwrap());
        assert_eq!(get().await.progress, expected);
    }
    assert!(exports::warn(&fresh.db, &job, "frame 3 was damaged").await.unwrap());
    assert!(exports::warn(&fresh.db, &job, "frame 3 was damaged").await.unwrap());
    assert!(exports::warn(&fresh.db, &job, "no detector").await.unwrap());
    assert_eq!(get().await.warnings, json!(["frame 3 was damaged", "no detector"]));
}

async fn an_end_is_final(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, job) = fresh.coordinated(tenant.id, "a").await;
    assert_eq!(
        exports::finish(&fresh.db, &job, finished(), ROOM).await.unwrap(),
        Completion::Not,
        "not before it is published"
    );
    assert!(exports::advance(&fresh.db, &job, ExportState::Publishing).await.unwrap().is_some());
    let Completion::Now(returned) = exports::finish(&fresh.db, &job, finished(), ROOM).await.unwrap() else {
        panic!("it is published")
    };
    let complete = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!(*returned, complete);
    assert_eq!((complete.state, complete.progress, complete.cost), (ExportState::Complete, 1.0, 0.5));
    assert_eq!((complete.result_key.as_deref(), complete.result_bytes), (Some("k"), Some(10)));
    assert!(complete.finished_at.is_some());
    assert!(complete.frames_total > 0);
    assert_eq!(complete.frames_done, complete.frames_total, "frames that no segment had are counted");

    assert_eq!(exports::finish(&fresh.db, &job, finished(), ROOM).await.unwrap(), Completion::Not);
    assert_eq!(exports::fail(&fresh.db, &job, json!({})).await.unwrap(), None);
    assert_eq!(exports::advance(&fresh.db, &job, ExportState::Publishing).await.unwrap(), None);
    assert!(!exports::set_progress(&fresh.db, &job, 0.1, "late").await.unwrap());
    assert!(!exports::warn(&fresh.db, &job, "late").await.unwrap());
    let before = Cancelled::Before(Box::new(complete.clone()));
    assert_eq!(exports::cancel(&fresh.db, tenant.id, export.id).await.unwrap(), before);
    assert_eq!(exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap(), complete);
}

async fn a_coordinator_that_lost_its_job_changes_nothing(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, late) = fresh.coordinated(tenant.id, "a").await;
    assert!(exports::advance(&fresh.db, &late, ExportState::Publishing).await.unwrap().is_some());
    jobs::take_back(&fresh.db, "a").await.unwrap();
    let job = fresh.claim("b", JobKind::Coordinate).await.unwrap();
    let before = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();

    assert_eq!(exports::advance(&fresh.db, &late, ExportState::Publishing).await.unwrap(), None);
    assert!(!exports::set_progress(&fresh.db, &late, 0.9, "late").await.unwrap());
    assert!(!exports::warn(&fresh.db, &late, "late").await.unwrap());
    assert_eq!(exports::fail(&fresh.db, &late, json!({})).await.unwrap(), None);
    assert_eq!(exports::finish(&fresh.db, &late, finished(), ROOM).await.unwrap(), Completion::Not);
    assert_eq!(exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap(), before);
    assert!(matches!(exports::finish(&fresh.db, &job, finished(), ROOM).await.unwrap(), Completion::Now(_)));
}

async fn failing_ends_the_jobs(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, job) = fresh.coordinated(tenant.id, "a").await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    fresh.enqueue(&export, JobKind::Segment, 1, 1.0).await;
    let segment = fresh.claim("a", JobKind::Segment).await.unwrap();
    let failed = exports::fail(&fresh.db, &job, json!({"code": "segment_failed"})).await.unwrap();
    let export = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!(failed.as_ref(), Some(&export));
    assert_eq!((export.state, export.problem), (ExportState::Failed, Some(json!({"code": "segment_failed"}))));
    assert!(!jobs::renew(&fresh.db, &segment, Duration::from_secs(60)).await.unwrap());
    assert_eq!(fresh.claim("a", JobKind::Segment).await, None);
}

async fn deleting_needs_an_end(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, _) = fresh.coordinated(tenant.id, "a").await;
    assert_eq!(exports::delete(&fresh.db, tenant.id, export.id).await.unwrap(), Deleted::Unfinished);
    let Cancelled::Now(cancelled) = exports::cancel(&fresh.db, tenant.id, export.id).await.unwrap() else {
        panic!("an unfinished export can be cancelled");
    };
    assert_eq!(cancelled.state, ExportState::Cancelled);
    assert_eq!(exports::delete(&fresh.db, tenant.id, export.id).await.unwrap(), Deleted::Gone(cancelled));
    assert_eq!(exports::delete(&fresh.db, tenant.id, export.id).await.unwrap(), Deleted::NotFound);
}

async fn lists_are_filtered_and_paged(fresh: Fresh) {
    let (club, rival) = (fresh.tenant("club").await, fresh.tenant("rival").await);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fresh.export(club.id).await.id);
        fresh.export(rival.id).await;
    }
    exports::cancel(&fresh.db, club.id, ids[1]).await.unwrap();
    ids.reverse();

    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = PageRequest::new(Some(2), cursor.as_deref()).unwrap();
        let page = exports::list(&fresh.db, club.id, Filter::default(), &page).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|export| export.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids, "newest first, each once, none of another tenant");

    let list = async |kind, state| {
        let filter = Filter { kind, state };
        exports::list(&fresh.db, club.id, filter, &PageRequest::default()).await.unwrap().items.len()
    };
    assert_eq!(list(None, Some(ExportState::Cancelled)).await, 1);
    assert_eq!(list(Some(ExportKind::Framing), Some(ExportState::Queued)).await, 4);
    assert_eq!(list(Some(ExportKind::Detection), None).await, 0);
    assert!(PageRequest::new(Some(0), None).is_err() && PageRequest::new(Some(201), None).is_err());
    assert!(PageRequest::new(None, Some("not a cursor")).is_err());
}

async fn unfinished_exports_are_counted(fresh: Fresh) {
    let (club, rival) = (fresh.tenant("club").await, fresh.tenant("rival").await);
    fresh.export(rival.id).await;
    let first = fresh.export(club.id).await;
    fresh.export(club.id).await;
    exports::cancel(&fresh.db, club.id, first.id).await.unwrap();
    let tx = fresh.db.begin().await.unwrap();
    assert!(tenants::lock(&tx, club.id).await.unwrap().is_some());
    assert_eq!(exports::backlog(&tx, club.id).await.unwrap().exports, 1);
    tx.commit().await.unwrap();
}

async fn an_export_of_a_video_that_is_gone_is_not_stored(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let new = fresh.new_export(tenant.id, &[VideoId::new()]);
    let id = new.id;
    let tx = fresh.db.begin().await.unwrap();
    let error = exports::insert(&tx, new).await.unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error}");
    tx.rollback().await.unwrap();
    assert!(exports::get(&fresh.db, tenant.id, id).await.unwrap().is_none());
}
