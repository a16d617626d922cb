use actix::Addr;
use entities::exports::ExportState;
use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::progress::relay::{NoRelay, RedisRelay};
use crate::progress::remote::follow;
use crate::redis_connection::RedisConnection;

fn progress(tenant: TenantId, export_id: ExportId, state: ExportState) -> Progress {
    Progress {
        kind: "progress",
        seq: 0,
        export_id,
        tenant,
        attempt: 1,
        state,
        progress: 0.5,
        frames_done: 1,
        frames_total: 2,
        frames_inferred: 0,
        fps: 0.0,
        eta_seconds: None,
        message: String::new(),
        warnings: serde_json::json!([]),
        problem: None,
        device_seconds: 0.0,
        cost: 0.0,
        updated_at: Utc::now(),
    }
}

async fn hub(folder: &std::path::Path) -> Addr<ProgressHub> {
    let url = format!("sqlite://{}/touchline.db", folder.display());
    ProgressHub::new(entities::connect(&url).await.unwrap(), Arc::new(NoRelay { shared_database: false })).start()
}

/// Listens to all of a tenant's exports, with room for so many messages.
async fn listen(hub: &Addr<ProgressHub>, tenant: TenantId, room: usize) -> Receiver<Arc<Progress>> {
    let (sink, messages) = channel(room);
    hub.send(Subscribe { tenant, export: None, sink }).await.unwrap().unwrap();
    messages
}

/// The exports of whose end it hears, until it has heard of `count`.
async fn ends(messages: &mut Receiver<Arc<Progress>>, count: usize) -> Vec<ExportId> {
    let mut ended = Vec::new();
    while ended.len() < count {
        let last = tokio::time::timeout(Duration::from_secs(60), messages.recv()).await;
        let last = last.expect("a last message did not come").expect("the hub is gone");
        if last.state.is_terminal() {
            ended.push(last.export_id);
        }
    }
    ended.sort();
    ended
}

#[actix::test]
async fn a_listener_that_does_not_read_delays_no_other_and_receives_every_end_later() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let tenant = TenantId::new();
    let mut keen = listen(&hub, tenant, 1000).await;
    let mut deaf = listen(&hub, tenant, 1).await;
    let mut stranger = listen(&hub, TenantId::new(), 1000).await;
    let mut exports: Vec<ExportId> = (0..100).map(|_| ExportId::new()).collect();
    exports.sort();
    for state in [ExportState::Rendering, ExportState::Complete] {
        for &export in &exports {
            hub.send(Publish(progress(tenant, export, state))).await.unwrap();
        }
    }
    assert_eq!(ends(&mut keen, 100).await, exports);
    assert_eq!(ends(&mut deaf, 100).await, exports);
    assert!(stranger.try_recv().is_err(), "another tenant heard of them");
}

#[actix::test]
async fn a_first_look_at_more_exports_than_there_is_room_for_misses_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let tenant = TenantId::new();
    let mut exports: Vec<ExportId> = (0..50).map(|_| ExportId::new()).collect();
    exports.sort();
    for &export in &exports {
        hub.send(Publish(progress(tenant, export, ExportState::Complete))).await.unwrap();
    }
    let mut late = listen(&hub, tenant, 4).await;
    assert_eq!(ends(&mut late, 50).await, exports);
}

/// A hub that talks to others through a Redis, on a database of its own.
async fn linked(url: &str) -> (Addr<ProgressHub>, RedisConnection) {
    let redis = RedisConnection::start(url).unwrap();
    assert!(redis.wait_up(Duration::from_secs(30)).await);
    let db = entities::connect(&services::fresh_database()).await.unwrap();
    let hub = ProgressHub::new(db, Arc::new(RedisRelay::new(redis.clone()))).start();
    actix::spawn(follow(redis.clone(), hub.clone()));
    (hub, redis)
}

#[actix::test]
async fn listeners_of_another_node_hear_every_end_and_nothing_old() {
    let url = services::fresh_redis();
    let ((here, _first), (there, _second)) = (linked(&url).await, linked(&url).await);
    let (tenant, export) = (TenantId::new(), ExportId::new());
    let mut messages = listen(&there, tenant, 1000).await;
    let mut strangers = listen(&there, TenantId::new(), 1000).await;
    // Once it hears anything, what follows arrives as well.
    here.send(Publish(progress(tenant, export, ExportState::Rendering))).await.unwrap();
    let first = messages.recv().await.unwrap();
    assert_eq!((first.state, first.tenant, first.attempt), (ExportState::Rendering, tenant, 1));
    here.send(Publish(progress(tenant, export, ExportState::Complete))).await.unwrap();
    assert_eq!(ends(&mut messages, 1).await, [export]);
    // A late message of the same attempt is not last; the next attempt is.
    there.send(PublishRemote(progress(tenant, export, ExportState::Rendering))).await.unwrap();
    assert!(messages.try_recv().is_err());
    let again = Progress { attempt: 2, progress: 0.0, ..progress(tenant, export, ExportState::Queued) };
    here.send(Publish(again)).await.unwrap();
    let again = messages.recv().await.unwrap();
    assert_eq!((again.attempt, again.progress), (2, 0.0));
    assert!(strangers.try_recv().is_err(), "another tenant heard of it");
}
