//! What a tenant stores counts towards its limit, whatever it is, and two at once cannot both take the last room.

use chrono::{TimeDelta, Utc};
use entities::{
    TenantId,
    exports::{self, Completion, ExportState, Finished, ResultFile},
    stored::{self, StorageFull, Stored},
    uploads::{self, NewUpload, Upload},
    videos::{self, NewVideo},
};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(
    uploads_videos_and_results_count_until_they_are_deleted,
    of_two_uploads_at_once_one_takes_the_last_room,
    an_upload_and_a_result_at_once_do_not_both_take_the_last_room,
    a_result_that_does_not_fit_leaves_its_export_as_it_was,
    a_lowered_limit_is_noticed,
);

async fn upload(fresh: &Fresh, tenant: TenantId, length: i64, room: u64) -> Result<Upload, StorageFull> {
    let expires_at = Utc::now() + TimeDelta::hours(1);
    let new = NewUpload { tenant_id: tenant, length, metadata: json!({}), expires_at };
    uploads::create(&fresh.db, new, room).await.unwrap()
}

fn finished(bytes: i64) -> Finished {
    let result = ResultFile { key: "k".to_owned(), bytes, etag: "e".to_owned() };
    Finished { report: json!({}), result: Some(result), cost: 0.0 }
}

async fn uploads_videos_and_results_count_until_they_are_deleted(fresh: Fresh) {
    let (club, other) = (fresh.tenant("club").await.id, fresh.tenant("other").await.id);
    let open = upload(&fresh, club, 300, 1000).await.unwrap();
    let of = async |tenant| stored::of(&fresh.db, tenant).await.unwrap();
    assert_eq!(of(club).await, Stored { uploads: 300, ..Stored::default() }, "before a byte of it has arrived");
    let full = upload(&fresh, club, 701, 1000).await.unwrap_err();
    assert_eq!(full, StorageFull { stored: 300, more: 701, room: 1000 });
    assert!(upload(&fresh, other, 701, 1000).await.is_ok(), "another tenant has its own room");

    let video = NewVideo {
        id: open.id,
        tenant_id: club,
        name: "a.mp4".to_owned(),
        bytes: 300,
        storage_key: "k".to_owned(),
        facts: None,
    };
    videos::insert(&fresh.db, video).await.unwrap();
    assert_eq!(of(club).await, Stored { videos: 300, ..Stored::default() }, "the same bytes, counted once");
    let (export, job) = fresh.coordinated(club, "a").await;
    let sources = of(club).await.videos;
    exports::advance(&fresh.db, &job, ExportState::Publishing).await.unwrap().unwrap();
    assert!(matches!(exports::finish(&fresh.db, &job, finished(50), 1 << 40).await.unwrap(), Completion::Now(_)));
    assert_eq!(of(club).await, Stored { uploads: 0, videos: sources, results: 50 });

    exports::delete(&fresh.db, club, export.id).await.unwrap();
    videos::delete(&fresh.db, club, open.id, false).await.unwrap();
    assert_eq!(of(club).await, Stored { uploads: 0, videos: sources - 300, results: 0 });
    let again = upload(&fresh, club, 10, 1 << 40).await.unwrap();
    assert!(uploads::delete(&fresh.db, club, again.id).await.unwrap());
    assert_eq!(of(club).await.uploads, 0);
}

async fn of_two_uploads_at_once_one_takes_the_last_room(fresh: Fresh) {
    let club = fresh.tenant("club").await.id;
    for round in 1..=10_u64 {
        let room = round * 100;
        let one = || upload(&fresh, club, 100, room);
        let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
        let begun = [a, b, c, d].iter().filter(|begun| begun.is_ok()).count();
        assert_eq!(begun, 1, "room for one in round {round}");
    }
    assert_eq!(stored::of(&fresh.db, club).await.unwrap().total(), 1000);
}

async fn an_upload_and_a_result_at_once_do_not_both_take_the_last_room(fresh: Fresh) {
    let club = fresh.tenant("club").await.id;
    for _ in 0..5 {
        let (_, job) = fresh.coordinated(club, "a").await;
        exports::advance(&fresh.db, &job, ExportState::Publishing).await.unwrap().unwrap();
        let room = stored::of(&fresh.db, club).await.unwrap().total() + 100;
        let publish = exports::finish(&fresh.db, &job, finished(100), room);
        let (begun, published) = tokio::join!(upload(&fresh, club, 100, room), publish);
        let published = matches!(published.unwrap(), Completion::Now(_));
        assert_ne!(begun.is_ok(), published, "exactly one");
        assert_eq!(stored::of(&fresh.db, club).await.unwrap().total(), room);
    }
}

async fn a_result_that_does_not_fit_leaves_its_export_as_it_was(fresh: Fresh) {
    let club = fresh.tenant("club").await.id;
    let (export, job) = fresh.coordinated(club, "a").await;
    exports::advance(&fresh.db, &job, ExportState::Publishing).await.unwrap().unwrap();
    let stored = stored::of(&fresh.db, club).await.unwrap().total();
    let full = exports::finish(&fresh.db, &job, finished(100), stored + 99).await.unwrap();
    assert_eq!(full, Completion::Full(StorageFull { stored, more: 100, room: stored + 99 }));
    let row = exports::get(&fresh.db, club, export.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_bytes), (ExportState::Publishing, None));
    let problem = exports::problem("storage_full", "no room");
    assert_eq!(problem["status"], 413);
    let failed = exports::fail(&fresh.db, &job, problem).await.unwrap().unwrap();
    assert_eq!(failed.state, ExportState::Failed, "the job was still held");
}

async fn a_lowered_limit_is_noticed(fresh: Fresh) {
    let club = fresh.tenant("club").await.id;
    upload(&fresh, club, 100, 100).await.unwrap();
    assert_eq!(stored::check(&fresh.db, club, 100).await.unwrap(), Ok(()));
    assert_eq!(stored::check(&fresh.db, club, 99).await.unwrap(), Err(StorageFull { stored: 100, more: 0, room: 99 }));
}
