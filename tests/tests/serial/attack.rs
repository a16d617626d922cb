//! One tenant attacks, another one works beside it.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met_in_time, attack};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_works_does_not_suffer_from_a_tenant_that_attacks() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met_in_time(|| attack::run(attack::Size::TEST)).await
}
