//! A crowd of 200 tenants and 500 listeners, for half a minute; ten minutes in `make soak`.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met, load};

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_without_errors_in_flat_memory() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met(&load::run(load::Size::TEST).await?);
    Ok(())
}
