//! One at a time for each key, in the order of arrival, in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// The most that hold a turn or wait for one, for each key.
const MOST: usize = 64;

/// Who has a turn or waits for one.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<String, Queue>>);

#[derive(Default)]
struct Queue {
    places: usize,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The turn of a key, given on when dropped.
pub struct Turn {
    // Dropped first: the queue may go with its last place.
    _held: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in the queue of a key, also of a caller that has left while it waited.
struct Place {
    turns: Arc<Turns>,
    key: String,
}

impl Turns {
    /// Waits for the turn of a key; `None` when too many wait already.
    pub async fn take(self: &Arc<Self>, key: &str) -> Option<Turn> {
        let (turn, place) = {
            let mut queues = self.queues();
            let queue = queues.entry(key.to_owned()).or_default();
            if queue.places >= MOST {
                return None;
            }
            queue.places += 1;
            (Arc::clone(&queue.turn), Place { turns: Arc::clone(self), key: key.to_owned() })
        };
        Some(Turn { _held: turn.lock_owned().await, _place: place })
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.places -= 1;
            if queue.places == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[actix_web::test]
    async fn a_key_has_one_turn_and_is_forgotten_after_the_last() {
        let turns = Arc::new(Turns::default());
        let first = turns.take("a").await.unwrap();
        assert!(turns.take("b").now_or_never().is_some(), "another key has a turn of its own");
        let mut waiting: Vec<_> = (1..MOST).map(|_| Box::pin(turns.take("a"))).collect();
        assert!(waiting.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        assert!(turns.take("a").now_or_never().is_some_and(|turn| turn.is_none()), "too many wait");
        // One that leaves makes room, and is passed over.
        drop(waiting.remove(0));
        drop(first);
        let second = waiting[0].as_mut().now_or_never().flatten();
        assert!(second.is_some() && waiting[1].as_mut().now_or_never().is_none());
        drop((second, waiting));
        assert!(turns.queues().is_empty());
    }
}
