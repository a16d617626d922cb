//! Which deliveries are sent next: each tenant has a share of the senders.

use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::{
    ActiveValue::Set,
    QueryOrder, QuerySelect, QueryTrait,
    entity::prelude::*,
    sea_query::{LockBehavior, LockType},
};

use super::{ClaimedDelivery, DeliveryState};
use crate::{
    Database, Result, TenantId, WebhookId,
    error::Doing,
    now,
    rows::{
        tenant,
        webhook::{Column, Entity},
        webhook_delivery as delivery,
    },
    tenants::TenantState,
};

/// How many deliveries may be on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// That the caller claims at most.
    pub claims: usize,
    /// Of one tenant, from all nodes.
    pub of_tenant: usize,
}

/// The most due webhooks that are considered for one claim. Those of tenants without room are not among them, so a
/// crowd of silent receivers cannot fill it up.
const MOST_CONSIDERED: u64 = 1024;

/// A webhook that has a delivery that is due and none on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    webhook: WebhookId,
    tenant: TenantId,
}

/// Which of `due`, oldest first, are claimed, given how many deliveries of each tenant are on their way: always one of
/// the tenant that has the fewest, so that a tenant whose receivers never answer leaves the senders to others.
fn choose(due: &[Due], mut on_their_way: HashMap<TenantId, usize>, room: Room) -> Vec<WebhookId> {
    let mut left: Vec<Due> = due.to_vec();
    let mut chosen = Vec::new();
    while chosen.len() < room.claims {
        let busy = |due: &Due| on_their_way.get(&due.tenant).copied().unwrap_or(0);
        let open = left.iter().enumerate().filter(|(_, due)| busy(due) < room.of_tenant);
        let Some((place, _)) = open.min_by_key(|(_, due)| busy(due)) else { break };
        // The order of the others stays: the oldest of a tenant first.
        let next = left.remove(place);
        *on_their_way.entry(next.tenant).or_default() += 1;
        chosen.push(next.webhook);
    }
    chosen
}

/// How many deliveries of each tenant are on their way, from any node.
async fn on_their_way(db: &impl ConnectionTrait) -> Result<HashMap<TenantId, usize>> {
    use delivery::Column as Sent;
    let rows: Vec<(TenantId, i64)> = delivery::Entity::find()
        .select_only()
        .column(Sent::TenantId)
        .column_as(Sent::Id.count(), "count")
        .filter(Sent::State.eq(DeliveryState::Sending))
        .filter(Sent::RunAt.gt(now()))
        .group_by(Sent::TenantId)
        .into_tuple()
        .all(db)
        .await
        .doing("counting deliveries on their way")?;
    Ok(rows.into_iter().map(|(tenant, count)| (tenant, usize::try_from(count).unwrap_or(0))).collect())
}

/// Webhooks of active tenants that have room, with a delivery that is due and none on its way, oldest first.
async fn due_webhooks(
    db: &impl ConnectionTrait,
    on_their_way: &HashMap<TenantId, usize>,
    room: Room,
) -> Result<Vec<Due>> {
    use delivery::Column as Sent;
    let full = on_their_way.iter().filter(|(_, count)| **count >= room.of_tenant).map(|(tenant, _)| *tenant);
    let active = tenant::Entity::find().select_only().column(tenant::Column::Id);
    let active = active
        .filter(tenant::Column::State.eq(TenantState::Active))
        .filter(tenant::Column::Id.is_not_in(full))
        .into_query();
    let enabled = Entity::find().select_only().column(Column::Id).filter(Column::Enabled.eq(true)).into_query();
    let busy = delivery::Entity::find().select_only().column(Sent::WebhookId);
    let busy = busy.filter(Sent::State.eq(DeliveryState::Sending)).filter(Sent::RunAt.gt(now())).into_query();
    let due: Vec<(WebhookId, TenantId)> = delivery::Entity::find()
        .select_only()
        .columns([Sent::WebhookId, Sent::TenantId])
        .filter(Sent::State.is_in([DeliveryState::Waiting, DeliveryState::Sending]))
        .filter(Sent::RunAt.lte(now()))
        .filter(Sent::TenantId.in_subquery(active))
        .filter(Sent::WebhookId.in_subquery(enabled))
        .filter(Sent::WebhookId.not_in_subquery(busy))
        .group_by(Sent::WebhookId)
        .group_by(Sent::TenantId)
        .order_by_asc(Sent::RunAt.min())
        .limit(MOST_CONSIDERED)
        .into_tuple()
        .all(db)
        .await
        .doing("finding webhooks that are due")?;
    Ok(due.into_iter().map(|(webhook, tenant)| Due { webhook, tenant }).collect())
}

/// Claims deliveries that are due and have [`Room`], each for `lease`, after which another sender may claim it. Only
/// the oldest of each webhook, so that messages arrive in order and a slow receiver delays no other webhook; and first
/// of the tenant with the fewest on their way, so that slow receivers delay no other tenant. Nodes that claim at the
/// same instant may together exceed a tenant's room. Deliveries of suspended tenants and disabled webhooks wait.
pub async fn claim(db: &Database, room: Room, lease: TimeDelta) -> Result<Vec<ClaimedDelivery>> {
    // Checked by a reader first: while nothing can be claimed, no write lock is taken.
    let busy = on_their_way(db.reader()).await?;
    if due_webhooks(db.reader(), &busy, room).await?.is_empty() {
        return Ok(Vec::new());
    }
    let tx = db.begin().await?;
    let mut claimed_deliveries = Vec::new();
    let busy = on_their_way(tx.raw()).await?;
    let due = due_webhooks(tx.raw(), &busy, room).await?;
    for id in choose(&due, busy, room) {
        // Locked, so that two senders do not both claim one of its deliveries.
        let webhook = Entity::find_by_id(id).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let Some(webhook) = webhook.one(tx.raw()).await.doing("locking a webhook")? else { continue };
        let oldest = delivery::Entity::find()
            .filter(delivery::Column::WebhookId.eq(id))
            .filter(delivery::Column::State.is_in([DeliveryState::Waiting, DeliveryState::Sending]))
            .filter(delivery::Column::RunAt.lte(now()))
            .order_by_asc(delivery::Column::RunAt)
            .order_by_asc(delivery::Column::Id);
        let Some(mut found) = oldest.one(tx.raw()).await.doing("finding a due delivery")? else { continue };
        found.state = DeliveryState::Sending;
        found.attempts += 1;
        found.run_at = now() + lease;
        let row = delivery::ActiveModel {
            state: Set(found.state),
            attempts: Set(found.attempts),
            run_at: Set(found.run_at),
            ..Default::default()
        };
        let claimed = delivery::Entity::update_many().set(row).filter(delivery::Column::Id.eq(found.id));
        claimed.exec(tx.raw()).await.doing("claiming a delivery")?;
        claimed_deliveries.push(ClaimedDelivery { delivery: found, webhook });
    }
    tx.commit().await?;
    Ok(claimed_deliveries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(tenant: TenantId, count: usize) -> Vec<Due> {
        (0..count).map(|_| Due { webhook: WebhookId::new(), tenant }).collect()
    }

    #[test]
    fn a_tenant_has_its_share_of_the_senders_and_no_more() {
        let (many, few) = (TenantId::new(), TenantId::new());
        let due = [due(many, 20), due(few, 2)].concat();
        let room = Room { claims: 64, of_tenant: 4 };
        let chosen = choose(&due, HashMap::new(), room);
        assert_eq!(chosen.len(), 6);
        assert!(chosen.contains(&due[20].webhook) && chosen.contains(&due[21].webhook));
        assert!(due[..4].iter().all(|due| chosen.contains(&due.webhook)), "the oldest first");
        // With all of them on their way, the rest waits.
        assert!(choose(&due[4..20], HashMap::from([(many, 4)]), room).is_empty());
    }

    #[test]
    fn the_last_sender_goes_to_the_tenant_with_the_fewest_on_their_way() {
        let (busy, idle) = (TenantId::new(), TenantId::new());
        let due = [due(busy, 3), due(idle, 1)].concat();
        let chosen = choose(&due, HashMap::from([(busy, 1)]), Room { claims: 1, of_tenant: 4 });
        assert_eq!(chosen, [due[3].webhook]);
    }
}
