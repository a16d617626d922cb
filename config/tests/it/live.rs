//! Merge patches of the live settings.

use config::{Live, Settings};
use serde_json::{Value, json};

fn pointers(live: &Live, patch: &Value) -> Vec<String> {
    live.patched(patch).unwrap_err().into_iter().map(|invalid| invalid.pointer).collect()
}

#[test]
fn a_patch_changes_what_it_names_only() {
    let live = Live::default();
    let patched = live
        .patched(&json!({"limits": {"upload_bytes": 5, "requests_per_second": 10}, "log": {"level": "debug"}}))
        .unwrap();
    let mut expected = live.clone();
    expected.limits.upload_bytes = 5;
    expected.limits.requests_per_second = 10;
    expected.log.level = config::LogLevel::Debug;
    assert_eq!(patched, expected);
    assert_eq!(live.patched(&json!({})).unwrap(), live);
    assert_eq!(patched.log.level.as_str(), "debug");
}

#[test]
fn null_brings_the_default_back() {
    let changed = Live::default().patched(&json!({"upscale": {"model": "other"}, "limits": {"source_side": 720}}));
    let changed = changed.unwrap();
    let one = changed.patched(&json!({"upscale": {"model": null}})).unwrap();
    assert_eq!((one.upscale.model.as_str(), one.limits.source_side), ("realesr-animevideov3-x4", 720));
    assert_eq!(changed.patched(&json!({"upscale": null, "limits": null})).unwrap(), Live::default());
}

#[test]
fn every_error_is_listed_and_nothing_is_changed() {
    let live = Live::default();
    let patch = json!({
        "limits": {"upload_bytes": -1, "concurrent_exports": "two", "speed": 3, "storage_bytes": 7},
        "server": {"listen": "0.0.0.0:80"},
        "log": {"level": "loud"},
        "upscale": "best",
    });
    let mut found = pointers(&live, &patch);
    found.sort_unstable();
    let expected =
        ["/limits/concurrent_exports", "/limits/speed", "/limits/upload_bytes", "/log/level", "/server", "/upscale"];
    assert_eq!(found, expected);
    assert_eq!(live, Live::default());
}

#[test]
fn values_out_of_range_are_listed_together() {
    let patch = json!({
        "limits": {
            "concurrent_exports": 0,
            "queued_exports": 0,
            "storage_bytes": 0,
            "upload_bytes": 0,
            "source_side": 9000,
            "source_pixels": 1,
            "sockets_per_user": 0,
            "sockets_per_tenant": 0,
        },
        "upscale": {"model": " "},
        "detect": {"model": ""},
        "planner": {"price_per_device_second": -0.1},
    });
    assert_eq!(pointers(&Live::default(), &patch).len(), 11);
}

#[test]
fn a_patch_is_an_object_and_pointers_are_escaped() {
    assert_eq!(pointers(&Live::default(), &json!([1])), [""]);
    assert_eq!(pointers(&Live::default(), &json!({"a/b": 1})), ["/a~1b"]);
}

#[test]
fn the_settings_of_the_start_are_the_first_live_ones() {
    let env = [("TOUCHLINE__LIMITS__UPLOAD_BYTES".to_owned(), "123".to_owned())];
    let settings = Settings::load_from(None, env).unwrap();
    assert_eq!(settings.live().limits.upload_bytes, 123);
    // What is stored as a version reads back equal.
    let stored = serde_json::to_value(settings.live()).unwrap();
    assert_eq!(serde_json::from_value::<Live>(stored).unwrap(), settings.live());
}
