//! What a client does that gives up for nothing: each flow can be repeated from its beginning after any crash of the
//! server, and ends only when what it wanted is there.

use std::time::Duration;

use actors::failpoints::Point;
use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::test_server::TestServer;
use crate::client::{Export, Refusal, is_terminal};
use crate::footage;

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A video goes up.
    Upload,
    /// An export comes out; one that fails is retried.
    Export,
    /// An export is cancelled, and then wanted after all.
    Cancel,
    /// A complete export is deleted.
    DeleteExport,
    /// A video is deleted.
    DeleteVideo,
}

/// What a flow needs and remembers.
#[derive(Clone)]
pub struct FlowClient {
    /// A club with a video and a complete export.
    pub video: String,
    pub complete: String,
    /// The bytes of the complete export's result.
    pub expected: Vec<u8>,
    /// The bytes of a video to be uploaded.
    pub source: Vec<u8>,
    /// Where the upload goes, once it has begun.
    pub location: Option<String>,
}

/// Bytes of an upload's piece.
const PIECE: usize = 10_000;
/// The idempotency key of the export.
const KEY: &str = "the same export, however often it is requested";

impl Flow {
    /// The flow that passes a point, and the faults without which it would not.
    pub fn through(point: Point) -> (Self, &'static str) {
        match point {
            Point::UploadBeginning
            | Point::PieceSyncing
            | Point::PieceSynced
            | Point::PieceAcknowledged
            | Point::UploadWhole
            | Point::VideoStored
            | Point::VideoCommitted
            | Point::VideoIndexed
            | Point::VideoReady => (Self::Upload, ""),
            Point::FailureRecorded | Point::ExportFailed => (Self::Export, "segment-begun=return(broken);"),
            Point::ExportRetried | Point::ExportCancelled => (Self::Cancel, ""),
            Point::ExportDeleted => (Self::DeleteExport, ""),
            Point::VideoDeleted => (Self::DeleteVideo, ""),
            _ => (Self::Export, ""),
        }
    }
}

/// A server with these variables on data of its own, which has a video and a complete export and does not run yet. The
/// data are made once a process, with [`variables`], and copied.
pub async fn prepared(with: &[(&str, &str)]) -> Result<(TestServer, FlowClient)> {
    static ORIGINAL: OnceCell<(TestServer, FlowClient)> = OnceCell::const_new();
    let make = async || {
        let mut server = TestServer::open_in(&services::temporary_folder().join("prepared"), &variables()).await?;
        let client = FlowClient::prepare(&mut server).await?;
        anyhow::Ok((server, client))
    };
    let (server, client) = ORIGINAL.get_or_try_init(make).await?;
    Ok((server.copy(with)?, client.clone()))
}

impl FlowClient {
    /// Uploads a video and renders it once, undisturbed. The server is stopped afterwards.
    pub async fn prepare(server: &mut TestServer) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("match.mp4");
        footage::stamped(&file, "30", 3, None, &["-c:v", "libx264", "-g", "15", "-c:a", "aac"])?;
        let video = server.club.upload(&file, 1 << 20, |_, _| {}).await?.id;
        let complete = server.club.start(&spec(&video)).await?.id;
        server.completed(&complete).await?;
        let expected = server.result(&complete).await?;
        let source = std::fs::read(&file)?;
        ensure!(source.len() > PIECE, "an upload has several pieces");
        server.stop()?;
        Ok(Self { video, complete, expected, source, location: None })
    }

    /// Runs the flow to its end and checks what is there then.
    pub async fn run(&mut self, server: &TestServer, flow: Flow) -> Result<()> {
        match flow {
            Flow::Upload => self.upload(server).await,
            Flow::Export => self.export(server).await,
            Flow::Cancel => self.cancel(server).await,
            Flow::DeleteExport => delete(server, &format!("/exports/{}", self.complete), "").await,
            Flow::DeleteVideo => delete(server, &format!("/videos/{}", self.video), "?force=true").await,
        }
    }

    async fn upload(&mut self, server: &TestServer) -> Result<()> {
        let club = &server.club;
        let whole = self.source.len();
        let location = match &self.location {
            Some(location) => location.clone(),
            None => self.location.insert(club.create_upload(whole as u64, "match.mp4").await?).clone(),
        };
        let mut offset = club.upload_offset(&location).await?;
        while offset < whole as u64 {
            let from = usize::try_from(offset)?;
            let piece = self.source[from..whole.min(from + PIECE)].to_vec();
            offset = club.send_piece(&location, offset, piece).await?;
        }
        let id = location.rsplit('/').next().context("the upload's location has no id")?;
        while club.video(id).await?.state == "processing" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let video = club.video(id).await?;
        ensure!(video.state == "ready", "the video is {}: {:?}", video.state, video.problem);
        let answer = club.request(Method::GET, &format!("/videos/{id}/file")).send().await?;
        ensure!(answer.bytes().await? == self.source, "the video has other bytes than were sent");
        Ok(())
    }

    /// Starts the export, or finds it by its key.
    async fn started(&self, server: &TestServer) -> Result<Export> {
        server.club.start_once(&spec(&self.video), KEY).await
    }

    async fn export(&self, server: &TestServer) -> Result<()> {
        let export = self.started(server).await?;
        if server.ended(&export.id).await?.state == "failed" {
            retry(server, &export.id).await?;
        }
        self.check(server, &export.id).await
    }

    async fn check(&self, server: &TestServer, export: &str) -> Result<()> {
        server.completed(export).await?;
        ensure!(server.result(export).await? == self.expected, "the export has other bytes than the undisturbed one");
        let rows = server.rows().await?;
        let (segments, totals) = (rows.segments(export).await?, rows.totals(export).await?);
        let sum: f64 = segments.iter().map(|segment| segment.device_seconds).sum();
        let frames: i64 = segments.iter().map(|segment| segment.frames).sum();
        let exact = (sum - totals.device_seconds).abs() <= 1e-9 * sum.max(1.0);
        ensure!(
            exact && frames == totals.frames_done,
            "the export's row says {totals:?}, the segments {sum} s, {frames}"
        );
        Ok(())
    }

    async fn cancel(&self, server: &TestServer) -> Result<()> {
        let export = self.started(server).await?;
        if export.attempt == 1 {
            self.stored_something(server, &export.id).await?;
            let cancelled: Result<Export> =
                server.club.post(&format!("/exports/{}/cancel", export.id), &Value::Null).await;
            // It may have been quicker; then there is nothing to cancel.
            ensure!(cancelled.is_ok() || is(&cancelled, StatusCode::CONFLICT), "cancelling: {cancelled:?}");
            ensure!(
                server.orphans().await?.is_empty(),
                "a cancelled export's files are left: {:?}",
                server.orphans().await?
            );
            if server.ended(&export.id).await?.state == "cancelled" {
                retry(server, &export.id).await?;
            }
        }
        self.check(server, &export.id).await
    }

    /// Waits until a part of the export is stored, so that its cancellation has files to remove.
    async fn stored_something(&self, server: &TestServer, export: &str) -> Result<()> {
        let rows = server.rows().await?;
        while rows.segments(export).await?.is_empty() {
            if is_terminal(&server.club.export(export).await?.state) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Runs the flow where the disk is full at some step; the code of the problem that the server answers.
    pub async fn refused(&mut self, server: &TestServer, flow: Flow) -> Result<String> {
        let problem = match flow {
            Flow::Upload => match self.upload(server).await {
                Err(error) => error.downcast::<Refusal>()?.problem,
                Ok(()) => bail!("the upload went through"),
            },
            _ => match self.started(server).await {
                Err(error) => error.downcast::<Refusal>()?.problem,
                Ok(export) => server.ended(&export.id).await?.problem.context("the export did not fail")?,
            },
        };
        Ok(problem["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// Asks for another attempt.
pub async fn retry(server: &TestServer, export: &str) -> Result<Export> {
    server.club.post(&format!("/exports/{export}/retry"), &Value::Null).await
}

async fn delete(server: &TestServer, path: &str, query: &str) -> Result<()> {
    let answer = server.club.request(Method::DELETE, &format!("{path}{query}")).send().await?.status();
    ensure!(answer.is_success() || answer == StatusCode::NOT_FOUND, "deleting {path}: {answer}");
    let answer = server.club.request(Method::GET, path).send().await?.status();
    ensure!(answer == StatusCode::NOT_FOUND, "{path} answers {answer} after its deletion");
    Ok(())
}

fn is<T>(answer: &Result<T>, status: StatusCode) -> bool {
    answer.as_ref().is_err_and(|error| error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == status))
}

/// Two clips with sound, several segments, on whichever device.
pub fn spec(video: &str) -> Value {
    json!({
        "kind": "framing", "output": {"width": 90, "height": 160, "preset": "ultrafast"},
        "clips": [
            {"video_id": video, "name": "Goal", "start": 0.0, "end": 1.5},
            {"video_id": video, "name": "Save", "start": 1.0, "end": 3.0},
        ],
    })
}

/// Further to [`variables`]: devices on which an export lasts until the disk is full.
pub const SLOW: (&str, &str) = ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "20.0");

/// The variables of a server on which flows take little time.
pub fn variables() -> [(&'static str, &'static str); 3] {
    [
        ("TOUCHLINE__DEVICES__LIST", r#"["sim:0", "sim:1"]"#),
        ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "3.0"),
        ("TOUCHLINE__SEGMENTS__SECONDS", "1.0"),
    ]
}
