//! A crowd of 100 tenants and 250 listeners for 20 seconds; twice as many for ten minutes in `make soak`.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met, load};

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_without_errors_in_flat_memory() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met(&load::run(load::Size::TEST).await?);
    Ok(())
}
