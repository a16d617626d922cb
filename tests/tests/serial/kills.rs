//! A server that is killed at random moments of a real export.

use touchline_tests::scenarios::{assert_met, kills};

#[tokio::test]
async fn nothing_finished_is_lost_or_made_again() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    assert_met(&kills::run(kills::Size::TEST).await?);
    Ok(())
}
