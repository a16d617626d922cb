//! Uploads become videos, and videos go.

use chrono::{TimeDelta, Utc};
use entities::{
    Subject,
    detections::{self, NewDetection},
    exports::{self, ExportState},
    jobs::JobKind,
    links,
    page::PageRequest,
    stored,
    uploads::{self, NewUpload},
    videos::{self, Deleted, NewVideo, Processed, VideoState},
};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(
    an_upload_becomes_a_video,
    a_video_is_processed_once,
    attempts_to_index_are_counted_while_it_is_processed,
    a_used_video_stays_unless_forced,
    newer_detections_replace_older_ones,
    a_link_opens_until_it_is_revoked,
);

async fn an_upload_becomes_a_video(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    let soon = Utc::now() + TimeDelta::hours(1);
    let new = NewUpload { tenant_id: club.id, length: 100, metadata: json!({"filename": "a.mp4"}), expires_at: soon };
    let upload = uploads::create(&fresh.db, new, u64::MAX).await.unwrap().unwrap();
    let advance = |from, to| uploads::advance(&fresh.db, club.id, upload.id, from, to, soon);
    assert!(advance(0, 60).await.unwrap());
    assert!(!advance(0, 60).await.unwrap(), "the offset is elsewhere");
    assert!(!advance(60, 101).await.unwrap(), "beyond its length");
    assert!(advance(60, 100).await.unwrap());
    let received = uploads::get(&fresh.db, club.id, upload.id).await.unwrap().unwrap();
    assert_eq!((received.received, &received.metadata["filename"]), (100, &json!("a.mp4")));

    let new = NewVideo {
        id: upload.id,
        tenant_id: club.id,
        name: "a.mp4".to_owned(),
        bytes: 100,
        storage_key: "k".to_owned(),
        facts: None,
    };
    let video = videos::insert(&fresh.db, new.clone()).await.unwrap();
    assert_eq!(uploads::get(&fresh.db, club.id, upload.id).await.unwrap(), None);
    assert_eq!(videos::get(&fresh.db, club.id, upload.id).await.unwrap(), Some(video));
    assert!(matches!(videos::insert(&fresh.db, new).await, Err(entities::Error::Taken { .. })));
    assert_eq!(stored::of(&fresh.db, club.id).await.unwrap().videos, 100);

    let old = NewUpload { tenant_id: club.id, length: 1, metadata: json!({}), expires_at: Utc::now() };
    let old = uploads::create(&fresh.db, old, u64::MAX).await.unwrap().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(uploads::expired(&fresh.db).await.unwrap().len(), 1);
    assert!(uploads::delete(&fresh.db, club.id, old.id).await.unwrap());
    assert!(!uploads::delete(&fresh.db, club.id, old.id).await.unwrap());
}

async fn a_video_is_processed_once(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    let (good, bad) = (fresh.video(club.id).await, fresh.video(club.id).await);
    assert_eq!(videos::unprocessed(&fresh.db).await.unwrap().len(), 2);
    assert_eq!(videos::frame_index(&fresh.db, club.id, good.id).await.unwrap(), None);
    let found = Processed {
        facts: json!({"codec": "h264"}),
        width: 1920,
        height: 1080,
        duration: 12.5,
        frame_index: vec![1, 0, 255],
    };
    assert!(videos::set_ready(&fresh.db, club.id, good.id, found.clone()).await.unwrap());
    assert!(!videos::set_ready(&fresh.db, club.id, good.id, found).await.unwrap());
    assert!(!videos::set_failed(&fresh.db, club.id, good.id, json!({})).await.unwrap());
    assert!(videos::set_failed(&fresh.db, club.id, bad.id, json!({"code": "broken"})).await.unwrap());
    let good = videos::get(&fresh.db, club.id, good.id).await.unwrap().unwrap();
    assert_eq!((good.state, good.width, good.duration), (VideoState::Ready, Some(1920), Some(12.5)));
    assert_eq!(videos::frame_index(&fresh.db, club.id, good.id).await.unwrap(), Some(vec![1, 0, 255]));
    assert_eq!(videos::unprocessed(&fresh.db).await.unwrap(), []);
    let page = videos::list(&fresh.db, club.id, &PageRequest::default()).await.unwrap();
    assert_eq!(page.items.iter().map(|video| video.state).collect::<Vec<_>>(), [VideoState::Failed, VideoState::Ready]);
    assert_eq!(stored::of(&fresh.db, club.id).await.unwrap().videos, 1000, "a failed video's bytes are free");
    assert_eq!(videos::get_many(&fresh.db, club.id, &[good.id, bad.id]).await.unwrap().len(), 2);
}

async fn attempts_to_index_are_counted_while_it_is_processed(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    let (first, second) = (fresh.video(club.id).await, fresh.video(club.id).await);
    let attempts = async |id| videos::get(&fresh.db, club.id, id).await.unwrap().unwrap().index_attempts;
    assert!(videos::begin_indexing(&fresh.db, club.id, first.id).await.unwrap());
    assert!(videos::begin_indexing(&fresh.db, club.id, first.id).await.unwrap());
    assert_eq!((attempts(first.id).await, attempts(second.id).await), (2, 0));
    let order: Vec<_> = videos::unprocessed(&fresh.db).await.unwrap().iter().map(|video| video.id).collect();
    assert_eq!(order, [second.id, first.id], "the fewest attempts first");
    assert!(videos::give_indexing_back(&fresh.db, club.id, first.id).await.unwrap());
    assert_eq!(attempts(first.id).await, 1);
    assert!(videos::set_failed(&fresh.db, club.id, first.id, json!({})).await.unwrap());
    assert!(!videos::begin_indexing(&fresh.db, club.id, first.id).await.unwrap(), "it is not processed any more");
    let other = fresh.tenant("other").await;
    assert!(!videos::begin_indexing(&fresh.db, other.id, second.id).await.unwrap(), "another tenant's");
}

async fn a_used_video_stays_unless_forced(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    let video = fresh.video(club.id).await;
    let ended = fresh.export_of(club.id, &[video.id]).await;
    exports::cancel(&fresh.db, club.id, ended.id).await.unwrap();
    let export = fresh.export_of(club.id, &[video.id]).await;
    fresh.enqueue(&export, JobKind::Coordinate, 0, 0.0).await;
    let job = fresh.claim("a", JobKind::Coordinate).await.unwrap();
    assert_eq!(videos::for_worker(&fresh.db, &job).await.unwrap(), std::slice::from_ref(&video));

    let refused = videos::delete(&fresh.db, club.id, video.id, false).await.unwrap();
    assert_eq!(refused, Deleted::InUse(vec![export.id]));
    assert!(videos::get(&fresh.db, club.id, video.id).await.unwrap().is_some());

    let forced = videos::delete(&fresh.db, club.id, video.id, true).await.unwrap();
    assert_eq!(forced, Deleted::Gone { cancelled: vec![export.id] });
    let export = exports::get(&fresh.db, club.id, export.id).await.unwrap().unwrap();
    assert_eq!(export.state, ExportState::Cancelled, "the export stays, cancelled");
    assert!(exports::get(&fresh.db, club.id, ended.id).await.unwrap().is_some());
    assert_eq!(videos::delete(&fresh.db, club.id, video.id, true).await.unwrap(), Deleted::NotFound);
}

async fn newer_detections_replace_older_ones(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    let video = fresh.video(club.id).await;
    let subject = Subject::Video(video.id);
    let new = |frame, boxes| NewDetection {
        subject,
        model: "m".to_owned(),
        frame,
        time: 0.5,
        width: 1920,
        height: 1080,
        boxes,
    };
    let version = async || detections::version(&fresh.db, club.id, subject).await.unwrap();
    assert_eq!(detections::get(&fresh.db, club.id, subject).await.unwrap(), Some(vec![]));
    assert_eq!(version().await, Some(0));
    assert!(detections::put(&fresh.db, club.id, &[new(9, json!([])), new(3, json!([]))]).await.unwrap());
    assert_eq!(version().await, Some(1));
    assert!(detections::put(&fresh.db, club.id, &[new(9, json!([{"x": 1}]))]).await.unwrap());
    assert_eq!(version().await, Some(2));
    let other = fresh.tenant("other").await;
    assert_eq!(detections::version(&fresh.db, other.id, subject).await.unwrap(), None);
    let rows = detections::get(&fresh.db, club.id, subject).await.unwrap().unwrap();
    let found: Vec<_> = rows.iter().map(|row| (row.frame, row.boxes.clone())).collect();
    assert_eq!(found, [(3, json!([])), (9, json!([{"x": 1}]))]);
    videos::delete(&fresh.db, club.id, video.id, false).await.unwrap();
    assert_eq!(detections::get(&fresh.db, club.id, subject).await.unwrap(), None);
    assert_eq!(version().await, None);
}

async fn a_link_opens_until_it_is_revoked(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    let video = fresh.video(club.id).await;
    let until = Utc::now() + TimeDelta::hours(1);
    let link = links::create(&fresh.db, club.id, Subject::Video(video.id), true, until).await.unwrap().unwrap();
    let signed = links::signed(&fresh.db, link.id).await.unwrap().unwrap();
    assert_eq!((signed.subject(), signed.tenant_id, signed.download), (Subject::Video(video.id), club.id, true));
    assert!(signed.is_valid(Utc::now()) && !signed.is_valid(until));
    assert!(links::revoke(&fresh.db, club.id, link.id).await.unwrap());
    assert!(links::revoke(&fresh.db, club.id, link.id).await.unwrap());
    assert!(!links::signed(&fresh.db, link.id).await.unwrap().unwrap().is_valid(Utc::now()));
    videos::delete(&fresh.db, club.id, video.id, false).await.unwrap();
    assert_eq!(links::signed(&fresh.db, link.id).await.unwrap(), None);
}
