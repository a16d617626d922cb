//! Versions of the live settings.

use entities::config_versions::{self as versions, Appended};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(a_version_follows_the_one_it_changed, of_many_writers_one_is_let_in);

async fn a_version_follows_the_one_it_changed(fresh: Fresh) {
    assert_eq!(versions::latest(&fresh.db).await.unwrap(), None);
    let Appended::Stored(first) = versions::append(&fresh.db, 0, json!({"a": 1}), None).await.unwrap() else {
        panic!("nothing was there");
    };
    assert_eq!(first.version, 1);
    let stale = versions::append(&fresh.db, 0, json!({"a": 2}), None).await.unwrap();
    assert_eq!(stale, Appended::Stale { current: 1 });
    let ahead = versions::append(&fresh.db, 7, json!({"a": 2}), None).await.unwrap();
    assert_eq!(ahead, Appended::Stale { current: 1 });
    versions::append(&fresh.db, 1, json!({"a": 3}), None).await.unwrap();
    assert_eq!(versions::latest(&fresh.db).await.unwrap().unwrap().body, json!({"a": 3}));
    assert_eq!(versions::get(&fresh.db, 1).await.unwrap(), Some(first));
    let history: Vec<_> = versions::history(&fresh.db, 10).await.unwrap().iter().map(|row| row.version).collect();
    assert_eq!(history, [2, 1]);
}

async fn of_many_writers_one_is_let_in(fresh: Fresh) {
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let db = fresh.db.clone();
            tokio::spawn(async move { versions::append(&db, 0, json!({"n": n}), None).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for writer in writers {
        stored += i32::from(matches!(writer.await.unwrap(), Appended::Stored(_)));
    }
    assert_eq!(stored, 1);
}
