//! A thousand people watch one export.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met_in_time, listeners};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_listeners_receive_the_state_the_progress_and_the_end() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met_in_time(|| listeners::run(listeners::Size::TEST)).await
}
