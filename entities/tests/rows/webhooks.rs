//! The outbox: a message is written in the transaction of the event and claimed by one sender at a time.

use chrono::{TimeDelta, Utc};
use entities::{
    Changed, Database, TenantId, exports,
    page::PageRequest,
    tenants::{self, TenantState},
    webhooks::{self, DeliveryState, Event, Outcome, Room, Settings, Webhook},
};

use crate::support::{Fresh, on_both};

on_both!(
    an_event_reaches_the_webhooks_that_subscribe_to_it,
    a_webhook_gets_one_message_at_a_time,
    silent_receivers_of_one_tenant_leave_the_senders_to_others,
    only_the_claimant_records_the_outcome_of_a_delivery,
    a_webhook_that_was_changed_meanwhile_is_not_disabled,
    a_webhook_is_its_tenants,
);

const LEASE: TimeDelta = TimeDelta::minutes(1);

fn room(claims: usize) -> Room {
    Room { claims, of_tenant: 4 }
}

fn settings(events: Vec<Event>) -> Settings {
    Settings { url: "https://club.example/".to_owned(), events, enabled: true, description: String::new() }
}

async fn webhook(fresh: &Fresh, tenant: TenantId, events: Vec<Event>) -> Webhook {
    webhooks::create(&fresh.db, tenant, settings(events), "whsec_AAAA".to_owned()).await.unwrap()
}

async fn messages(db: &Database, webhook: &Webhook) -> Vec<String> {
    let page = webhooks::deliveries(db, webhook.tenant_id, webhook.id, &PageRequest::default()).await.unwrap();
    page.unwrap().items.into_iter().map(|row| row.event).collect()
}

async fn an_event_reaches_the_webhooks_that_subscribe_to_it(fresh: Fresh) {
    let (club, other) = (fresh.tenant("club").await.id, fresh.tenant("other").await.id);
    let all = webhook(&fresh, club, Vec::new()).await;
    let failures = webhook(&fresh, club, vec![Event::ExportFailed]).await;
    let others = webhook(&fresh, other, Vec::new()).await;
    let off = webhook(&fresh, club, Vec::new()).await;
    let off_now = Settings { enabled: false, ..settings(Vec::new()) };
    assert!(matches!(webhooks::change(&fresh.db, club, off.id, 1, off_now).await.unwrap(), Changed::Now(_)));
    let export = fresh.export(club).await;
    exports::cancel(&fresh.db, club, export.id).await.unwrap();
    assert_eq!(messages(&fresh.db, &all).await, ["export.cancelled"]);
    for silent in [failures, others, off] {
        assert!(messages(&fresh.db, &silent).await.is_empty());
    }
    // Doing it again is no event.
    exports::cancel(&fresh.db, club, export.id).await.unwrap();
    assert_eq!(messages(&fresh.db, &all).await.len(), 1);
}

async fn a_webhook_gets_one_message_at_a_time(fresh: Fresh) {
    let (db, club) = (&fresh.db, fresh.tenant("club").await.id);
    let (busy, idle) = (webhook(&fresh, club, Vec::new()).await, webhook(&fresh, club, Vec::new()).await);
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(webhooks::send_test(db, club, busy.id).await.unwrap().unwrap().id);
    }
    webhooks::send_test(db, club, idle.id).await.unwrap();
    let mut claimed = webhooks::claim(db, room(10), LEASE).await.unwrap();
    assert_eq!(claimed.len(), 2, "one each");
    assert!(webhooks::claim(db, room(10), LEASE).await.unwrap().is_empty(), "both are busy");
    claimed.sort_by_key(|one| one.webhook.id != busy.id);
    assert_eq!((claimed[0].delivery.id, claimed[0].delivery.attempts), (sent[0], 1), "the oldest first");
    assert!(webhooks::record_outcome(db, &claimed[0], Outcome::Delivered { status: 200 }).await.unwrap());
    let next = webhooks::claim(db, room(10), LEASE).await.unwrap();
    assert_eq!(next.iter().map(|claimed| claimed.delivery.id).collect::<Vec<_>>(), [sent[1]]);
    // Nothing is called for a tenant that is suspended.
    webhooks::record_outcome(db, &next[0], Outcome::Delivered { status: 200 }).await.unwrap();
    tenants::set_state(db, club, TenantState::Suspended).await.unwrap();
    assert!(webhooks::claim(db, room(10), LEASE).await.unwrap().is_empty());
}

async fn silent_receivers_of_one_tenant_leave_the_senders_to_others(fresh: Fresh) {
    let db = &fresh.db;
    let (many, few) = (fresh.tenant("many").await.id, fresh.tenant("few").await.id);
    for _ in 0..20 {
        let silent = webhook(&fresh, many, Vec::new()).await;
        webhooks::send_test(db, many, silent.id).await.unwrap();
    }
    let held = webhooks::claim(db, room(64), LEASE).await.unwrap();
    assert_eq!(held.len(), 4, "a tenant's share of the senders");
    assert!(webhooks::claim(db, room(64), LEASE).await.unwrap().is_empty(), "sixteen wait");
    let other = webhook(&fresh, few, Vec::new()).await;
    webhooks::send_test(db, few, other.id).await.unwrap();
    let next = webhooks::claim(db, room(64), LEASE).await.unwrap();
    assert_eq!(next.iter().map(|claimed| claimed.webhook.id).collect::<Vec<_>>(), [other.id]);
    // What ends makes room for the next of the same tenant.
    let again = Outcome::Again { at: Utc::now() + LEASE, status: None, error: "silence".to_owned() };
    assert!(webhooks::record_outcome(db, &held[0], again).await.unwrap());
    let next = webhooks::claim(db, room(64), LEASE).await.unwrap();
    assert_eq!(next.iter().map(|claimed| claimed.webhook.tenant_id).collect::<Vec<_>>(), [many]);
}

async fn only_the_claimant_records_the_outcome_of_a_delivery(fresh: Fresh) {
    let (db, club) = (&fresh.db, fresh.tenant("club").await.id);
    let hook = webhook(&fresh, club, Vec::new()).await;
    let id = webhooks::send_test(db, club, hook.id).await.unwrap().unwrap().id;
    // A claim that has expired belongs to another sender; the outcome that the first one records is ignored.
    let slow = webhooks::claim(db, room(1), TimeDelta::seconds(-1)).await.unwrap().remove(0);
    let quick = webhooks::claim(db, room(1), LEASE).await.unwrap().remove(0);
    assert_eq!((quick.delivery.id, quick.delivery.attempts), (id, 2));
    assert!(!webhooks::record_outcome(db, &slow, Outcome::Delivered { status: 200 }).await.unwrap());
    let later = Outcome::Again { at: Utc::now() + LEASE, status: Some(500), error: "no".to_owned() };
    assert!(webhooks::record_outcome(db, &quick, later).await.unwrap());
    assert!(webhooks::claim(db, room(1), LEASE).await.unwrap().is_empty(), "its pause has not passed");
    let row = webhooks::get_delivery(db, club, hook.id, id).await.unwrap().unwrap();
    assert_eq!((row.state, row.status, row.error.as_deref()), (DeliveryState::Waiting, Some(500), Some("no")));
    // One that is on its way is not sent again; one that has ended is.
    assert_eq!(webhooks::send_again(db, club, hook.id, id).await.unwrap().unwrap().attempts, 2);
    fresh.sql("update webhook_deliveries set run_at = '2000-01-01T00:00:00+00:00'").await;
    let third = webhooks::claim(db, room(1), LEASE).await.unwrap().remove(0);
    let gone = Outcome::GivenUp { status: Some(410), error: "gone".to_owned(), disable: true };
    assert!(webhooks::record_outcome(db, &third, gone).await.unwrap());
    assert!(!webhooks::get(db, club, hook.id).await.unwrap().unwrap().enabled);
    let again = webhooks::send_again(db, club, hook.id, id).await.unwrap().unwrap();
    assert_eq!((again.state, again.attempts), (DeliveryState::Waiting, 0));
    assert!(webhooks::claim(db, room(1), LEASE).await.unwrap().is_empty(), "the webhook is off");
    assert_eq!(webhooks::forget_ended(db, Utc::now()).await.unwrap(), 0, "it waits");
}

async fn a_webhook_that_was_changed_meanwhile_is_not_disabled(fresh: Fresh) {
    let (db, club) = (&fresh.db, fresh.tenant("club").await.id);
    let hook = webhook(&fresh, club, Vec::new()).await;
    webhooks::send_test(db, club, hook.id).await.unwrap();
    let claimed = webhooks::claim(db, room(1), LEASE).await.unwrap().remove(0);
    let moved = Settings { url: "https://new.example/".to_owned(), ..settings(Vec::new()) };
    assert!(matches!(webhooks::change(db, club, hook.id, 1, moved).await.unwrap(), Changed::Now(_)));
    let gone = Outcome::GivenUp { status: Some(410), error: "gone".to_owned(), disable: true };
    assert!(webhooks::record_outcome(db, &claimed, gone.clone()).await.unwrap());
    let now = webhooks::get(db, club, hook.id).await.unwrap().unwrap();
    assert_eq!((now.enabled, now.version, now.url.as_str()), (true, 2, "https://new.example/"));

    webhooks::send_test(db, club, hook.id).await.unwrap();
    let claimed = webhooks::claim(db, room(1), LEASE).await.unwrap().remove(0);
    assert!(webhooks::record_outcome(db, &claimed, gone).await.unwrap());
    let now = webhooks::get(db, club, hook.id).await.unwrap().unwrap();
    assert_eq!((now.enabled, now.version), (false, 3));
}

async fn a_webhook_is_its_tenants(fresh: Fresh) {
    let (db, page) = (&fresh.db, PageRequest::default());
    let (owner, thief) = (fresh.tenant("owner").await.id, fresh.tenant("thief").await.id);
    let hook = webhook(&fresh, owner, Vec::new()).await;
    let sent = webhooks::send_test(db, owner, hook.id).await.unwrap().unwrap();
    assert!(webhooks::get(db, thief, hook.id).await.unwrap().is_none());
    assert!(webhooks::list(db, thief, &page).await.unwrap().items.is_empty());
    assert_eq!(webhooks::change(db, thief, hook.id, 1, settings(Vec::new())).await.unwrap(), Changed::NotFound);
    let rotated = webhooks::rotate_secret(db, thief, hook.id, "x".to_owned(), Utc::now()).await.unwrap();
    assert_eq!(rotated, Changed::NotFound);
    assert!(webhooks::send_test(db, thief, hook.id).await.unwrap().is_none());
    assert!(webhooks::deliveries(db, thief, hook.id, &page).await.unwrap().is_none());
    assert!(webhooks::get_delivery(db, thief, hook.id, sent.id).await.unwrap().is_none());
    assert!(webhooks::send_again(db, thief, hook.id, sent.id).await.unwrap().is_none());
    assert!(!webhooks::delete(db, thief, hook.id).await.unwrap());
    assert!(webhooks::delete(db, owner, hook.id).await.unwrap());
}
