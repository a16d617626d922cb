//! People do not wait for exports.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met_in_time, latency};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_frame_waits_for_a_running_batch_at_most() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met_in_time(|| latency::run(latency::Size::TEST)).await
}
