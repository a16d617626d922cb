//! Random damage: 200 files here, 2000 in `make soak`.

use anyhow::Result;
use touchline_tests::scenarios::{assert_met, fuzz};

/// Set, they name other files than the usual ones, to look at one of them again.
const FIRST: &str = "TOUCHLINE_FUZZ_FIRST";
const FILES: &str = "TOUCHLINE_FUZZ_FILES";

#[tokio::test]
async fn damaged_files_are_rendered_or_refused() -> Result<()> {
    let number = |name: &str, default| std::env::var(name).map_or(Ok(default), |text| text.parse::<u64>());
    let usual = fuzz::Size::TEST;
    let size = fuzz::Size { first: number(FIRST, usual.first)?, files: number(FILES, usual.files)? };
    assert_met(&fuzz::run(size).await?);
    Ok(())
}
