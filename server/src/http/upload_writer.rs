//! Writes the pieces of an upload to disk, and hands the finished file to the node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use actix_web::rt;
use actix_web::web;
use actors::failpoints::{self, Point};
use actors::videos::error::ImportError;
use actors::videos::import::{Indexing, NewSource};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use entities::uploads::{self, Upload};
use entities::{TenantId, VideoId};
use futures_util::StreamExt;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncSeekExt, AsyncWriteExt, SeekFrom};
use tokio::time::timeout;

use super::problem::Problem;
use super::state::State;
use super::tus::{self, Checksum, Metadata};
use super::upload_locks::UploadLock;

/// Bytes between two acknowledgements within one request: what a killed server loses at most.
const CHECKPOINT: u64 = 16 << 20;
/// How long a client may pause within a piece.
const PAUSE: Duration = Duration::from_secs(60);
/// How long an unfinished upload waits for its next piece.
const LIFE: TimeDelta = TimeDelta::hours(24);
/// What a video is called when the client did not say.
const NAMELESS: &str = "video";

/// What came of writing a piece.
pub enum Written {
    /// More is to come.
    Part {
        /// Bytes on disk.
        received: u64,
        /// When the upload goes if nothing comes.
        expires_at: DateTime<Utc>,
    },
    /// The file was complete, and is a video now.
    Whole {
        /// Bytes of the file.
        length: u64,
    },
}

/// How far a request has come.
struct Received {
    /// Bytes of the upload that are written.
    at: u64,
    /// A newer request takes over.
    superseded: bool,
}

/// The one writer of an upload, for one request.
pub struct UploadWriter {
    state: web::Data<State>,
    upload: Upload,
    path: PathBuf,
    /// What the piece has to add up to. It counts as a whole or not at all then.
    checksum: Option<Checksum>,
    /// Given back when the writer is done, also when its request has gone.
    lock: UploadLock,
}

/// When an upload that is touched now goes.
pub fn expires_at() -> DateTime<Utc> {
    Utc::now() + LIFE
}

/// Where an unfinished upload's bytes are.
pub fn path(state: &State, tenant: TenantId, upload: VideoId) -> PathBuf {
    state.uploads_dir.join(tenant.to_string()).join(upload.to_string())
}

/// Removes an upload's file; one that is not there is no error.
pub async fn remove(path: PathBuf) {
    if let Err(error) = fs::remove_file(&path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "an upload's file could not be removed");
    }
}

/// 413 for a piece that goes past the announced length.
pub fn too_long(missing: u64) -> Problem {
    Problem::too_large(format!("the piece is longer than the {missing} bytes that are missing"))
}

impl UploadWriter {
    /// A writer to `upload`, whose lock the caller got.
    pub fn new(state: web::Data<State>, upload: Upload, lock: UploadLock, checksum: Option<Checksum>) -> Self {
        let path = path(&state, upload.tenant_id, upload.id);
        Self { state, upload, path, checksum, lock }
    }

    /// Appends the payload. Runs on its own, so that a client that leaves in the middle does not keep
    /// what has arrived from being acknowledged.
    ///
    /// # Errors
    /// 409 when a newer request took over, 413 past the announced length, 460 when the piece does not add up to its
    /// checksum, 422 when the finished file is refused.
    pub async fn write(self, payload: web::Payload) -> Result<Written, Problem> {
        rt::spawn(self.run(payload)).await.map_err(|error| Problem::internal("writing an upload", error))?
    }

    async fn run(mut self, payload: web::Payload) -> Result<Written, Problem> {
        let mut file = self.open().await?;
        let received = self.receive(&mut file, payload).await;
        // A file writes behind: nothing may be on its way when the next writer begins.
        let settled = file.flush().await;
        let Received { at, superseded } = received?;
        settled.map_err(|error| Problem::io("writing an upload", &error))?;
        if superseded && at < self.length() {
            // With a checksum a piece counts as a whole or not at all.
            if self.checksum.is_none() {
                self.acknowledge(&mut file, at).await?;
            }
            return Err(self.superseded());
        }
        // What does not add up is written over by the next piece.
        if self.checksum.take().is_some_and(|checksum| !checksum.holds()) {
            return Err(tus::checksum_mismatch());
        }
        if at < self.length() {
            self.acknowledge(&mut file, at).await?;
            return Ok(Written::Part { received: at, expires_at: self.upload.expires_at });
        }
        // The row does not say that everything is there until it is a video: a server that is killed
        // now lets the client send the last piece again.
        sync(&mut file).await?;
        failpoints::passed(Point::UploadWhole);
        drop(file);
        self.import().await?;
        Ok(Written::Whole { length: at })
    }

    fn length(&self) -> u64 {
        self.upload.length.unsigned_abs()
    }

    /// Fetches the file back that an import had moved into storage when it broke off: the upload's row is still there,
    /// so it has become no video.
    async fn take_back(&self) -> std::io::Result<()> {
        let stored = self.state.node.videos.path_of(self.upload.tenant_id, self.upload.id);
        if !fs::try_exists(&self.path).await? && fs::try_exists(&stored).await? {
            fs::rename(&stored, &self.path).await?;
        }
        Ok(())
    }

    async fn open(&self) -> Result<File, Problem> {
        let broken = |error: std::io::Error| Problem::io("opening an upload's file", &error);
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).await.map_err(broken)?;
        }
        self.take_back().await.map_err(broken)?;
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&self.path).await.map_err(broken)?;
        let received = self.upload.received.unsigned_abs();
        if received == 0 {
            sync_folder(&self.path).await.map_err(broken)?;
        }
        // Bytes after the acknowledged ones came from a request that died; they are written again.
        let kept = file.metadata().await.map_err(broken)?.len();
        if kept < received {
            return Err(Problem::internal(
                "opening an upload's file",
                format!("it has {kept} of {received} acknowledged bytes"),
            ));
        }
        file.set_len(received).await.map_err(broken)?;
        file.seek(SeekFrom::Start(received)).await.map_err(broken)?;
        Ok(file)
    }

    /// Writes until the payload ends, the client falls silent or leaves, everything is there, or a newer request takes
    /// over.
    async fn receive(&mut self, file: &mut File, mut payload: web::Payload) -> Result<Received, Problem> {
        let mut at = self.upload.received.unsigned_abs();
        loop {
            self.lock.waits();
            let next = tokio::select! {
                biased;
                next = timeout(PAUSE, payload.next()) => next,
                () = self.lock.told_to_end() => return Ok(Received { at, superseded: true }),
            };
            if !self.lock.works() {
                return Ok(Received { at, superseded: true });
            }
            let chunk: Bytes = match next {
                Ok(Some(Ok(chunk))) => chunk,
                // What has arrived counts, whyever no more comes: the client asks where to go on.
                Ok(Some(Err(_)) | None) | Err(_) => return Ok(Received { at, superseded: false }),
            };
            let missing = self.length() - at;
            if chunk.len() as u64 > missing {
                return Err(too_long(missing));
            }
            file.write_all(&chunk).await.map_err(|error| Problem::io("writing an upload", &error))?;
            at += chunk.len() as u64;
            if let Some(checksum) = &mut self.checksum {
                checksum.update(&chunk);
            }
            metrics::counter!("touchline_upload_bytes_total").increment(chunk.len() as u64);
            let due = at - self.upload.received.unsigned_abs() >= CHECKPOINT && self.checksum.is_none();
            if due && at < self.length() {
                self.acknowledge(file, at).await?;
            }
        }
    }

    /// Makes the bytes durable, then the offset.
    async fn acknowledge(&mut self, file: &mut File, at: u64) -> Result<(), Problem> {
        sync(file).await?;
        failpoints::at(Point::PieceSynced).map_err(|error| Problem::io("acknowledging a piece", &error))?;
        let Upload { id, tenant_id, received, .. } = self.upload;
        let (at, expires_at) = (at as i64, expires_at());
        if !uploads::advance(&self.state.db, tenant_id, id, received, at, expires_at).await? {
            return Err(Problem::conflict("upload_offset", "the upload was moved or ended by another request"));
        }
        failpoints::passed(Point::PieceAcknowledged);
        self.upload.received = at;
        self.upload.expires_at = expires_at;
        Ok(())
    }

    /// 409 for a request that was ended by a newer one, with the offset from which that one goes on.
    fn superseded(&self) -> Problem {
        let received = self.upload.received.unsigned_abs();
        let detail = format!("a newer request to this upload has taken over; {received} bytes have arrived");
        Problem::conflict("upload_superseded", detail).header(tus::UPLOAD_OFFSET, HeaderValue::from(received))
    }

    /// Makes the finished file a video. What is refused is gone, file and row.
    async fn import(&self) -> Result<(), Problem> {
        let Upload { id, tenant_id, .. } = self.upload;
        let name = Metadata::from_json(&self.upload.metadata).filename;
        let source = NewSource {
            tenant: tenant_id,
            id,
            name: name.unwrap_or_else(|| NAMELESS.to_owned()),
            path: self.path.clone(),
            link: false,
        };
        let uploads = |outcome: &'static str| metrics::counter!("touchline_uploads_total", "outcome" => outcome);
        let Err(error) = self.state.node.videos.import(source, Indexing::Later).await else {
            uploads("accepted").increment(1);
            return Ok(());
        };
        let problem = match refusal(&error) {
            Some(problem) => problem,
            None => return Err(error.into()),
        };
        uploads::delete(&self.state.db, tenant_id, id).await?;
        remove(self.path.clone()).await;
        uploads("refused").increment(1);
        tracing::info!(upload = %id, code = problem.code(), "an upload was refused");
        Err(problem)
    }
}

/// The answer to a file that cannot be used; `None` when the fault is ours.
fn refusal(error: &ImportError) -> Option<Problem> {
    match error {
        ImportError::Process(error) => error.refusal().map(|(code, detail)| Problem::invalid(code, detail, Vec::new())),
        ImportError::TooLarge { .. } => Some(Problem::invalid("too_large_picture", error.to_string(), Vec::new())),
        _ => None,
    }
}

async fn sync(file: &mut File) -> Result<(), Problem> {
    let synced = async {
        failpoints::at(Point::PieceSyncing)?;
        file.flush().await?;
        file.sync_data().await
    };
    synced.await.map_err(|error| Problem::io("making an upload durable", &error))
}

/// Makes a new file's name durable.
async fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder).await?.sync_all().await,
        None => Ok(()),
    }
}
