//! Bounds how many frame indexes are built at a time, per node and per tenant, and shares them fairly: a tenant that
//! uploads two hundred files does not keep another's first one waiting behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entities::TenantId;
use tokio::sync::oneshot;

/// The builds that run and wait. Cheap to clone.
#[derive(Clone)]
pub struct IndexPermits(Arc<Mutex<Queue>>);

/// The right to one build, returned when dropped.
pub struct IndexPermit {
    permits: IndexPermits,
    tenant: TenantId,
}

struct Queue {
    per_node: usize,
    per_tenant: usize,
    running: HashMap<TenantId, usize>,
    waiting: Vec<Waiting>,
    /// The turn in which each waiting tenant was last served.
    served: HashMap<TenantId, u64>,
    turn: u64,
}

struct Waiting {
    tenant: TenantId,
    granted: oneshot::Sender<IndexPermit>,
}

impl IndexPermits {
    /// At most `per_node` builds at a time, and `per_tenant` of one tenant.
    pub fn new(per_node: usize, per_tenant: usize) -> Self {
        let (running, waiting, served) = Default::default();
        Self(Arc::new(Mutex::new(Queue { per_node, per_tenant, running, waiting, served, turn: 0 })))
    }

    /// Waits for the tenant's turn.
    pub async fn acquire(&self, tenant: TenantId) -> IndexPermit {
        loop {
            let (granted, permit) = oneshot::channel();
            self.queue().waiting.push(Waiting { tenant, granted });
            self.grant();
            // The sender is dropped only by granting.
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    /// Gives free permits to those whose turn it is. A permit whose receiver has gone returns by being dropped.
    fn grant(&self) {
        loop {
            let mut queue = self.queue();
            let Some(Waiting { tenant, granted }) = queue.take_next() else { return };
            drop(queue);
            let permit = IndexPermit { permits: self.clone(), tenant };
            // Refused by a receiver that has gone, it is dropped here, which grants on by itself.
            drop(granted.send(permit));
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes the build that is to run next, if one may: of the tenant with the fewest running, then the one that was
    /// served longest ago, then the one that has waited longest.
    fn take_next(&mut self) -> Option<Waiting> {
        if self.running.values().sum::<usize>() >= self.per_node {
            return None;
        }
        let running = |waiting: &Waiting| self.running.get(&waiting.tenant).copied().unwrap_or(0);
        let served = |waiting: &Waiting| self.served.get(&waiting.tenant).copied().unwrap_or(0);
        let (next, _) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| running(waiting) < self.per_tenant)
            .min_by_key(|(place, waiting)| (running(waiting), served(waiting), *place))?;
        let next = self.waiting.remove(next);
        *self.running.entry(next.tenant).or_default() += 1;
        self.turn += 1;
        self.served.insert(next.tenant, self.turn);
        Some(next)
    }

    fn put_back(&mut self, tenant: TenantId) {
        if let Some(running) = self.running.get_mut(&tenant) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&tenant);
            }
        }
        let waits = self.waiting.iter().any(|waiting| waiting.tenant == tenant);
        if !waits && !self.running.contains_key(&tenant) {
            self.served.remove(&tenant);
        }
    }
}

impl Drop for IndexPermit {
    fn drop(&mut self) {
        self.permits.queue().put_back(self.tenant);
        self.permits.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(per_node: usize, per_tenant: usize, waiting: &[TenantId]) -> Queue {
        let IndexPermits(queue) = IndexPermits::new(per_node, per_tenant);
        let mut queue = Arc::into_inner(queue).unwrap().into_inner().unwrap();
        queue.waiting = waiting.iter().map(|&tenant| Waiting { tenant, granted: oneshot::channel().0 }).collect();
        queue
    }

    #[test]
    fn tenants_take_turns_whatever_they_queue() {
        let (many, few) = (TenantId::new(), TenantId::new());
        let mut queue = queue(1, 1, &[many, many, many, few, few]);
        let mut order = Vec::new();
        while let Some(next) = queue.take_next() {
            order.push(next.tenant);
            queue.put_back(next.tenant);
        }
        assert_eq!(order, [many, few, many, few, many]);
        assert!(queue.served.is_empty(), "nothing is kept of tenants that do not wait");
    }

    #[test]
    fn a_tenant_and_a_node_have_their_limits() {
        let (one, other, third) = (TenantId::new(), TenantId::new(), TenantId::new());
        let mut queue = queue(3, 2, &[one, one, one, other, third]);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take_next().map(|next| next.tenant)).collect();
        assert_eq!(taken, [one, other, third]);
        queue.put_back(other);
        assert_eq!(queue.take_next().map(|next| next.tenant), Some(one));
        queue.put_back(third);
        assert!(queue.take_next().is_none(), "two of a tenant are the most");
    }

    #[actix::test]
    async fn a_permit_goes_on_when_it_is_dropped_or_not_fetched() {
        let permits = IndexPermits::new(1, 1);
        let (tenant, other) = (TenantId::new(), TenantId::new());
        let first = permits.acquire(tenant).await;
        // This one leaves while it waits.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), permits.acquire(other)).await.is_err());
        let second = actix::spawn({
            let permits = permits.clone();
            async move { permits.acquire(tenant).await.tenant }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(second.await.unwrap(), tenant);
        assert!(permits.queue().running.is_empty());
    }
}
