//! First commit wins, and the totals are exact.

use entities::{
    Subject, VideoId,
    detections::{self, NewDetection},
    exports,
    jobs::{self, JobKind},
    segments::{self, Committed, NewSegment, SegmentKind},
    usage::DeviceTime,
};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(
    the_first_commit_counts_and_a_late_one_does_not,
    many_commits_at_once_add_up,
    a_cancelled_export_takes_no_segment,
    a_segment_is_not_counted_twice,
    a_commit_forgives_the_coordinators_crashes_and_no_neighbours,
    a_segment_that_always_crashes_ends_while_its_neighbours_go_on,
    foreign_detections_are_left_out,
);

fn segment(first_frame: i64) -> NewSegment {
    NewSegment {
        first_frame,
        frames: 30,
        storage_key: format!("segment-{first_frame}"),
        bytes: 500,
        sha256: "00".repeat(32),
        device_seconds: 0.25,
        frames_inferred: 15,
        devices: vec![DeviceTime { device: "sim:0".to_owned(), frames: 15, device_seconds: 0.25, cost: 0.5 }],
    }
}

fn detection(subject: Subject, frame: i64) -> NewDetection {
    NewDetection {
        subject,
        model: "nanodet-g".to_owned(),
        frame,
        time: frame as f64 / 30.0,
        width: 810,
        height: 1440,
        boxes: json!([{"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "confidence": 0.9, "label": "person"}]),
    }
}

async fn the_first_commit_counts_and_a_late_one_does_not(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    let subject = Subject::Export(export.id);
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let late = fresh.claim("a", JobKind::Segment).await.unwrap();
    jobs::take_back(&fresh.db, "a").await.unwrap();
    let job = fresh.claim("b", JobKind::Segment).await.unwrap();

    let found = [detection(subject, 0), detection(subject, 20)];
    assert_eq!(segments::commit(&fresh.db, &job, segment(0), &found).await.unwrap(), Committed::First);
    let state = async || {
        (
            exports::get(&fresh.db, tenant.id, export.id).await.unwrap(),
            segments::for_worker(&fresh.db, &job).await.unwrap(),
            detections::get(&fresh.db, tenant.id, subject).await.unwrap(),
            jobs::of_export(&fresh.db, &job).await.unwrap(),
        )
    };
    let before = state().await;
    let row = before.0.as_ref().unwrap();
    assert_eq!((row.frames_done, row.frames_inferred, row.device_seconds), (30, 15, 0.25));
    assert_eq!((before.1.len(), before.1[0].kind), (1, SegmentKind::Video));
    let frames: Vec<_> = before.2.as_ref().unwrap().iter().map(|row| row.frame).collect();
    assert_eq!(frames, [0, 20]);

    let other = [detection(subject, 0), detection(subject, 40)];
    for twin in [&late, &job] {
        assert_eq!(segments::commit(&fresh.db, twin, segment(0), &other).await.unwrap(), Committed::Late);
    }
    assert_eq!(state().await, before, "a late commit left a trace");
}

async fn many_commits_at_once_add_up(fresh: Fresh) {
    const SEGMENTS: i32 = 24;
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    let mut commits = Vec::new();
    for index in 0..SEGMENTS {
        fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
    }
    for _ in 0..SEGMENTS {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        // Each twice, as if a twin had the same claim.
        for _ in 0..2 {
            let (db, job) = (fresh.db.clone(), job.clone());
            commits.push(tokio::spawn(async move {
                let new = segment(i64::from(job.index) * 30);
                let found = [detection(Subject::Export(job.export_id), new.first_frame)];
                segments::commit(&db, &job, new, &found).await.unwrap()
            }));
        }
    }
    let mut first = 0;
    for commit in commits {
        first += i32::from(commit.await.unwrap() == Committed::First);
    }
    assert_eq!(first, SEGMENTS);
    let row = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!((row.frames_done, row.frames_inferred, row.device_seconds), (24 * 30, 24 * 15, 6.0));
    let rows = segments::list(&fresh.db, tenant.id, export.id).await.unwrap();
    assert!(rows.iter().map(|row| row.index).eq(0..SEGMENTS), "in their order");
}

async fn a_cancelled_export_takes_no_segment(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    exports::cancel(&fresh.db, tenant.id, export.id).await.unwrap();
    assert_eq!(segments::commit(&fresh.db, &job, segment(0), &[]).await.unwrap(), Committed::Late);
    assert_eq!(segments::list(&fresh.db, tenant.id, export.id).await.unwrap(), []);
    let row = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!((row.frames_done, row.device_seconds), (0, 0.0));
}

async fn a_segment_is_not_counted_twice(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Audio, 0, 0.0).await;
    let job = fresh.claim("a", JobKind::Audio).await.unwrap();
    let sound = NewSegment { frames: 0, frames_inferred: 0, device_seconds: 0.0, ..segment(0) };
    assert_eq!(segments::commit(&fresh.db, &job, sound.clone(), &[]).await.unwrap(), Committed::First);
    // The job comes alive again, as after a restored backup of the jobs alone.
    fresh.sql("update jobs set state = 'ready'").await;
    let again = fresh.claim("a", JobKind::Audio).await.unwrap();
    let other = NewSegment { device_seconds: 9.0, ..sound };
    assert_eq!(segments::commit(&fresh.db, &again, other, &[]).await.unwrap(), Committed::Late);
    let rows = segments::list(&fresh.db, tenant.id, export.id).await.unwrap();
    assert_eq!((rows.len(), rows[0].kind, rows[0].device_seconds), (1, SegmentKind::Audio, 0.0));
    assert_eq!(fresh.claim("a", JobKind::Audio).await, None, "the job ended");
}

async fn a_commit_forgives_the_coordinators_crashes_and_no_neighbours(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, _) = fresh.coordinated(tenant.id, "a").await;
    for index in 0..2 {
        fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
    }
    for _ in 0..3 {
        fresh.claim("a", JobKind::Segment).await.unwrap();
        fresh.claim("a", JobKind::Segment).await.unwrap();
        jobs::take_back(&fresh.db, "a").await.unwrap();
        fresh.claim("a", JobKind::Coordinate).await.unwrap();
    }
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    assert_eq!(job.crashes, 3);
    assert_eq!(segments::commit(&fresh.db, &job, segment(0), &[]).await.unwrap(), Committed::First);
    let rows = jobs::of_export(&fresh.db, &job).await.unwrap();
    let crashes_of = |kind, index| rows.iter().find(|row| (row.kind, row.index) == (kind, index)).unwrap().crashes;
    assert_eq!(crashes_of(JobKind::Coordinate, 0), 0, "{rows:?}");
    assert_eq!(crashes_of(JobKind::Segment, 1 - job.index), 3, "{rows:?}");
}

async fn a_segment_that_always_crashes_ends_while_its_neighbours_go_on(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, _) = fresh.coordinated(tenant.id, "a").await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let mut dead = Vec::new();
    for crash in 0..jobs::MAX_CRASHES {
        assert!(dead.is_empty(), "dead after {crash} crashes");
        // A neighbour is committed between any two crashes.
        let poisonous = fresh.claim("poisoned", JobKind::Segment).await.unwrap();
        assert_eq!((poisonous.index, poisonous.crashes), (0, crash));
        fresh.enqueue(&export, JobKind::Segment, crash + 1, 1.0).await;
        let neighbour = fresh.claim("a", JobKind::Segment).await.unwrap();
        let row = NewSegment { first_frame: i64::from(neighbour.index) * 120, ..segment(0) };
        assert_eq!(segments::commit(&fresh.db, &neighbour, row, &[]).await.unwrap(), Committed::First);
        dead = jobs::take_back(&fresh.db, "poisoned").await.unwrap().dead;
    }
    assert_eq!((dead.len(), dead[0].index, dead[0].error_code.as_deref()), (1, 0, Some("crashed")));
}

async fn foreign_detections_are_left_out(fresh: Fresh) {
    let (club, rival) = (fresh.tenant("club").await, fresh.tenant("rival").await);
    let source = fresh.video(club.id).await;
    let (unused, foreign) = (fresh.video(club.id).await, fresh.video(rival.id).await);
    let export = fresh.export_of(club.id, &[source.id, source.id]).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    let found = [source.id, unused.id, foreign.id].map(|id| detection(Subject::Video(id), 0));
    assert_eq!(segments::commit(&fresh.db, &job, segment(0), &found).await.unwrap(), Committed::First);
    let count = async |tenant, id: VideoId| {
        detections::get(&fresh.db, tenant, Subject::Video(id)).await.unwrap().unwrap().len()
    };
    assert_eq!(count(club.id, source.id).await, 1);
    assert_eq!(count(club.id, unused.id).await, 0);
    assert_eq!(count(rival.id, foreign.id).await, 0);
}
