//! Versions of the live settings, and the log of who made them.

use entities::{
    Database,
    audit::{self, Deed},
    config_versions::{self as versions, Appended, NewVersion},
    page::PageRequest,
};
use serde_json::{Value, json};

use crate::support::{Fresh, on_both};

on_both!(a_version_follows_the_one_it_changed, of_many_writers_one_is_let_in);

async fn append(db: &Database, expected: i64, body: Value) -> Appended {
    let new = NewVersion { body, author: None, rolled_back_to: None };
    let deed = Deed {
        tenant: None,
        actor: "test".to_owned(),
        action: "config.change",
        target: format!("after {expected}"),
        details: json!({}),
    };
    versions::append(db, expected, new, deed).await.unwrap()
}

async fn a_version_follows_the_one_it_changed(fresh: Fresh) {
    let db = &fresh.db;
    assert_eq!(versions::latest(db).await.unwrap(), None);
    let Appended::Stored(first) = append(db, 0, json!({"a": 1})).await else {
        panic!("nothing was there");
    };
    assert_eq!(first.version, 1);
    assert_eq!(append(db, 0, json!({"a": 2})).await, Appended::Stale { current: 1 });
    assert_eq!(append(db, 7, json!({"a": 2})).await, Appended::Stale { current: 1 });
    append(db, 1, json!({"a": 3})).await;
    assert_eq!(versions::latest(db).await.unwrap().unwrap().body, json!({"a": 3}));
    assert_eq!(versions::get(db, 1).await.unwrap(), Some(first));
    let page = versions::history(db, &PageRequest::new(Some(1), None).unwrap()).await.unwrap();
    assert_eq!(page.items.iter().map(|row| row.version).collect::<Vec<_>>(), [2]);
    let page = versions::history(db, &PageRequest::new(Some(1), page.next.as_deref()).unwrap()).await.unwrap();
    assert_eq!((page.items[0].version, page.next), (1, None));
    // What was not stored is in no log.
    let log = audit::list(db, &audit::Filter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(log.items.iter().map(|entry| entry.target.as_str()).collect::<Vec<_>>(), ["after 1", "after 0"]);
}

async fn of_many_writers_one_is_let_in(fresh: Fresh) {
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let db = fresh.db.clone();
            tokio::spawn(async move { append(&db, 0, json!({"n": n})).await })
        })
        .collect();
    let mut stored = 0;
    for writer in writers {
        stored += i32::from(matches!(writer.await.unwrap(), Appended::Stored(_)));
    }
    assert_eq!(stored, 1);
}
