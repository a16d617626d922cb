use services::Redis;

use super::*;
use crate::redis_connection::Link;

const LIFE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);

async fn shared(url: &str) -> BriefRedis {
    BriefRedis::new(linked(url).await)
}

async fn linked(url: &str) -> Link {
    let link = Link::start(url).unwrap();
    assert!(link.wait_up(PATIENCE).await);
    link
}

/// Both places do the same.
async fn keeps(brief: &dyn Brief) {
    brief.put("ticket", b"me".to_vec(), LIFE).await;
    assert_eq!(brief.take("ticket").await, Some(b"me".to_vec()));
    assert_eq!(brief.take("ticket").await, None);
    brief.put("old", b"me".to_vec(), Duration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(brief.take("old").await, None);

    assert_eq!(brief.counted("failures").await, None);
    brief.count("failures", LIFE).await;
    brief.count("failures", LIFE).await;
    let (count, left) = brief.counted("failures").await.unwrap();
    assert!(count == 2 && left <= LIFE && left > LIFE / 2, "{count} for {left:?}");
    brief.forget("failures").await;
    assert_eq!(brief.counted("failures").await, None);

    // One in a hundred seconds, three at once.
    let rate = Rate { per_second: 0.01, burst: 3.0 };
    for left in [2, 1, 0] {
        assert_eq!(brief.spend("rate", rate).await, Spent::Taken { left });
    }
    let Spent::Refused { wait } = brief.spend("rate", rate).await else { panic!("a fourth was let in") };
    assert!(wait <= Duration::from_secs(100) && wait > Duration::from_secs(50), "{wait:?}");
    assert_eq!(brief.spend("other", rate).await, Spent::Taken { left: 2 });
    // A rate that is raised holds at once.
    let fast = Rate { per_second: 1e6, burst: 1e9 };
    assert!(matches!(brief.spend("rate", fast).await, Spent::Taken { .. }));
}

#[actix::test]
async fn memory_keeps_what_is_brief() {
    keeps(&BriefMemory::default()).await;
}

#[actix::test]
async fn redis_keeps_what_is_brief() {
    keeps(&shared(&services::fresh_redis()).await).await;
}

#[actix::test]
async fn without_redis_memory_does() {
    keeps(&BriefRedis::new(Link::start("unix:///nowhere").unwrap())).await;
}

#[actix::test]
async fn nodes_share_what_is_brief() {
    let url = services::fresh_redis();
    let (one, two) = (shared(&url).await, shared(&url).await);
    one.put("ticket", b"me".to_vec(), LIFE).await;
    assert_eq!(two.take("ticket").await, Some(b"me".to_vec()));
    assert_eq!(one.take("ticket").await, None, "a ticket was used twice");
    one.count("failures", LIFE).await;
    two.count("failures", LIFE).await;
    assert_eq!(one.counted("failures").await.unwrap().0, 2);
    let rate = Rate { per_second: 0.01, burst: 1.0 };
    assert_eq!(one.spend("rate", rate).await, Spent::Taken { left: 0 });
    assert!(matches!(two.spend("rate", rate).await, Spent::Refused { .. }));
}

#[actix::test]
async fn what_redis_forgets_its_node_still_knows() {
    let mut redis = Redis::start();
    let link = linked(&redis.url()).await;
    let brief = BriefRedis::new(link.clone());
    brief.put("before", b"me".to_vec(), LIFE).await;
    redis.kill();
    brief.put("without", b"me".to_vec(), LIFE).await;
    redis.revive();
    while !link.is_up() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for ticket in ["before", "without"] {
        assert_eq!(brief.take(ticket).await, Some(b"me".to_vec()), "{ticket}");
        assert_eq!(brief.take(ticket).await, None, "{ticket}");
    }
}
