//! Random damage: 200 files here, 2000 in `make soak`.

use anyhow::Result;
use touchline_tests::damage::damaged;
use touchline_tests::scenarios::{assert_met, fuzz};

/// Set, they name other files than the usual ones, to try one of them again.
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

#[test]
fn a_file_is_damaged_the_same_way_each_time() {
    let seeds = [vec![1; 5000], vec![2; 300]];
    for number in 0..50 {
        assert_eq!(damaged(&seeds, number), damaged(&seeds, number));
    }
    let changed = (0..50).filter(|&number| {
        let (_, seed, bytes) = damaged(&seeds, number);
        bytes != seeds[seed]
    });
    assert!(changed.count() >= 45);
}
