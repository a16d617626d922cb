//! Settings change while people work.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met, settings};

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_under_load_and_no_request_fails() -> Result<()> {
    assert_met(&settings::run(settings::Size::TEST).await?);
    Ok(())
}
