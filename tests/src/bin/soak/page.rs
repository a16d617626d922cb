//! `docs/reliability.md`: a head, and a section a scenario, each of which stays until the scenario runs again.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;
use touchline_tests::scenarios::Finding;

use crate::machine;

const HEAD: &str = "\
# Reliability

`make soak` injects failures: killed processes, full disks, hanging devices, tenants with excessive load, many clients,
damaged files. It drives the built program through its public surface, on private servers with data folders
of their own, writes this page, and exits with code 1 when a figure misses its bound. `make test` runs the
same scenarios (`tests/src/scenarios`) at a small size.

    make soak                       # all of it; takes hours
    make soak ONLY=\"fuzz\"           # some of it: the other sections stay as they are

After all scenarios `make soak` runs an hour of coverage-guided fuzzing (`make fuzz`); its findings are printed, not written
here. The scenario `fuzz` below is random damage without guidance.

A `sim` device waits a fixed time per frame without using the processor, so scheduling is measured, not computation.
";

/// The page: sections as they stand in the file, by name.
pub struct Page(Vec<Section>);

/// One scenario's part of the page.
pub struct Section {
    name: String,
    text: String,
    met: bool,
}

impl Section {
    /// A section of `findings`, measured now on this machine.
    pub fn new(name: &str, about: &str, took: Duration, findings: Vec<Finding>) -> Self {
        let (machine, today) = (machine::describe(), Utc::now().format("%Y-%m-%d"));
        let minutes = took.as_secs_f64() / 60.0;
        let mut text = format!("{about}\nMeasured {today} in {minutes:.1} minutes on {machine}.\n\n");
        text.push_str("| what | asked | found | met |\n| --- | --- | --- | --- |\n");
        for Finding { what, asked, found, met } in &findings {
            let cells = [what, asked, found].map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            let met = if *met { "yes" } else { "**no**" };
            text.push_str(&format!("| {} | {met} |\n", cells.join(" | ")));
        }
        let met = !findings.is_empty() && findings.iter().all(|finding| finding.met);
        Self { name: name.to_owned(), text, met }
    }

    /// Whether every figure is within its bound.
    pub fn is_met(&self) -> bool {
        self.met
    }
}

impl Page {
    /// The sections of the page as it is; none where there is no page.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self(text.split("\n## ").skip(1).filter_map(kept).collect())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self(Vec::new())),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Puts a section in the place of the older one of its name.
    pub fn put(&mut self, section: Section) {
        self.0.retain(|kept| kept.name != section.name);
        self.0.push(section);
    }

    /// Writes the sections in the order of `names`; one of no name goes.
    pub fn write(&self, path: &Path, names: &[&str]) -> Result<()> {
        let mut text = HEAD.to_owned();
        for section in names.iter().filter_map(|name| self.0.iter().find(|section| section.name == *name)) {
            text.push_str(&format!("\n## {}\n\n{}", section.name, section.text));
        }
        Ok(fs::write(path, text)?)
    }
}

/// A section as it stands in the file, after its `## `.
fn kept(text: &str) -> Option<Section> {
    let (name, text) = text.split_once("\n\n")?;
    Some(Section { name: name.to_owned(), text: format!("{}\n", text.trim_end()), met: !text.contains("**no**") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_run_again_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let names = ["kills", "disk", "load"];
        let section = |name: &str, found: &str, met: bool| {
            let finding = Finding::new("a | b", "1 s", found, met);
            Section::new(name, "About it.", Duration::from_secs(90), vec![finding])
        };
        let mut page = Page::read(&path).unwrap();
        page.put(section("load", "once\nmore", true));
        page.put(section("kills", "first", false));
        page.write(&path, &names).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        assert!(first.contains("| a \\| b | 1 s | once more | yes |\n"), "{first}");
        assert!(first.find("## kills") < first.find("## load"), "{first}");

        let mut page = Page::read(&path).unwrap();
        page.put(section("kills", "second", true));
        page.write(&path, &names).unwrap();
        let second = fs::read_to_string(&path).unwrap();
        assert_eq!(second, first.replace("| first | **no** |", "| second | yes |"));
    }
}
