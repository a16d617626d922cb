use services::Redis;

use super::*;
use crate::redis_connection::RedisConnection;

const LIFE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);

async fn connected_store(url: &str) -> RedisStore {
    RedisStore::new(connected(url).await)
}

async fn connected(url: &str) -> RedisConnection {
    let redis = RedisConnection::start(url).unwrap();
    assert!(redis.wait_up(PATIENCE).await);
    redis
}

/// What every store does.
async fn keeps(store: &dyn EphemeralStore) {
    store.put("ticket", b"me".to_vec(), LIFE).await;
    assert_eq!(store.take("ticket").await, Some(b"me".to_vec()));
    assert_eq!(store.take("ticket").await, None);
    store.put("old", b"me".to_vec(), Duration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.take("old").await, None);

    // One in a hundred seconds, three at once.
    let rate = Rate { per_second: 0.01, burst: 3.0 };
    for remaining in [2, 1, 0] {
        assert_eq!(store.spend("rate", rate).await, RateDecision::Allowed { remaining });
    }
    let RateDecision::Denied { retry_after } = store.spend("rate", rate).await else { panic!("a fourth was let in") };
    assert!(retry_after <= Duration::from_secs(100) && retry_after > Duration::from_secs(50), "{retry_after:?}");
    assert_eq!(store.spend("other", rate).await, RateDecision::Allowed { remaining: 2 });
    // One that is given back can be taken again; a full bucket stays full.
    store.give_back("rate", rate).await;
    assert_eq!(store.spend("rate", rate).await, RateDecision::Allowed { remaining: 0 });
    assert!(matches!(store.spend("rate", rate).await, RateDecision::Denied { .. }));
    store.give_back("untouched", rate).await;
    assert_eq!(store.spend("untouched", rate).await, RateDecision::Allowed { remaining: 2 });
    store.fill("rate").await;
    assert_eq!(store.spend("rate", rate).await, RateDecision::Allowed { remaining: 2 });
    // A rate that is raised holds at once.
    let fast = Rate { per_second: 1e6, burst: 1e9 };
    assert!(matches!(store.spend("rate", fast).await, RateDecision::Allowed { .. }));
}

#[actix::test]
async fn memory_keeps_values() {
    keeps(&MemoryStore::default()).await;
}

#[actix::test]
async fn redis_keeps_values() {
    keeps(&connected_store(&services::fresh_redis()).await).await;
}

#[actix::test]
async fn without_redis_memory_does() {
    keeps(&RedisStore::new(RedisConnection::start("unix:///nowhere").unwrap())).await;
}

#[actix::test]
async fn nodes_share_values() {
    let url = services::fresh_redis();
    let (one, two) = (connected_store(&url).await, connected_store(&url).await);
    one.put("ticket", b"me".to_vec(), LIFE).await;
    assert_eq!(two.take("ticket").await, Some(b"me".to_vec()));
    assert_eq!(one.take("ticket").await, None, "a ticket was used twice");
    let rate = Rate { per_second: 0.01, burst: 1.0 };
    assert_eq!(one.spend("rate", rate).await, RateDecision::Allowed { remaining: 0 });
    assert!(matches!(two.spend("rate", rate).await, RateDecision::Denied { .. }));
    two.give_back("rate", rate).await;
    assert_eq!(one.spend("rate", rate).await, RateDecision::Allowed { remaining: 0 });
}

#[actix::test]
async fn of_a_burst_no_more_come_than_there_are_tokens() {
    let rate = Rate { per_second: 0.01, burst: 10.0 };
    let redis = connected_store(&services::fresh_redis()).await;
    let stores: [&dyn EphemeralStore; 2] = [&MemoryStore::default(), &redis];
    for store in stores {
        let burst = futures_util::future::join_all((0..50).map(|_| store.spend("burst", rate))).await;
        let allowed = burst.iter().filter(|decision| matches!(decision, RateDecision::Allowed { .. })).count();
        assert_eq!(allowed, 10);
    }
}

#[actix::test]
async fn what_redis_forgets_its_node_still_knows() {
    let mut server = Redis::start();
    let redis = connected(&server.url()).await;
    let store = RedisStore::new(redis.clone());
    store.put("before", b"me".to_vec(), LIFE).await;
    server.kill();
    store.put("without", b"me".to_vec(), LIFE).await;
    server.revive();
    while !redis.is_up() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for ticket in ["before", "without"] {
        assert_eq!(store.take(ticket).await, Some(b"me".to_vec()), "{ticket}");
        assert_eq!(store.take(ticket).await, None, "{ticket}");
    }
}

#[test]
fn a_flood_of_keys_refuses_no_new_one() {
    let store = MemoryStore::default();
    for i in 0..30_000 {
        let key = format!("ticket:{i}");
        store.keep(&key, b"me".to_vec(), LIFE);
        if i % 100 == 0 {
            assert_eq!(store.take_now(&key), Some(b"me".to_vec()), "{key}");
        }
    }
    assert_eq!(store.take_now("ticket:29999"), Some(b"me".to_vec()));
    let kept = (0..30_000).filter(|i| store.take_now(&format!("ticket:{i}")).is_some()).count();
    assert!(kept <= 11_000, "{kept} are kept where 10 000 are the most");
}
