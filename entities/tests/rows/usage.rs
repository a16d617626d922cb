//! Accounts: what was used, once, whatever is retried or deleted.

use std::time::Duration;

use chrono::Utc;
use entities::{
    Subject,
    detections::{self, NewDetection},
    exports::{self, Deleted},
    jobs::JobKind,
    usage::{self, DeviceTime, Period},
};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(
    a_segment_is_booked_once_and_outlives_its_export,
    a_single_frame_is_booked_with_its_boxes,
    a_period_is_half_open,
);

const ALWAYS: Period = Period { from: None, to: None };

async fn a_segment_is_booked_once_and_outlives_its_export(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    for index in 0..2 {
        fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
    }
    for device_seconds in [0.5, 0.25] {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        fresh.commit(&job, device_seconds).await;
        assert!(!fresh.commit_again(&job).await, "a late twin adds nothing");
    }
    let total = usage::of_tenant(&fresh.db, tenant.id, ALWAYS).await.unwrap();
    assert_eq!((total.entries, total.frames, total.frames_inferred, total.bytes), (2, 60, 60, 1000));
    assert_eq!((total.device_seconds, total.cost), (0.75, 0.375));
    let row = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!(row.device_seconds, total.device_seconds, "the export has the same");
    let devices = usage::devices_of_tenant(&fresh.db, tenant.id, ALWAYS).await.unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].device.as_str(), devices[0].frames, devices[0].device_seconds), ("sim:0", 60, 0.75));

    exports::cancel(&fresh.db, tenant.id, export.id).await.unwrap();
    assert!(matches!(exports::delete(&fresh.db, tenant.id, export.id).await.unwrap(), Deleted::Gone(_)));
    let exports = usage::exports_of_tenant(&fresh.db, tenant.id, ALWAYS, None, 10).await.unwrap();
    assert_eq!((exports.len(), exports[0].export_id, exports[0].totals), (1, Some(export.id), total));
    let all = usage::by_tenant(&fresh.db, ALWAYS).await.unwrap();
    assert_eq!((all.len(), all[0].tenant_id, all[0].totals), (1, tenant.id, total));
}

async fn a_single_frame_is_booked_with_its_boxes(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let subject = Subject::Video(fresh.video(tenant.id).await.id);
    let model = "m".to_owned();
    let found = NewDetection { subject, model, frame: 3, time: 0.1, width: 1, height: 1, boxes: json!([]) };
    let took = DeviceTime { device: "sim:1".to_owned(), frames: 1, device_seconds: 0.5, cost: 0.25 };
    assert!(usage::record_frame(&fresh.db, tenant.id, &found, &took).await.unwrap());
    let lines = usage::exports_of_tenant(&fresh.db, tenant.id, ALWAYS, None, 10).await.unwrap();
    assert_eq!((lines.len(), lines[0].export_id, lines[0].totals.device_seconds), (1, None, 0.5));
    assert_eq!(detections::get(&fresh.db, tenant.id, subject).await.unwrap().unwrap().len(), 1);
}

async fn a_period_is_half_open(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let before = Utc::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    fresh.commit(&job, 1.0).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let after = Utc::now();
    for (from, to, entries) in [(Some(before), Some(after), 1), (None, Some(before), 0), (Some(after), None, 0)] {
        let period = Period { from, to };
        assert_eq!(usage::of_tenant(&fresh.db, tenant.id, period).await.unwrap().entries, entries, "{period:?}");
        assert_eq!(usage::devices_of_tenant(&fresh.db, tenant.id, period).await.unwrap().len() as i64, entries);
    }
}
