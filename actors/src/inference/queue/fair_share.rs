//! What each tenant was given of the devices, and whose turn it is.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queueing", 1996) over tenants, in device seconds
//! over weight. A tenant's *tag* grows by what it is given; the tenant of the least tag is next. Virtual time is the
//! tag of the tenant served last; a tenant that begins to wait is put there, so that an idle tenant saves nothing up.
//!
//! Two things follow the same account. Frames are charged here when they are handed out, by estimate, and corrected
//! when a device has said what they took. Segments are charged in the database when they are claimed, and corrected
//! in the transaction that commits them ([`entities::jobs`]), which outlives the process and spans nodes.
//!
//! Between two segments a tenant has no frame waiting for a moment, without being idle: up to [`FairShare::new`]'s credit
//! it keeps its place and catches up. Pure bookkeeping: no lock, no clock, no waiting.

use std::collections::HashMap;
use std::hash::Hash;

/// See the [module](self). `K` names a tenant.
pub struct FairShare<K> {
    credit: f64,
    /// Virtual time.
    now: f64,
    accounts: HashMap<K, Account>,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    weight: f64,
    tag: f64,
    /// What devices have served, in seconds.
    served: f64,
}

/// Below it tags would run away.
const MIN_WEIGHT: f64 = 1e-3;

impl<K: Copy + Eq + Hash> FairShare<K> {
    /// `credit`: device seconds by which a tenant of weight 1 may lag behind and still catch up.
    pub fn new(credit: f64) -> Self {
        Self { credit, now: 0.0, accounts: HashMap::new() }
    }

    fn account(&mut self, tenant: K) -> &mut Account {
        let now = self.now;
        self.accounts.entry(tenant).or_insert(Account { weight: 1.0, tag: now, served: 0.0 })
    }

    /// Sets a tenant's share relative to others', from now on.
    pub fn weigh(&mut self, tenant: K, weight: f64) {
        self.account(tenant).weight = weight.max(MIN_WEIGHT);
    }

    /// A tenant that had nothing waiting has something now.
    pub fn arrive(&mut self, tenant: K) {
        let (now, credit) = (self.now, self.credit);
        let account = self.account(tenant);
        if account.tag < now - credit / account.weight {
            account.tag = now;
        }
    }

    /// Whose turn it is: the least is next.
    pub fn tag(&self, tenant: &K) -> f64 {
        self.accounts.get(tenant).map_or(self.now, |account| account.tag)
    }

    /// The tenant is given `seconds`, as they are estimated.
    pub fn charge(&mut self, tenant: K, seconds: f64) {
        let account = self.account(tenant);
        let start = account.tag;
        account.tag += seconds / account.weight;
        self.now = self.now.max(start);
    }

    /// Takes a charge back: what was handed out was not served.
    pub fn refund(&mut self, tenant: K, seconds: f64) {
        let account = self.account(tenant);
        account.tag -= seconds / account.weight;
    }

    /// What was charged as `estimate` took `actual` device seconds.
    pub fn reconcile(&mut self, tenant: K, estimate: f64, actual: f64) {
        let account = self.account(tenant);
        account.tag += (actual - estimate) / account.weight;
        account.served += actual;
    }

    /// Each tenant's weight and the device seconds it was served.
    pub fn balances(&self) -> impl Iterator<Item = (K, f64, f64)> {
        self.accounts.iter().map(|(tenant, account)| (*tenant, account.weight, account.served))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `turns` frames of a second each to the tenant whose turn it is among `tenants`.
    fn serve(shares: &mut FairShare<u32>, tenants: &[u32], turns: u32) -> HashMap<u32, u32> {
        let mut served = HashMap::new();
        for _ in 0..turns {
            let next = *tenants.iter().min_by(|a, b| shares.tag(a).total_cmp(&shares.tag(b))).unwrap();
            shares.charge(next, 1.0);
            shares.reconcile(next, 1.0, 1.0);
            *served.entry(next).or_default() += 1;
        }
        served
    }

    #[test]
    fn shares_follow_weights_and_a_change_holds_at_once() {
        let mut shares = FairShare::new(1.0);
        for (tenant, weight) in [(1, 1.0), (2, 2.0), (4, 4.0)] {
            shares.weigh(tenant, weight);
            shares.arrive(tenant);
        }
        assert_eq!(serve(&mut shares, &[1, 2, 4], 70), HashMap::from([(1, 10), (2, 20), (4, 40)]));
        shares.weigh(4, 1.0);
        let after = serve(&mut shares, &[1, 2, 4], 40);
        assert_eq!(after, HashMap::from([(1, 10), (2, 20), (4, 10)]));
    }

    #[test]
    fn who_was_idle_has_saved_nothing_up() {
        let mut shares = FairShare::new(1.0);
        shares.arrive(1);
        shares.arrive(2);
        serve(&mut shares, &[1], 50);
        shares.arrive(2);
        assert_eq!(serve(&mut shares, &[1, 2], 10), HashMap::from([(1, 5), (2, 5)]));
    }

    #[test]
    fn a_pause_between_two_segments_is_made_up_for() {
        let mut shares = FairShare::new(4.0);
        shares.arrive(1);
        shares.arrive(2);
        serve(&mut shares, &[1, 2], 10);
        // The second has no frame ready for three turns.
        serve(&mut shares, &[1], 3);
        shares.arrive(2);
        assert_eq!(serve(&mut shares, &[1, 2], 7), HashMap::from([(1, 2), (2, 5)]));
    }

    #[test]
    fn true_costs_replace_estimates_and_what_was_not_served_is_given_back() {
        let mut shares = FairShare::new(1.0);
        shares.arrive(1);
        shares.arrive(2);
        shares.charge(1, 1.0);
        shares.reconcile(1, 1.0, 3.0);
        shares.charge(2, 1.0);
        shares.refund(2, 1.0);
        assert_eq!((shares.tag(&1), shares.tag(&2)), (3.0, 0.0));
        let served: HashMap<_, _> = shares.balances().map(|(tenant, _, served)| (tenant, served)).collect();
        assert_eq!(served, HashMap::from([(1, 3.0), (2, 0.0)]));
    }

    #[test]
    fn a_lag_within_the_credit_is_kept_and_a_longer_one_is_not() {
        // By weight 2 a credit of 4 s is 2 s of tag.
        for (behind, kept) in [(1.5, true), (2.0, true), (2.5, false)] {
            let mut shares = FairShare::new(4.0);
            shares.weigh(2, 2.0);
            // The second charge begins at the tag that the first has led to, which is virtual time then.
            shares.charge(1, behind);
            shares.charge(1, 1.0);
            shares.arrive(2);
            assert_eq!(shares.tag(&2), if kept { 0.0 } else { behind }, "{behind} s behind");
        }
    }

    #[test]
    fn corrections_count_by_weight_as_charges_do() {
        let mut shares = FairShare::new(1.0);
        shares.weigh(1, 4.0);
        shares.charge(1, 8.0);
        assert_eq!(shares.tag(&1), 2.0);
        shares.refund(1, 4.0);
        assert_eq!(shares.tag(&1), 1.0);
        shares.reconcile(1, 4.0, 12.0);
        assert_eq!(shares.tag(&1), 3.0);
    }
}
