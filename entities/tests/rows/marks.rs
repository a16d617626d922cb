//! Clips and reels: versions, and whose they are.

use entities::{
    Changed,
    clips::{self, Mark},
    page::PageRequest,
    reels::{self, Edits},
    videos,
};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(a_clip_is_changed_by_who_saw_it, a_reel_is_changed_by_who_saw_it);

fn mark(name: &str) -> Mark {
    Mark {
        name: name.to_owned(),
        start: 1.0,
        end: 2.0,
        notes: String::new(),
        rating: Some(4),
        tags: vec!["run".into()],
    }
}

async fn a_clip_is_changed_by_who_saw_it(fresh: Fresh) {
    let (db, page) = (&fresh.db, PageRequest::default());
    let (owner, thief) = (fresh.tenant("owner").await.id, fresh.tenant("thief").await.id);
    let video = fresh.video(owner).await.id;
    assert_eq!(clips::create(db, thief, video, mark("theirs"), None).await.unwrap(), None);
    let clip = clips::create(db, owner, video, mark("goal"), None).await.unwrap().unwrap();
    assert_eq!(clips::get(db, owner, clip.id).await.unwrap(), Some(clip.clone()));
    assert_eq!(clips::get(db, thief, clip.id).await.unwrap(), None);
    assert!(clips::list(db, thief, video, &page).await.unwrap().items.is_empty());
    assert_eq!(clips::change(db, thief, clip.id, 1, mark("theirs")).await.unwrap(), Changed::NotFound);
    let Changed::Now(changed) = clips::change(db, owner, clip.id, 1, mark("own goal")).await.unwrap() else {
        panic!("its version was seen");
    };
    assert_eq!((changed.version, changed.name.as_str()), (2, "own goal"));
    assert_eq!(clips::change(db, owner, clip.id, 1, mark("late")).await.unwrap(), Changed::Stale(2));
    assert!(!clips::delete(db, thief, clip.id).await.unwrap());
    assert_eq!(clips::list(db, owner, video, &page).await.unwrap().items, [changed]);
    // It goes with its video.
    videos::delete(db, owner, video, false).await.unwrap();
    assert_eq!(clips::get(db, owner, clip.id).await.unwrap(), None);
}

async fn a_reel_is_changed_by_who_saw_it(fresh: Fresh) {
    let (db, page) = (&fresh.db, PageRequest::default());
    let (owner, thief) = (fresh.tenant("owner").await.id, fresh.tenant("thief").await.id);
    let edits = |name: &str| Edits { name: name.to_owned(), framing: Some(json!({"clips": []})), overlay: None };
    let reel = reels::create(db, owner, edits("Sunday"), None).await.unwrap();
    assert_eq!(reels::get(db, owner, reel.id).await.unwrap(), Some(reel.clone()));
    assert_eq!(reels::get(db, thief, reel.id).await.unwrap(), None);
    assert_eq!(reels::change(db, thief, reel.id, 1, edits("theirs")).await.unwrap(), Changed::NotFound);
    let Changed::Now(changed) = reels::change(db, owner, reel.id, 1, edits("Monday")).await.unwrap() else {
        panic!("its version was seen");
    };
    assert_eq!(reels::change(db, owner, reel.id, 1, edits("late")).await.unwrap(), Changed::Stale(2));
    assert!(reels::list(db, thief, &page).await.unwrap().items.is_empty());
    assert_eq!(reels::list(db, owner, &page).await.unwrap().items, [changed]);
    assert!(!reels::delete(db, thief, reel.id).await.unwrap());
    assert!(reels::delete(db, owner, reel.id).await.unwrap());
}
