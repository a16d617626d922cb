//! Bounds how many single frames of a tenant are decoded and searched at a time, so that one tenant's clicks cannot take
//! every thread.
//!
//! A permit is shared by the work that it was given for: the request, the thread that decodes, the frame at the
//! devices. It returns when the last of them has ended, so a client that hangs up and asks again gets no more work done
//! at a time than one that waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use entities::TenantId;

/// How many single frames each tenant has in work.
#[derive(Default)]
pub struct FramePermits(Arc<Mutex<HashMap<TenantId, u32>>>);

/// The right to one frame, returned when dropped.
pub struct FramePermit {
    counts: Arc<Mutex<HashMap<TenantId, u32>>>,
    tenant: TenantId,
}

impl FramePermits {
    /// One more of a tenant; None when it has `most` already.
    pub fn acquire(&self, tenant: TenantId, most: u32) -> Option<FramePermit> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(tenant).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(FramePermit { counts: Arc::clone(&self.0), tenant })
    }
}

impl Drop for FramePermit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_permits_are_bounded_and_return_when_dropped() {
        let (permits, tenant) = (FramePermits::default(), TenantId::new());
        let first = permits.acquire(tenant, 2);
        let second = permits.acquire(tenant, 2);
        assert!(first.is_some() && second.is_some() && permits.acquire(tenant, 2).is_none());
        assert!(permits.acquire(TenantId::new(), 2).is_some(), "another tenant has its own");
        drop(first);
        assert!(permits.acquire(tenant, 2).is_some());
    }
}
