//! How many calls were answered how.

use anyhow::Result;
use tokio_tungstenite::tungstenite::Error;

use crate::client::Refusal;

/// How calls were answered.
#[derive(Default)]
pub struct Tally {
    pub done: usize,
    /// At a limit.
    pub refused: usize,
    /// In any other way.
    pub failed: Vec<String>,
}

impl Tally {
    /// Counts an answer; its value.
    pub fn note<T>(&mut self, answer: Result<T>) -> Option<T> {
        match answer {
            Ok(value) => {
                self.done += 1;
                return Some(value);
            }
            Err(error) if is_limit(&error) => self.refused += 1,
            Err(error) => self.failed.push(format!("{error:#}")),
        }
        None
    }

    /// Adds another one's.
    pub fn add(&mut self, other: Self) {
        self.done += other.done;
        self.refused += other.refused;
        self.failed.extend(other.failed);
    }

    /// Whether there were calls, and each one succeeded.
    pub fn is_all_done(&self) -> bool {
        self.done > 0 && self.refused == 0 && self.failed.is_empty()
    }

    /// In words, with the first failure.
    pub fn said(&self) -> String {
        let first = self.failed.first().map(|error| format!(": {error}")).unwrap_or_default();
        format!("{} done, {} refused, {} failed{first}", self.done, self.refused, self.failed.len())
    }
}

/// Whether a call was refused at a limit: 429, and 503 for a password while too many are being checked.
fn is_limit(error: &anyhow::Error) -> bool {
    let status = match (error.downcast_ref::<Refusal>(), error.downcast_ref::<Error>()) {
        (Some(refusal), _) => refusal.status.as_u16(),
        (_, Some(Error::Http(answer))) => answer.status().as_u16(),
        _ => return false,
    };
    matches!(status, 429 | 503)
}
