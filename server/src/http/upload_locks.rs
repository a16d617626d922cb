//! One writer at a time for each upload, and when it gives way to a newer request.
//!
//! A client whose connection broke without a word comes back while its old request still waits for bytes. A newer
//! request ends such a silent writer; one that receives bytes or works on them is not disturbed. A writer that was told
//! to end accepts no more bytes ([`UploadLock::works`] fails), and the newer request begins only after the old one has
//! dropped its lock, with all of its writes done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use entities::VideoId;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// How long a writer has to wait for bytes to count as silent.
const SILENT: Duration = Duration::from_secs(1);
/// How long a newer request waits to learn whether the writer is silent: it gives way within 2 s.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long a newer request waits for a writer to end that was told to: it makes durable what it has received.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The uploads that a request is writing to.
#[derive(Default)]
pub struct UploadLocks(Mutex<HashMap<VideoId, Arc<Writer>>>);

struct Writer {
    phase: watch::Sender<Phase>,
    /// Wakes the writer when its phase became [`Phase::Ending`].
    told: Notify,
}

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It writes, or imports the finished file.
    Working,
    /// It has waited for bytes since then.
    Waiting(Instant),
    /// It was told to end.
    Ending,
    /// Its lock is free.
    Ended,
}

/// What a newer request is to do about a writer.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Begin: the writer has ended.
    Begin,
    /// Tell the writer to end: it is silent.
    Tell,
    /// Look again when the phase changes, or after this time.
    Wait(Duration),
    /// Leave the upload to the writer.
    Leave,
}

/// Decides about a writer for a request that came at `came`.
fn judge(phase: Phase, came: Instant, now: Instant) -> Verdict {
    let until = |time: Instant| time.saturating_duration_since(now);
    match phase {
        Phase::Ended => Verdict::Begin,
        Phase::Working => Verdict::Leave,
        Phase::Ending if until(came + END_WITHIN).is_zero() => Verdict::Leave,
        Phase::Ending => Verdict::Wait(until(came + END_WITHIN)),
        Phase::Waiting(since) if until(since + SILENT).is_zero() => Verdict::Tell,
        Phase::Waiting(since) if since + SILENT > came + PATIENCE => Verdict::Leave,
        Phase::Waiting(since) => Verdict::Wait(until(since + SILENT)),
    }
}

impl UploadLocks {
    /// The right to write to an upload, returned when dropped; `None` while another request has it.
    pub fn lock(self: &Arc<Self>, upload: VideoId) -> Option<UploadLock> {
        self.begin(upload).ok()
    }

    /// [`Self::lock`], for which a silent writer is ended. `None` while an active one has it.
    pub async fn take(self: &Arc<Self>, upload: VideoId) -> Option<UploadLock> {
        let came = Instant::now();
        loop {
            match self.begin(upload) {
                Ok(lock) => return Some(lock),
                Err(writer) if !writer.gives_way(came).await => return None,
                Err(_) => {}
            }
        }
    }

    /// Ends a silent writer. True: there was one, and what it received is acknowledged.
    pub async fn end_silent(&self, upload: VideoId) -> bool {
        let writer = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&upload).map(Arc::clone);
        match writer {
            Some(writer) => writer.gives_way(Instant::now()).await,
            None => false,
        }
    }

    fn begin(self: &Arc<Self>, upload: VideoId) -> Result<UploadLock, Arc<Writer>> {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writers.get(&upload) {
            return Err(Arc::clone(writer));
        }
        let writer = Arc::new(Writer { phase: watch::Sender::new(Phase::Working), told: Notify::new() });
        writers.insert(upload, Arc::clone(&writer));
        Ok(UploadLock { locks: Arc::clone(self), upload, writer })
    }
}

impl Writer {
    /// Waits until the writer has ended, which it is told to when it is silent; false when it is active.
    async fn gives_way(&self, came: Instant) -> bool {
        let mut phase = self.phase.subscribe();
        loop {
            let seen = *phase.borrow_and_update();
            match judge(seen, came, Instant::now()) {
                Verdict::Begin => return true,
                Verdict::Leave => return false,
                Verdict::Tell => {
                    if self.change(seen, Phase::Ending) {
                        self.told.notify_one();
                    }
                }
                // The sender is part of `self`; whether it changed or not, the phase is judged again.
                Verdict::Wait(most) => drop(timeout(most, phase.changed()).await),
            }
        }
    }

    /// Changes the phase, unless it is another one than `from` meanwhile.
    fn change(&self, from: Phase, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let is_same = *phase == from;
            if is_same {
                *phase = to;
            }
            is_same
        })
    }

    /// Changes the phase of a writer that was not told to end.
    fn go_on(&self, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let goes_on = *phase != Phase::Ending;
            if goes_on {
                *phase = to;
            }
            goes_on
        })
    }
}

/// See [`UploadLocks::lock`].
pub struct UploadLock {
    locks: Arc<UploadLocks>,
    upload: VideoId,
    writer: Arc<Writer>,
}

impl UploadLock {
    /// The writer waits for bytes from now on, and may be told to end when none come.
    pub fn waits(&self) {
        self.writer.go_on(Phase::Waiting(Instant::now()));
    }

    /// The writer works on what it has received, and is not to be disturbed. False: it was told to end, and what it has
    /// just received must not be written.
    #[must_use]
    pub fn works(&self) -> bool {
        self.writer.go_on(Phase::Working)
    }

    /// Resolves when the writer is told to end.
    pub async fn told_to_end(&self) {
        self.writer.told.notified().await;
    }
}

impl Drop for UploadLock {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.upload);
        self.writer.phase.send_replace(Phase::Ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_one_writer() {
        let locks = Arc::new(UploadLocks::default());
        let upload = VideoId::new();
        let first = locks.lock(upload);
        assert!(first.is_some());
        assert!(locks.lock(upload).is_none());
        assert!(locks.lock(VideoId::new()).is_some());
        drop(first);
        assert!(locks.lock(upload).is_some());
    }

    #[test]
    fn only_a_silent_writer_is_told_to_end() {
        let came = Instant::now() + Duration::from_secs(100);
        let ms = Duration::from_millis;
        assert_eq!(judge(Phase::Ended, came, came), Verdict::Begin);
        assert_eq!(judge(Phase::Working, came, came), Verdict::Leave);
        assert_eq!(judge(Phase::Waiting(came - SILENT), came, came), Verdict::Tell);
        assert_eq!(judge(Phase::Waiting(came - ms(400)), came, came), Verdict::Wait(ms(600)));
        assert_eq!(judge(Phase::Waiting(came), came, came + SILENT), Verdict::Tell, "within two seconds");
        // It has received something since the request came, late enough that it cannot be silent in time.
        assert_eq!(judge(Phase::Waiting(came + ms(600)), came, came + ms(700)), Verdict::Leave);
        assert_eq!(judge(Phase::Ending, came, came + SILENT), Verdict::Wait(END_WITHIN - SILENT));
        assert_eq!(judge(Phase::Ending, came, came + END_WITHIN), Verdict::Leave);
    }

    #[tokio::test]
    async fn a_writer_that_was_told_to_end_writes_nothing_more() {
        let locks = Arc::new(UploadLocks::default());
        let upload = VideoId::new();
        let old = locks.lock(upload).unwrap();
        assert!(locks.take(upload).await.is_none() && !locks.end_silent(upload).await, "it works");
        old.waits();
        assert!(!locks.end_silent(VideoId::new()).await, "there is no writer");
        let newer = Arc::clone(&locks);
        let newer = tokio::spawn(async move { newer.take(upload).await });
        old.told_to_end().await;
        assert!(!old.works(), "bytes that arrive now are the newer request's");
        old.waits();
        assert!(!old.works(), "and it stays so");
        assert!(!newer.is_finished(), "the old one has not ended");
        drop(old);
        let newer = newer.await.unwrap().unwrap();
        assert!(newer.works() && locks.lock(upload).is_none());
    }
}
