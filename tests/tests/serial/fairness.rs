//! Tenants share the devices.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met_in_time, fairness};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_exports_of_one_tenant_delay_no_other_and_weights_are_kept() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met_in_time(|| fairness::run(fairness::Size::TEST)).await
}
