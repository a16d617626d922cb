//! A row of another tenant is not found: every table, every finder of one row.

use chrono::{TimeDelta, Utc};
use entities::{
    Subject, TenantId,
    detections::{self, NewDetection},
    exports::{self, Cancelled, Deleted as DeletedExport, Filter},
    jobs::JobKind,
    links,
    page::PageRequest,
    segments::{self, Committed, NewSegment},
    stored,
    tenant_limits::{self, TenantLimits},
    tenants::{self, TenantChange},
    uploads::{self, NewUpload},
    usage::{self, DeviceTime, Period},
    users::{self, NewUser, Role},
    videos::{self, Deleted as DeletedVideo, Processed},
};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(
    another_tenants_rows_are_not_there,
    changes_of_a_tenant_at_once_take_none_back,
    a_refused_change_changes_nothing
);

async fn another_tenants_rows_are_not_there(fresh: Fresh) {
    let (owner, thief) = (fresh.tenant("owner").await.id, fresh.tenant("thief").await.id);
    let db = &fresh.db;
    let later = Utc::now() + TimeDelta::hours(1);
    let page = PageRequest::default();

    let new = NewUser {
        tenant_id: owner,
        email: "anna@example.com".to_owned(),
        password_hash: String::new(),
        role: Role::Admin,
    };
    let user = users::create(db, new).await.unwrap();
    let new = NewUpload { tenant_id: owner, length: 10, metadata: json!({}), expires_at: later };
    let upload = uploads::create(db, new, u64::MAX).await.unwrap().unwrap();
    let video = fresh.video(owner).await;
    let found = Processed { facts: json!({}), width: 1, height: 1, duration: 1.0, frame_index: vec![1] };
    let export = fresh.export_of(owner, &[video.id]).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    let segment = NewSegment {
        first_frame: 0,
        frames: 1,
        storage_key: "k".to_owned(),
        bytes: 1,
        sha256: String::new(),
        device_seconds: 1.0,
        frames_inferred: 1,
        devices: vec![DeviceTime { device: "sim:0".to_owned(), frames: 1, device_seconds: 1.0, cost: 0.5 }],
    };
    let subjects = [Subject::Video(video.id), Subject::Export(export.id)];
    let boxes = subjects.map(|subject| NewDetection {
        subject,
        model: "m".to_owned(),
        frame: 0,
        time: 0.0,
        width: 1,
        height: 1,
        boxes: json!([]),
    });
    assert_eq!(segments::commit(db, &job, segment, &boxes).await.unwrap(), Committed::First);
    let link = links::create(db, owner, subjects[1], false, later).await.unwrap().unwrap();

    // Writes of the thief come first: what the owner sees afterwards shows that they had no effect.
    assert!(!uploads::advance(db, thief, upload.id, 0, 5, later).await.unwrap());
    assert!(!uploads::delete(db, thief, upload.id).await.unwrap());
    assert!(!videos::set_ready(db, thief, video.id, found.clone()).await.unwrap());
    assert!(!videos::set_failed(db, thief, video.id, json!({})).await.unwrap());
    assert!(videos::set_ready(db, owner, video.id, found).await.unwrap());
    assert_eq!(videos::delete(db, thief, video.id, true).await.unwrap(), DeletedVideo::NotFound);
    assert_eq!(exports::cancel(db, thief, export.id).await.unwrap(), Cancelled::NotFound);
    assert_eq!(exports::delete(db, thief, export.id).await.unwrap(), DeletedExport::NotFound);
    assert!(!detections::put(db, thief, &boxes).await.unwrap());
    let took = DeviceTime { device: "sim:0".to_owned(), frames: 1, device_seconds: 1.0, cost: 0.5 };
    assert!(!usage::record_frame(db, thief, &boxes[0], &took).await.unwrap());
    assert!(!links::revoke(db, thief, link.id).await.unwrap());
    for subject in subjects {
        assert_eq!(links::create(db, thief, subject, false, later).await.unwrap(), None);
    }

    for (tenant, sees) in [(thief, false), (owner, true)] {
        let seen = async |tenant: TenantId| {
            [
                users::get(db, tenant, user.id).await.unwrap().is_some(),
                !users::list(db, tenant, &page).await.unwrap().items.is_empty(),
                uploads::get(db, tenant, upload.id).await.unwrap().is_some_and(|upload| upload.received == 0),
                videos::get(db, tenant, video.id).await.unwrap().is_some(),
                !videos::get_many(db, tenant, &[video.id]).await.unwrap().is_empty(),
                !videos::list(db, tenant, &page).await.unwrap().items.is_empty(),
                videos::frame_index(db, tenant, video.id).await.unwrap().is_some(),
                stored::of(db, tenant).await.unwrap().videos > 0,
                exports::get(db, tenant, export.id).await.unwrap().is_some_and(|export| !export.state.is_terminal()),
                exports::spec(db, tenant, export.id).await.unwrap().is_some(),
                !exports::list(db, tenant, Filter::default(), &page).await.unwrap().items.is_empty(),
                !segments::list(db, tenant, export.id).await.unwrap().is_empty(),
                detections::get(db, tenant, subjects[0]).await.unwrap().is_some(),
                detections::get(db, tenant, subjects[1]).await.unwrap().is_some(),
                usage::of_tenant(db, tenant, Period::default()).await.unwrap().entries > 0,
                !usage::devices_of_tenant(db, tenant, Period::default()).await.unwrap().is_empty(),
                !usage::exports_of_tenant(db, tenant, Period::default(), None, 9).await.unwrap().is_empty(),
                links::get(db, tenant, link.id).await.unwrap().is_some_and(|link| link.revoked_at.is_none()),
            ]
        };
        assert_eq!(seen(tenant).await, [sees; 18]);
    }
}

async fn changes_of_a_tenant_at_once_take_none_back(fresh: Fresh) {
    const CHANGES: i64 = 12;
    let tenant = fresh.tenant("club").await.id;
    let changes: Vec<_> = (0..CHANGES)
        .map(|_| {
            let db = fresh.db.clone();
            tokio::spawn(async move {
                let more = |now: &TenantLimits| {
                    let queued = now.queued_exports.unwrap_or(0);
                    Ok::<_, ()>(TenantLimits { queued_exports: Some(queued + 1), ..now.clone() })
                };
                tenants::change(&db, tenant, TenantChange::default(), more).await.unwrap().unwrap().unwrap()
            })
        })
        .collect();
    for change in changes {
        let ((_, before), (_, after)) = change.await.unwrap();
        assert_eq!(before.queued_exports.unwrap_or(0) + 1, after.queued_exports.unwrap());
    }
    let limits = tenant_limits::get(&fresh.db, tenant).await.unwrap();
    assert_eq!(limits.queued_exports, Some(CHANGES));
}

async fn a_refused_change_changes_nothing(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let change = TenantChange { name: Some("other".to_owned()), ..TenantChange::default() };
    let refused = tenants::change(&fresh.db, tenant.id, change, |_| Err("no")).await.unwrap().unwrap();
    assert_eq!(refused, Err("no"));
    assert_eq!(tenants::get(&fresh.db, tenant.id).await.unwrap(), Some(tenant));
}
