//! Whether a held answer may still be given, and which of two answers is kept: the detection cache's decisions, with the time
//! as an argument.
//!
//! An answer belongs to a version of its subject's detections. Where this process alone changes the database, every
//! change invalidates what is held, so what is held is right. Where nodes share it, a change elsewhere arrives as a
//! message of the Redis connection, or not at all: then an answer may be given without asking the database only as long as
//! [`UNASKED`] after its version was read, and only while the connection that would have brought the message is still
//! the same.

use std::time::{Duration, Instant};

/// How long an answer is given without asking the database for its version, where nodes share the database: the age that
/// readers are promised at most.
pub const UNASKED: Duration = Duration::from_secs(1);

/// What is known of a held answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub version: i64,
    /// Before its version was read, and was the newest.
    pub right_at: Instant,
    /// The number of the Redis connection then; None while there was none.
    pub epoch: Option<u64>,
}

/// Who else may change the detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// This process alone.
    ThisProcess,
    /// Other nodes too; `epoch` numbers the connection that brings their messages, None while it is down.
    Nodes { epoch: Option<u64> },
}

impl Held {
    /// Whether it is right at `now` without asking the database.
    pub fn is_right(&self, writers: Writers, now: Instant) -> bool {
        match writers {
            Writers::ThisProcess => true,
            Writers::Nodes { epoch: None } => false,
            Writers::Nodes { epoch } => self.epoch == epoch && now.saturating_duration_since(self.right_at) < UNASKED,
        }
    }

    /// Whether it is the answer to keep, rather than `other` of the same key: requests that began earlier may end later.
    pub fn outranks(&self, other: &Self) -> bool {
        (self.version, self.right_at) > (other.version, other.right_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 7;

    fn held(at: Instant) -> Held {
        Held { version: 3, right_at: at, epoch: Some(EPOCH) }
    }

    #[test]
    fn alone_what_is_held_is_right() {
        let at = Instant::now();
        assert!(held(at).is_right(Writers::ThisProcess, at + Duration::from_secs(3600)));
    }

    #[test]
    fn among_nodes_it_is_right_for_a_second_on_the_same_connection() {
        let at = Instant::now();
        let same = Writers::Nodes { epoch: Some(EPOCH) };
        assert!(held(at).is_right(same, at));
        assert!(held(at).is_right(same, at + UNASKED - Duration::from_millis(1)));
        assert!(!held(at).is_right(same, at + UNASKED));
        assert!(!held(at).is_right(Writers::Nodes { epoch: Some(EPOCH + 1) }, at), "messages may have been missed");
        assert!(!held(at).is_right(Writers::Nodes { epoch: None }, at), "no message would arrive");
        let before = Held { epoch: None, ..held(at) };
        assert!(!before.is_right(same, at), "it was read while there was no connection");
        assert!(!before.is_right(Writers::Nodes { epoch: None }, at));
    }

    #[test]
    fn the_newer_version_is_kept_then_the_later_question() {
        let at = Instant::now();
        let later = held(at + Duration::from_millis(5));
        assert!(later.outranks(&held(at)) && !held(at).outranks(&later));
        let newer = Held { version: 4, ..held(at) };
        assert!(newer.outranks(&later), "a version counts more than the time");
        assert!(!held(at).outranks(&held(at)));
    }
}
