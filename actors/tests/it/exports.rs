//! Whole exports on simulated devices: they complete, survive a stop, and go away when cancelled.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use actors::detections::cache::GetDetections;
use actors::exports::request::NewRequest;
use actors::videos::import::{Indexing, NewSource};
use actors::{Node, NodeOptions, node};
use config::Settings;
use edits::FrameRate;
use entities::exports::{self, Cancelled, Export, ExportState};
use entities::{Subject, TenantId, VideoId};
use media::testing::StampedVideo;
use serde_json::{Value, json};

fn in_system<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    actix::System::new().block_on(work)
}

fn settings(folder: &Path, frame_ms: u32) -> Settings {
    let variables = [
        ("TOUCHLINE__DATA_DIR", folder.join("data").display().to_string()),
        ("TOUCHLINE__DEVICES__LIST", r#"["sim:0", "sim:1"]"#.to_owned()),
        ("TOUCHLINE__DEVICES__SIM_FRAME_MS", format!("{frame_ms}.0")),
        ("TOUCHLINE__SEGMENTS__SECONDS", "1.0".to_owned()),
    ];
    Settings::load_from(None, variables.map(|(key, value)| (key.to_owned(), value))).unwrap()
}

struct Club {
    node: Node,
    tenant: TenantId,
    video: VideoId,
}

/// A node with one tenant and one ready video of 4 s.
async fn club(folder: &Path, frame_ms: u32) -> Club {
    let node = Node::start(settings(folder, frame_ms), NodeOptions::default()).await.unwrap();
    let tenant = entities::tenants::create(node.database(), "club").await.unwrap().id;
    let path = folder.join("match.mp4");
    StampedVideo::new(320, 180, FrameRate { num: 30, den: 1 }, 120).write(&path).unwrap();
    let id = VideoId::new();
    let source = NewSource { tenant, id, name: "match".into(), path, link: true };
    node.videos.import(source, Indexing::Now).await.unwrap();
    Club { node, tenant, video: id }
}

impl Club {
    fn spec(&self) -> Value {
        let video = self.video.to_string();
        json!({
            "kind": "framing", "output": {"width": 90, "height": 160, "preset": "ultrafast"},
            "clips": [
                {"video_id": video, "start": 0.0, "end": 2.5},
                {"video_id": video, "start": 1.0, "end": 4.0,
                 "crop": [{"time": 0.0, "x": 10.0, "y": 10.0, "width": 81.0, "height": 144.0}]},
            ],
        })
    }

    async fn start(&self, body: Value) -> Export {
        let request = NewRequest { tenant: self.tenant, by: None, body, input: None, key: None };
        self.node.exports.start(request).await.unwrap()
    }

    async fn row(&self, export: &Export) -> Export {
        exports::get(self.node.database(), self.tenant, export.id).await.unwrap().unwrap()
    }

    async fn wait(&self, export: &Export, until: impl Fn(&Export) -> bool) -> Export {
        for _ in 0..1200 {
            let row = self.row(export).await;
            if until(&row) {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the export stays {:?}", self.row(export).await);
    }

    fn result(&self, row: &Export) -> Vec<u8> {
        std::fs::read(self.node.exports.result_path(row).expect("a complete export has a result")).unwrap()
    }
}

pub fn a_framing_export_completes_with_its_frames_report_and_detections() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    in_system(async move {
        let club = club(&path, 1).await;
        let export = club.start(club.spec()).await;
        assert_eq!(export.state, ExportState::Queued);
        assert!(export.simulated);
        let row = club.wait(&export, |row| row.state.is_terminal()).await;
        assert_eq!(row.state, ExportState::Complete, "{:?}", row.problem);
        let report = row.report.clone().unwrap();
        assert_eq!(report["frames"], 165);
        assert_eq!(report["simulated"], true);
        let result = path.join("result.mp4");
        std::fs::write(&result, club.result(&row)).unwrap();
        assert_eq!(media::build_index(&result).unwrap().len(), 165);

        let ask = |tenant| GetDetections { tenant, subject: Subject::Export(export.id), confidence: None, model: None };
        let answer = club.node.detections.get(ask(club.tenant)).await.unwrap().unwrap().expect("own export");
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["frames"].as_array().unwrap().len(), 8, "four points a clip: {document}");
        let stranger = entities::tenants::create(club.node.database(), "stranger").await.unwrap().id;
        assert!(club.node.detections.get(ask(stranger)).await.unwrap().unwrap().is_none());

        assert!(club.node.exports.delete(club.tenant, export.id).await.unwrap());
        assert!(club.node.detections.get(ask(club.tenant)).await.unwrap().unwrap().is_none());
        club.node.stop().await;
    });
}

pub fn a_stopped_node_goes_on_and_makes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    in_system(async move {
        let whole = club(&path, 5).await;
        let export = whole.start(whole.spec()).await;
        let row = whole.wait(&export, |row| row.state.is_terminal()).await;
        assert_eq!(row.state, ExportState::Complete, "{:?}", row.problem);
        let uninterrupted = whole.result(&row);

        let export = whole.start(whole.spec()).await;
        whole.wait(&export, |row| row.frames_done > 0).await;
        whole.node.stop().await;
        let stopped = whole.row(&export).await;
        assert!(!stopped.state.is_terminal(), "it was to be stopped half-way: {:?}", stopped.state);
        let Club { node, tenant, video } = whole;
        drop(node);

        // The old node's actors hold the folder's lock until they are dropped.
        let mut settings = settings(&path, 0);
        settings.devices.stall_seconds = 30.0;
        let node = loop {
            match Node::start(settings.clone(), NodeOptions::default()).await {
                Ok(node) => break node,
                Err(node::StartError::Locked(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(other) => panic!("{other}"),
            }
        };
        let resumed = Club { node, tenant, video };
        let row = resumed.wait(&export, |row| row.state.is_terminal()).await;
        assert_eq!(row.state, ExportState::Complete, "{:?}", row.problem);
        assert!(resumed.result(&row) == uninterrupted, "the resumed export has other bytes");
        resumed.node.stop().await;
    });
}

pub fn a_cancelled_export_stops_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    in_system(async move {
        let club = club(&path, 20).await;
        let export = club.start(club.spec()).await;
        club.wait(&export, |row| row.state == ExportState::Rendering).await;
        let (tenant, id) = (club.tenant, export.id);
        let stranger = entities::tenants::create(club.node.database(), "stranger").await.unwrap().id;
        let foreign = club.node.exports.cancel(stranger, id).await.unwrap();
        assert_eq!(foreign, Cancelled::NotFound);
        let cancelled = club.node.exports.cancel(tenant, id).await.unwrap();
        assert!(matches!(cancelled, Cancelled::Now(_)));
        assert_eq!(club.row(&export).await.state, ExportState::Cancelled);
        let files = path.join("data/media").join(actors::storage::export_prefix(tenant, id));
        let work = path.join("data/work");
        for _ in 0..200 {
            if !files.exists() && std::fs::read_dir(&work).unwrap().count() == 0 {
                return club.node.stop().await;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("files are left in {} or {}", files.display(), work.display());
    });
}

pub fn an_export_that_another_node_cancelled_stops_rendering_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    in_system(async move {
        // A segment takes minutes.
        let club = club(&path, 4000).await;
        let export = club.start(club.spec()).await;
        let rendering = || std::fs::read_dir(path.join("data/work")).unwrap().count() > 0;
        club.wait(&export, |_| rendering()).await;
        // The rows are all that this node gets to know of a cancellation at another.
        let cancelled = exports::cancel(club.node.database(), club.tenant, export.id).await.unwrap();
        assert!(matches!(cancelled, Cancelled::Now(_)));
        club.wait(&export, |_| !rendering()).await;
        club.node.stop().await;
    });
}

pub fn detections_of_a_running_export_are_read_as_segments_are_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    in_system(async move {
        let club = club(&path, 60).await;
        let export = club.start(club.spec()).await;
        let mut seen = Vec::new();
        loop {
            let subject = Subject::Export(export.id);
            let get = GetDetections { tenant: club.tenant, subject, confidence: None, model: None };
            let answer = club.node.detections.get(get).await.unwrap().unwrap().expect("own export");
            // Read after the answer: what was found came before the result was published.
            let row = club.row(&export).await;
            if row.state.is_terminal() {
                break assert_eq!(row.state, ExportState::Complete, "{:?}", row.problem);
            }
            let document: Value = serde_json::from_slice(&answer.body).unwrap();
            if matches!(row.state, ExportState::Queued | ExportState::Preparing | ExportState::Rendering) {
                seen.push(document["frames"].as_array().unwrap().len());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seen.dedup();
        assert!(seen.len() > 1 && seen.is_sorted(), "answers had the detections of so many frames: {seen:?}");
        club.node.stop().await;
    });
}
