//! Footage as it really comes: every file of the list is probed and rendered, and `docs/inputs.md` says what came out.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use anyhow::{Context, Result, ensure};
use touchline_tests::inputs::{Case, Kind, check, list, table};

/// Set: the page is written instead of compared (`make inputs`).
const WRITE: &str = "TOUCHLINE_WRITE_INPUTS";
/// Set: every file goes through every kind of export (`make inputs`); else each through framing and one other, in turn.
const EVERY_KIND: &str = "TOUCHLINE_EVERY_KIND";
/// Only files whose name has this in it, for work on one of them; the page is then left alone.
const ONLY: &str = "TOUCHLINE_ONLY_INPUT";

#[test]
fn every_file_comes_out_as_the_table_says() -> Result<()> {
    let (only, every_kind) = (std::env::var(ONLY).ok(), std::env::var_os(EVERY_KIND).is_some());
    let mut groups = list::groups();
    for group in &mut groups {
        group.cases.retain(|case| only.as_ref().is_none_or(|part| case.file.contains(part.as_str())));
    }
    let cases: Vec<_> = groups.iter().flat_map(|group| &group.cases).collect();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        // A file at a time for each core, and as many as two for one.
        for _ in 0..thread::available_parallelism().map_or(2, |cores| cores.get().max(2)) {
            scope.spawn(|| {
                while let Some((number, case)) = taken(&cases, &next) {
                    let turn = number % Kind::ALL.len();
                    let kinds = if every_kind { &Kind::ALL[..] } else { &Kind::ALL[turn..=turn] };
                    let outcome = tempfile::tempdir().context("making a folder");
                    let outcome = outcome.and_then(|folder| check::outcome(case, kinds, folder.path()));
                    results.lock().expect("no thread panics").insert(case.file, outcome);
                }
            });
        }
    });
    let results = results.into_inner()?;
    ensure!(results.len() == cases.len(), "two files have the same name");
    let failed: Vec<_> =
        results.iter().filter_map(|(file, outcome)| Some(format!("{file}: {:#}", outcome.as_ref().err()?))).collect();
    ensure!(failed.is_empty(), "{} of {} files fail:\n{}", failed.len(), results.len(), failed.join("\n"));
    if only.is_some() {
        println!("{results:#?}");
        return Ok(());
    }

    let page = table::page(&groups, |file| results[file].as_ref().map(String::clone).unwrap_or_default());
    let path = touchline_tests::repository().join("docs/inputs.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page)?;
        return Ok(());
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differ = page.lines().zip(committed.lines()).find(|(made, kept)| made != kept);
    ensure!(page == committed, "docs/inputs.md is not what came out ({differ:?}): run `make inputs`");
    Ok(())
}

fn taken<'a>(cases: &[&'a Case], next: &AtomicUsize) -> Option<(usize, &'a Case)> {
    let number = next.fetch_add(1, Relaxed);
    cases.get(number).map(|case| (number, *case))
}
