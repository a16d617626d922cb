//! Footage as it really comes: a list of files, each made with real codecs, and what Touchline is to do with it.
//!
//! In reading order:
//!
//! * [`case`]: one file: how it is made and what is expected.
//! * [`picture`]: the picture that all of them show, and how it is read back.
//! * [`change`]: what happens to a file after it was encoded: cuts, damage, other headers.
//! * [`list`]: the cases.
//! * [`check`]: probes and renders one file through the program and checks every frame and click.
//! * [`kinds`]: the same file through the other kinds of export.
//! * [`table`]: the outcomes as `docs/inputs.md`.
//!
//! ```no_run
//! # fn example() -> anyhow::Result<()> {
//! use touchline_tests::inputs::{Kind, check, list};
//!
//! let folder = tempfile::tempdir()?;
//! let case = list::all().into_iter().find(|case| case.file == "rotated-90.mp4").expect("the list has it");
//! println!("{}", check::outcome(&case, &Kind::ALL, folder.path())?);
//! # Ok(()) }
//! ```

pub mod case;
pub mod change;
pub mod check;
pub mod kinds;
pub mod list;
pub mod picture;
pub mod table;

pub use case::Case;
pub use kinds::Kind;
