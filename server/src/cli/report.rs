//! The JSON report that a render prints on stdout.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// The export's own report, completed with what only the command line has: the files, and the time it took to move the
/// result to its place.
pub fn complete(report: &Value, kind: &str, input: &Path, output: &Path, publishing: Duration) -> Value {
    let mut whole = Map::new();
    whole.insert("kind".to_owned(), kind.into());
    whole.insert("input".to_owned(), input.display().to_string().into());
    whole.insert("output".to_owned(), output.display().to_string().into());
    let bytes = std::fs::metadata(output).map(|file| file.len()).unwrap_or_default();
    whole.insert("bytes".to_owned(), bytes.into());
    if let Value::Object(report) = report {
        whole.extend(report.clone());
    }
    let number = |name: &str| whole.get(name).and_then(Value::as_f64).unwrap_or_default();
    let seconds = number("seconds") + publishing.as_secs_f64();
    let fps = number("frames") / seconds.max(1e-9);
    whole.insert("seconds".to_owned(), json!(seconds));
    whole.insert("fps".to_owned(), json!(fps));
    whole.insert("peak_rss_bytes".to_owned(), actors::exports::report::peak_rss_bytes().into());
    Value::Object(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_reach_to_the_published_file() {
        let report = json!({"frames": 90, "seconds": 2.5, "fps": 36.0, "warnings": []});
        let here = Path::new("nowhere.mp4");
        let whole = complete(&report, "framing", here, here, Duration::from_millis(500));
        assert_eq!(whole["seconds"], 3.0);
        assert_eq!(whole["fps"], 30.0);
        assert_eq!(whole["frames"], 90);
        assert!(whole["peak_rss_bytes"].as_u64().unwrap() > 0);
    }
}
