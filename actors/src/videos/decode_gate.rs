//! Bounds how many pictures are decoded for requests at a time, on the node and for each tenant: a thumbnail or a
//! single frame decodes up to a group of pictures on several threads, and exports want the cores, too.
//!
//! One tenant decodes one picture at a time, so it has one place at most in the line for the node's permits, and others
//! wait for one picture of it however many it asks for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use entities::TenantId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// See the [module](self).
pub struct DecodeGate {
    node: Arc<Semaphore>,
    /// Held strongly by the permits and by what waits for them.
    tenants: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// The right to decode one picture, returned when dropped. It belongs to the thread that decodes and not to the
/// request, which may be given up while the thread goes on.
pub struct DecodePermit {
    _tenant: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

impl Default for DecodeGate {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new((cores / 2).max(LEAST_AT_A_TIME))
    }
}

/// With fewer, one long group of pictures would hold up every tenant.
const LEAST_AT_A_TIME: usize = 2;

impl DecodeGate {
    /// A gate for `at_a_time` pictures on the node.
    fn new(at_a_time: usize) -> Self {
        Self { node: Arc::new(Semaphore::new(at_a_time)), tenants: Mutex::default() }
    }

    /// Waits for the tenant's turn.
    ///
    /// # Errors
    /// When the gate is closed, which no code does.
    pub async fn enter(&self, tenant: TenantId) -> Result<DecodePermit, AcquireError> {
        let own = self.of(tenant).acquire_owned().await?;
        let node = Arc::clone(&self.node).acquire_owned().await?;
        Ok(DecodePermit { _tenant: own, _node: node })
    }

    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, semaphore| semaphore.strong_count() > 0);
        if let Some(semaphore) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return semaphore;
        }
        let semaphore = Arc::new(Semaphore::new(1));
        tenants.insert(tenant, Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_tenant_decodes_one_picture_at_a_time_and_leaves_the_rest_to_others() {
        let gate = DecodeGate::new(2);
        let (many, few) = (TenantId::new(), TenantId::new());
        let first = gate.enter(many).now_or_never().unwrap().unwrap();
        let mut second = Box::pin(gate.enter(many));
        assert!((&mut second).now_or_never().is_none(), "it has one already");
        let other = gate.enter(few).now_or_never().unwrap().unwrap();
        drop(first);
        assert!(second.now_or_never().unwrap().is_ok());
        drop(other);
        assert_eq!(gate.node.available_permits(), 2);
        drop(gate.of(TenantId::new()));
        assert_eq!(gate.tenants.lock().unwrap().len(), 1, "nothing is kept of tenants that are done");
    }

    #[test]
    fn a_full_node_serves_tenants_in_turn() {
        let gate = DecodeGate::new(1);
        let (many, few) = (TenantId::new(), TenantId::new());
        let held = gate.enter(many).now_or_never().unwrap().unwrap();
        let mut crowd: Vec<_> = (0..20).map(|_| Box::pin(gate.enter(many))).collect();
        crowd.iter_mut().for_each(|one| assert!(one.now_or_never().is_none()));
        let mut other = Box::pin(gate.enter(few));
        assert!((&mut other).now_or_never().is_none());
        drop(held);
        assert!(other.now_or_never().unwrap().is_ok(), "twenty of another tenant came before");
    }
}
