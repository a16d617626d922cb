//! Deficit round robin over tenants, as in Shreedhar and Varghese, "Efficient Fair Queuing Using
//! Deficit Round-Robin" (1996), in units of estimated device seconds.
//!
//! Pure bookkeeping: no lock, no clock, no waiting. [`super::FrameQueue`] wraps it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

/// One thing that waits, with what it is expected to cost.
struct Waiting<T> {
    seconds: f64,
    item: T,
}

/// What one tenant has waiting. Exports are served oldest first; within one, first come first served.
struct Lane<T> {
    weight: f64,
    deficit: f64,
    /// Key: the export's age rank, smaller is older.
    exports: BTreeMap<u128, VecDeque<Waiting<T>>>,
    len: usize,
}

/// Tenants take turns; on each turn a tenant may spend its deficit, which grows by
/// `quantum × weight` a round. An idle tenant saves nothing up.
pub struct DeficitRoundRobin<K, T> {
    quantum: f64,
    lanes: HashMap<K, Lane<T>>,
    ring: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, T> DeficitRoundRobin<K, T> {
    /// `quantum`: device seconds a tenant of weight 1 may spend per round.
    pub fn new(quantum: f64) -> Self {
        Self { quantum, lanes: HashMap::new(), ring: VecDeque::new() }
    }

    /// Number of items that wait, of all tenants.
    pub fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.len).sum()
    }

    /// Number of items that wait for one tenant.
    pub fn len_of(&self, tenant: &K) -> usize {
        self.lanes.get(tenant).map_or(0, |lane| lane.len)
    }

    /// Adds `item` behind the export's others. `age` ranks the tenant's exports: smaller is older.
    pub fn push(&mut self, tenant: K, weight: f64, age: u128, seconds: f64, item: T) {
        self.insert(tenant, weight, age, seconds, item, false);
    }

    /// Puts back an item that was handed out and not served: it goes to the head of its export.
    pub fn push_front(&mut self, tenant: K, weight: f64, age: u128, seconds: f64, item: T) {
        self.insert(tenant, weight, age, seconds, item, true);
    }

    fn insert(&mut self, tenant: K, weight: f64, age: u128, seconds: f64, item: T, front: bool) {
        let ring = &mut self.ring;
        let lane = self.lanes.entry(tenant).or_insert_with(|| {
            ring.push_back(tenant);
            Lane { weight, deficit: 0.0, exports: BTreeMap::new(), len: 0 }
        });
        lane.weight = weight.max(f64::MIN_POSITIVE);
        lane.len += 1;
        let queue = lane.exports.entry(age).or_default();
        let waiting = Waiting { seconds: seconds.max(1e-9), item };
        if front {
            queue.push_front(waiting);
        } else {
            queue.push_back(waiting);
        }
    }

    /// Takes the next batch: up to `max` items of one tenant that are `eligible` and that `alike` says may share a
    /// batch with the first of them. Items that are `dead` (nobody waits for them) are dropped on the way.
    /// Returns nothing when no waiting item is eligible.
    pub fn pop(
        &mut self,
        max: usize,
        eligible: impl Fn(&T) -> bool,
        alike: impl Fn(&T, &T) -> bool,
        dead: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        self.drop_dead(&dead);
        if !self.lanes.values().any(|lane| lane.head(&eligible).is_some()) {
            return Vec::new();
        }
        // Ends: some lane has an eligible head, and its deficit grows by a positive amount each round.
        loop {
            let tenant = *self.ring.front().expect("a lane is in the ring while it has items");
            let quantum = self.quantum;
            let lane = self.lanes.get_mut(&tenant).expect("the ring names existing lanes");
            match lane.head(&eligible) {
                Some((_, seconds)) if seconds <= lane.deficit => {
                    let batch = lane.take(max, &eligible, &alike);
                    self.retire_if_empty(tenant);
                    return batch;
                }
                Some(_) => lane.deficit += quantum * lane.weight,
                None => {}
            }
            self.ring.rotate_left(1);
        }
    }

    fn drop_dead(&mut self, dead: &impl Fn(&T) -> bool) {
        for lane in self.lanes.values_mut() {
            for queue in lane.exports.values_mut() {
                queue.retain(|waiting| !dead(&waiting.item));
            }
            lane.exports.retain(|_, queue| !queue.is_empty());
            lane.len = lane.exports.values().map(VecDeque::len).sum();
        }
        let lanes = &mut self.lanes;
        lanes.retain(|_, lane| lane.len > 0);
        self.ring.retain(|tenant| lanes.contains_key(tenant));
    }

    fn retire_if_empty(&mut self, tenant: K) {
        if self.lanes.get(&tenant).is_some_and(|lane| lane.len == 0) {
            self.lanes.remove(&tenant);
            self.ring.retain(|other| *other != tenant);
        }
    }
}

impl<T> Lane<T> {
    /// The export and cost of the first item that `eligible` lets through, oldest export first.
    fn head(&self, eligible: &impl Fn(&T) -> bool) -> Option<(u128, f64)> {
        self.exports.iter().find_map(|(age, queue)| {
            queue.iter().find(|waiting| eligible(&waiting.item)).map(|waiting| (*age, waiting.seconds))
        })
    }

    fn take(&mut self, max: usize, eligible: &impl Fn(&T) -> bool, alike: &impl Fn(&T, &T) -> bool) -> Vec<T> {
        let mut batch: Vec<T> = Vec::new();
        for queue in self.exports.values_mut() {
            let mut index = 0;
            while index < queue.len() && batch.len() < max {
                let candidate = &queue[index].item;
                let fits = eligible(candidate) && batch.first().is_none_or(|first| alike(first, candidate));
                if !fits {
                    index += 1;
                    continue;
                }
                let waiting = queue.remove(index).expect("index is inside the queue");
                self.deficit -= waiting.seconds;
                self.len -= 1;
                batch.push(waiting.item);
            }
        }
        self.exports.retain(|_, queue| !queue.is_empty());
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pop_one(queue: &mut DeficitRoundRobin<u32, &'static str>) -> Option<&'static str> {
        queue.pop(1, |_| true, |_, _| true, |_| false).pop()
    }

    #[test]
    fn equal_tenants_alternate_whatever_one_of_them_queued() {
        let mut queue = DeficitRoundRobin::new(1.0);
        for _ in 0..50 {
            queue.push(1, 1.0, 0, 1.0, "a");
        }
        for _ in 0..5 {
            queue.push(2, 1.0, 0, 1.0, "b");
        }
        let first: Vec<_> = (0..10).map(|_| pop_one(&mut queue).unwrap()).collect();
        assert_eq!(first.iter().filter(|item| **item == "b").count(), 5);
    }

    #[test]
    fn shares_follow_weights_in_device_seconds() {
        let mut queue = DeficitRoundRobin::new(1.0);
        for _ in 0..400 {
            queue.push(1, 1.0, 0, 0.5, "light");
            queue.push(2, 3.0, 0, 1.0, "heavy");
        }
        let (mut light, mut heavy) = (0.0, 0.0);
        for _ in 0..400 {
            match pop_one(&mut queue) {
                Some("light") => light += 0.5,
                Some(_) => heavy += 1.0,
                None => break,
            }
        }
        let ratio: f64 = heavy / light;
        assert!((ratio - 3.0).abs() < 0.1, "weights 1:3 gave device seconds 1:{ratio:.2}");
    }

    #[test]
    fn older_exports_of_a_tenant_go_first() {
        let mut queue = DeficitRoundRobin::new(1.0);
        queue.push(1, 1.0, 7, 1.0, "young");
        queue.push(1, 1.0, 3, 1.0, "old");
        assert_eq!(pop_one(&mut queue), Some("old"));
        assert_eq!(pop_one(&mut queue), Some("young"));
        assert_eq!(pop_one(&mut queue), None);
    }

    #[test]
    fn a_batch_holds_only_alike_and_eligible_items() {
        let mut queue = DeficitRoundRobin::new(1.0);
        for item in ["a1", "b1", "a2", "c1", "a3"] {
            queue.push(1, 1.0, 0, 1.0, item);
        }
        let alike = |x: &&str, y: &&str| x.as_bytes()[0] == y.as_bytes()[0];
        let batch = queue.pop(2, |item| !item.starts_with('b'), alike, |_| false);
        assert_eq!(batch, ["a1", "a2"]);
        let only_b = queue.pop(4, |item| item.starts_with('b'), alike, |_| false);
        assert_eq!(only_b, ["b1"]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn dead_items_are_dropped_and_free_their_place() {
        let mut queue = DeficitRoundRobin::new(1.0);
        queue.push(1, 1.0, 0, 1.0, "dead");
        queue.push(2, 1.0, 0, 1.0, "alive");
        let batch = queue.pop(1, |_| true, |_, _| true, |item| *item == "dead");
        assert_eq!(batch, ["alive"]);
        assert_eq!(queue.len_of(&1), 0);
    }

    #[test]
    fn a_tenant_that_was_idle_has_saved_nothing() {
        let mut queue = DeficitRoundRobin::new(1.0);
        queue.push(1, 1.0, 0, 1.0, "a");
        assert_eq!(pop_one(&mut queue), Some("a"));
        assert_eq!(queue.len(), 0);
        for _ in 0..3 {
            queue.push(1, 1.0, 0, 1.0, "a");
            queue.push(2, 1.0, 0, 1.0, "b");
        }
        let first: Vec<_> = (0..4).map(|_| pop_one(&mut queue).unwrap()).collect();
        assert_eq!(first.iter().filter(|item| **item == "a").count(), 2);
    }
}
