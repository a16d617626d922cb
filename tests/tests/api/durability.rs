//! Crashes at every point, full disks, and uploads that are cut off.

use touchline_tests::scenarios::{assert_met, crash_points, disk, uploads};

#[tokio::test]
async fn a_crash_at_any_point_changes_nothing() -> anyhow::Result<()> {
    assert_met(&crash_points::run(crash_points::Size::TEST).await?);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_reported_and_a_retry_goes_on() -> anyhow::Result<()> {
    assert_met(&disk::run(disk::Size::TEST).await?);
    Ok(())
}

#[tokio::test]
async fn an_upload_survives_a_kill_at_any_byte() -> anyhow::Result<()> {
    assert_met(&uploads::run(uploads::Size::TEST).await?);
    Ok(())
}
