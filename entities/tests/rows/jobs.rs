//! Claims, fences, faults and fairness.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::Utc;
use entities::{
    exports::{self, ExportState},
    jobs::{self, Failure, JobKind, JobState, MAX_CRASHES},
    tenant_limits::TenantLimits,
    tenants::{self, TenantChange},
};

use crate::support::{Fresh, on_both};

const LEASE: Duration = Duration::from_secs(60);

on_both!(
    two_claimers_never_get_the_same_job,
    a_late_worker_changes_nothing,
    an_expired_lease_is_claimed_again,
    a_renewed_lease_does_not_expire,
    tenants_share_by_weight,
    an_idle_tenant_saves_nothing_up,
    true_costs_correct_the_order,
    a_changed_weight_holds_with_the_next_claim,
    many_exports_of_one_tenant_do_not_delay_planning_of_another,
    errors_back_off_and_kill_the_third_time,
    crashes_without_progress_kill,
    a_dead_coordinator_fails_its_export,
    a_coordinator_that_crashes_too_often_hands_out_its_failed_export,
    a_sweep_that_fails_half_way_returns_what_it_did,
    a_released_job_is_unharmed,
    take_back_is_immediate_and_only_for_the_owner,
    cancelling_stops_holders,
    a_tenants_exports_at_work_are_bounded,
    a_job_is_enqueued_with_its_export_or_not_at_all,
);

async fn two_claimers_never_get_the_same_job(fresh: Fresh) {
    const JOBS: i32 = 120;
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    for index in 0..JOBS {
        fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
    }
    let claimers: Vec<_> = (0..12)
        .map(|n| {
            let db = fresh.db.clone();
            tokio::spawn(async move {
                let owner = format!("owner-{n}");
                let mut mine = Vec::new();
                while let Some(job) = jobs::claim(&db, &owner, &[JobKind::Segment], LEASE).await.unwrap() {
                    assert_eq!((job.attempt, job.owner.as_deref()), (1, Some(owner.as_str())));
                    assert!(jobs::done(&db, &job).await.unwrap());
                    mine.push(job.index);
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    assert_eq!(all.len(), JOBS as usize, "a job was claimed twice or never");
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), JOBS as usize);
}

async fn a_late_worker_changes_nothing(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let late = fresh.claim("node", JobKind::Segment).await.unwrap();
    fresh.expire_leases().await;
    assert_eq!(jobs::sweep(&fresh.db).await.unwrap().ready, 1);
    // The same owner again: only the attempt differs.
    let current = fresh.claim("node", JobKind::Segment).await.unwrap();
    assert_eq!((late.id, current.attempt), (current.id, 2));

    assert!(!jobs::renew(&fresh.db, &late, LEASE).await.unwrap());
    assert!(!jobs::done(&fresh.db, &late).await.unwrap());
    assert!(!jobs::release(&fresh.db, &late).await.unwrap());
    assert_eq!(jobs::fail(&fresh.db, &late, "render_failed", "late").await.unwrap(), Failure::Lost);

    assert!(jobs::renew(&fresh.db, &current, LEASE).await.unwrap());
    assert!(jobs::done(&fresh.db, &current).await.unwrap());
    assert!(!jobs::done(&fresh.db, &current).await.unwrap(), "done twice");
}

async fn an_expired_lease_is_claimed_again(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let first = jobs::claim(&fresh.db, "a", &[JobKind::Segment], Duration::from_millis(1)).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(fresh.claim("b", JobKind::Segment).await, None, "not before the sweep");
    let swept = jobs::sweep(&fresh.db).await.unwrap();
    assert_eq!((swept.ready, swept.dead), (1, vec![]));
    let second = fresh.claim("b", JobKind::Segment).await.unwrap();
    assert_eq!((second.id, second.attempt, second.failures, second.crashes), (first.id, 2, 0, 1));
}

async fn a_renewed_lease_does_not_expire(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    fresh.expire_leases().await;
    assert!(jobs::renew(&fresh.db, &job, LEASE).await.unwrap());
    assert_eq!(jobs::sweep(&fresh.db).await.unwrap().ready, 0);
    assert!(jobs::done(&fresh.db, &job).await.unwrap());
}

async fn tenants_share_by_weight(fresh: Fresh) {
    let (one, two) = (fresh.tenant("one").await, fresh.tenant("two").await);
    assert!(tenants::set_weight(&fresh.db, two.id, 2.0).await.unwrap());
    // The first has enqueued everything before the second comes.
    let first = fresh.export(one.id).await;
    for index in 0..12 {
        fresh.enqueue(&first, JobKind::Segment, index, 4.0).await;
    }
    let second = fresh.export(two.id).await;
    for index in 0..12 {
        fresh.enqueue(&second, JobKind::Segment, index, 4.0).await;
    }
    let mut claimed: HashMap<_, i32> = HashMap::new();
    for _ in 0..12 {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        let count = claimed.entry(job.tenant_id).or_default();
        assert_eq!(job.index, *count, "a tenant's own jobs keep their order");
        *count += 1;
        assert!(jobs::done(&fresh.db, &job).await.unwrap());
    }
    assert_eq!((claimed[&one.id], claimed[&two.id]), (4, 8), "shares are as 1 to 2");
}

async fn an_idle_tenant_saves_nothing_up(fresh: Fresh) {
    let (busy, idle) = (fresh.tenant("busy").await, fresh.tenant("idle").await);
    let export = fresh.export(busy.id).await;
    for index in 0..8 {
        fresh.enqueue(&export, JobKind::Segment, index, 10.0).await;
    }
    for _ in 0..4 {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        assert!(jobs::done(&fresh.db, &job).await.unwrap());
    }
    // In service: the job of tag 40. The idle one begins there, and not at 0.
    let running = fresh.claim("a", JobKind::Segment).await.unwrap();
    assert_eq!(running.tag, 40.0);
    let other = fresh.export(idle.id).await;
    for index in 0..2 {
        fresh.enqueue(&other, JobKind::Segment, index, 10.0).await;
    }
    let mut claimed = Vec::new();
    for _ in 0..4 {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        claimed.push((job.tenant_id, job.tag));
        assert!(jobs::done(&fresh.db, &job).await.unwrap());
    }
    assert_eq!(claimed, [(idle.id, 40.0), (busy.id, 50.0), (idle.id, 50.0), (busy.id, 60.0)]);
}

async fn true_costs_correct_the_order(fresh: Fresh) {
    let (dear, cheap) = (fresh.tenant("dear").await, fresh.tenant("cheap").await);
    for tenant in [&dear, &cheap] {
        let export = fresh.export(tenant.id).await;
        for index in 0..9 {
            fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
        }
    }
    let mut claimed: HashMap<_, i32> = HashMap::new();
    for _ in 0..8 {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        *claimed.entry(job.tenant_id).or_default() += 1;
        // One tenant's segments take three times as long as was estimated.
        let device_seconds = if job.tenant_id == dear.id { 3.0 } else { 1.0 };
        fresh.commit(&job, device_seconds).await;
    }
    assert_eq!((claimed[&dear.id], claimed[&cheap.id]), (2, 6), "device seconds are equal");
}

async fn a_changed_weight_holds_with_the_next_claim(fresh: Fresh) {
    let (one, two) = (fresh.tenant("one").await, fresh.tenant("two").await);
    for tenant in [&one, &two] {
        let export = fresh.export(tenant.id).await;
        for index in 0..12 {
            fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
        }
    }
    tenants::set_weight(&fresh.db, two.id, 3.0).await.unwrap();
    let mut claimed: HashMap<_, i32> = HashMap::new();
    for _ in 0..8 {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        *claimed.entry(job.tenant_id).or_default() += 1;
        fresh.commit(&job, 1.0).await;
    }
    assert_eq!((claimed[&one.id], claimed[&two.id]), (2, 6));
}

async fn many_exports_of_one_tenant_do_not_delay_planning_of_another(fresh: Fresh) {
    let (many, few) = (fresh.tenant("many").await, fresh.tenant("few").await);
    for _ in 0..5 {
        let export = fresh.export(many.id).await;
        fresh.enqueue(&export, JobKind::Coordinate, 0, 0.0).await;
    }
    let export = fresh.export(few.id).await;
    fresh.enqueue(&export, JobKind::Coordinate, 0, 0.0).await;
    let order = [
        fresh.claim("a", JobKind::Coordinate).await.unwrap().tenant_id,
        fresh.claim("a", JobKind::Coordinate).await.unwrap().tenant_id,
        fresh.claim("a", JobKind::Coordinate).await.unwrap().tenant_id,
    ];
    assert_eq!(order, [many.id, few.id, many.id]);
    // The tenant's own limit is below the deployment's.
    let own = TenantLimits { concurrent_exports: Some(2), ..TenantLimits::none(many.id) };
    tenants::change(&fresh.db, many.id, TenantChange::default(), |_| Ok::<_, ()>(own)).await.unwrap().unwrap().unwrap();
    assert_eq!(fresh.claim("a", JobKind::Coordinate).await, None);
}

async fn errors_back_off_and_kill_the_third_time(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 7, 1.0).await;
    for (failures, seconds) in [(1, 1.0), (2, 4.0)] {
        let job = fresh.claim("a", JobKind::Segment).await.unwrap();
        let before = Utc::now();
        let Failure::Retry { at } = jobs::fail(&fresh.db, &job, "render_failed", "no memory").await.unwrap() else {
            panic!("failure {failures} must be tried again");
        };
        let after = Utc::now();
        let delay = |from: chrono::DateTime<Utc>| (at - from).as_seconds_f64();
        assert!(delay(before) >= seconds - 1e-3 && delay(after) <= seconds, "{} {}", delay(before), delay(after));
        assert_eq!(fresh.claim("a", JobKind::Segment).await, None, "not before its backoff");
        fresh.skip_backoff().await;
    }
    let job = fresh.claim("a", JobKind::Segment).await.unwrap();
    assert_eq!((job.attempt, job.failures), (3, 2));
    let recorded = jobs::fail(&fresh.db, &job, "device_failed", "no memory on cpu:0").await.unwrap();
    assert_eq!(recorded, Failure::Dead(None));
    fresh.skip_backoff().await;
    assert_eq!(fresh.claim("a", JobKind::Segment).await, None);
    let row = &jobs::of_export(&fresh.db, &job).await.unwrap()[0];
    assert_eq!((row.state, row.failures), (JobState::Dead, 3));
    assert_eq!(row.error.as_deref(), Some("no memory on cpu:0"));
    let problem = row.problem();
    assert_eq!((problem["code"].as_str(), problem["detail"].as_str()), (Some("device_failed"), row.error.as_deref()));
    // A dead segment leaves the end of the export to its coordinator.
    let export = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!(export.state, ExportState::Queued);
}

async fn crashes_without_progress_kill(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    for crash in 1..MAX_CRASHES {
        let job = fresh.claim("node", JobKind::Segment).await.unwrap();
        assert_eq!((job.attempt, job.crashes, job.failures), (crash, crash - 1, 0));
        assert_eq!(jobs::take_back(&fresh.db, "node").await.unwrap().ready, 1);
    }
    fresh.claim("node", JobKind::Segment).await.unwrap();
    let swept = jobs::take_back(&fresh.db, "node").await.unwrap();
    assert_eq!((swept.ready, swept.dead.len()), (0, 1));
    let reason = swept.dead[0].error.as_deref().unwrap();
    assert!(reason.contains("20 crashes without progress") && reason.contains("node"), "{reason}");
    assert_eq!(fresh.claim("node", JobKind::Segment).await, None);
}

async fn a_dead_coordinator_fails_its_export(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, mut job) = fresh.coordinated(tenant.id, "node").await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    for _ in 1..3 {
        assert!(matches!(
            jobs::fail(&fresh.db, &job, "render_failed", "disk full").await.unwrap(),
            Failure::Retry { .. }
        ));
        fresh.skip_backoff().await;
        job = fresh.claim("node", JobKind::Coordinate).await.unwrap();
    }
    let recorded = jobs::fail(&fresh.db, &job, "render_failed", "disk full").await.unwrap();
    let Failure::Dead(Some(failed)) = recorded else { panic!("{recorded:?}") };
    let export = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!((export.state, &export), (ExportState::Failed, &*failed));
    assert_eq!(export.problem.unwrap()["detail"], "disk full");
    assert_eq!(fresh.claim("node", JobKind::Segment).await, None, "its segments are cancelled");
}

async fn a_coordinator_that_crashes_too_often_hands_out_its_failed_export(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let (export, _) = fresh.coordinated(tenant.id, "node").await;
    fresh.sql(&format!("update jobs set crashes = {}", MAX_CRASHES - 1)).await;
    let swept = jobs::take_back(&fresh.db, "node").await.unwrap();
    assert!(swept.error.is_none() && swept.dead.len() == 1);
    let row = exports::get(&fresh.db, tenant.id, export.id).await.unwrap().unwrap();
    assert_eq!((row.state, swept.failed), (ExportState::Failed, vec![row]));
}

async fn a_sweep_that_fails_half_way_returns_what_it_did(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Segment, 0, 1.0).await;
    fresh.claim("node", JobKind::Segment).await.unwrap();
    fresh.coordinated(tenant.id, "node").await;
    fresh.sql(&format!("update jobs set crashes = {}", MAX_CRASHES - 1)).await;
    // The end of an export, unlike that of a segment's job, is announced to webhooks.
    fresh.sql("drop table webhook_deliveries").await;
    fresh.sql("drop table webhooks").await;
    let swept = jobs::take_back(&fresh.db, "node").await.unwrap();
    assert!(swept.error.is_some() && swept.failed.is_empty());
    assert_eq!(swept.dead.iter().map(|job| job.export_id).collect::<Vec<_>>(), [export.id]);
}

async fn a_released_job_is_unharmed(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    fresh.enqueue(&export, JobKind::Audio, 0, 0.0).await;
    let job = fresh.claim("a", JobKind::Audio).await.unwrap();
    assert!(jobs::release(&fresh.db, &job).await.unwrap());
    let again = fresh.claim("b", JobKind::Audio).await.unwrap();
    assert_eq!((again.id, again.failures, again.crashes), (job.id, 0, 0));
}

async fn take_back_is_immediate_and_only_for_the_owner(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    for index in 0..3 {
        fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
    }
    fresh.claim("killed", JobKind::Segment).await.unwrap();
    fresh.claim("killed", JobKind::Segment).await.unwrap();
    let other = fresh.claim("alive", JobKind::Segment).await.unwrap();
    assert_eq!(jobs::take_back(&fresh.db, "killed").await.unwrap().ready, 2);
    assert!(jobs::renew(&fresh.db, &other, LEASE).await.unwrap());
    assert_eq!(fresh.claim("killed", JobKind::Segment).await.unwrap().index, 0);
    assert_eq!(fresh.claim("killed", JobKind::Segment).await.unwrap().index, 1);
}

async fn cancelling_stops_holders(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    for index in 0..3 {
        fresh.enqueue(&export, JobKind::Segment, index, 1.0).await;
    }
    let finished = fresh.claim("a", JobKind::Segment).await.unwrap();
    assert!(jobs::done(&fresh.db, &finished).await.unwrap());
    let held = fresh.claim("a", JobKind::Segment).await.unwrap();
    let tx = fresh.db.begin().await.unwrap();
    assert_eq!(jobs::cancel_export(&tx, export.id).await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert!(!jobs::renew(&fresh.db, &held, LEASE).await.unwrap());
    assert!(!jobs::done(&fresh.db, &held).await.unwrap());
    assert_eq!(fresh.claim("a", JobKind::Segment).await, None);
    fresh.expire_leases().await;
    assert_eq!(jobs::sweep(&fresh.db).await.unwrap().ready, 0);
    let states: Vec<_> = jobs::of_export(&fresh.db, &held).await.unwrap().iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Done, JobState::Cancelled, JobState::Cancelled]);
}

async fn a_tenants_exports_at_work_are_bounded(fresh: Fresh) {
    let (many, few) = (fresh.tenant("many").await, fresh.tenant("few").await);
    for _ in 0..3 {
        let export = fresh.export(many.id).await;
        fresh.enqueue(&export, JobKind::Coordinate, 0, 0.0).await;
    }
    let other = fresh.export(few.id).await;
    fresh.enqueue(&other, JobKind::Coordinate, 0, 0.0).await;
    let wanted = jobs::Wanted { kinds: vec![JobKind::Coordinate], ..jobs::Wanted::default() };
    let claim = || jobs::claim_within(&fresh.db, "a", &wanted, LEASE, 2);
    let claimed = [claim().await.unwrap(), claim().await.unwrap(), claim().await.unwrap(), claim().await.unwrap()];
    let tenants: Vec<_> = claimed.iter().map(|job| job.as_ref().map(|job| job.tenant_id)).collect();
    assert_eq!(tenants, [Some(many.id), Some(few.id), Some(many.id), None]);
    assert!(jobs::done(&fresh.db, claimed[0].as_ref().unwrap()).await.unwrap());
    assert_eq!(claim().await.unwrap().unwrap().tenant_id, many.id);
}

async fn a_job_is_enqueued_with_its_export_or_not_at_all(fresh: Fresh) {
    let tenant = fresh.tenant("club").await;
    let export = fresh.export(tenant.id).await;
    let new = jobs::NewJob { export: export.id, tenant: tenant.id, kind: JobKind::Segment, index: 0, cost: 5.0 };
    let tx = fresh.db.begin().await.unwrap();
    jobs::enqueue(&tx, &new).await.unwrap();
    drop(tx);
    assert_eq!(fresh.claim("a", JobKind::Segment).await, None);
    let many: Vec<_> = (0..1200).map(|index| jobs::NewJob { index, ..new }).collect();
    let tx = fresh.db.begin().await.unwrap();
    let made = jobs::enqueue_all(&tx, &many).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(made.len(), 1200);
    assert_eq!(fresh.claim("a", JobKind::Segment).await.unwrap().id, made[0].id);
}
