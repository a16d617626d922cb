//! `make soak`: every scenario at full size, one after the other, and what came of them in `docs/reliability.md`.
//!
//! `soak [SCENARIO…]` runs only those that are named and leaves the others' part of the page as it is. A scenario that
//! fails does not stop the rest; the exit code is 1 when any figure is not as it has to be.

mod machine;
mod page;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use touchline_tests::repository;
use touchline_tests::scenarios::{
    Finding, Running, attack, cancels, crash_points, devices, disk, fairness, fuzz, hostile_files, kills, latency,
    listeners, load, process_kills, scaling, settings, uploads,
};

use page::{Page, Section};

/// One scenario at full size.
struct Scenario {
    /// Its name on the command line and as a heading of the page.
    name: &'static str,
    /// What it does, in a sentence.
    about: &'static str,
    run: fn() -> Running,
}

/// Every scenario, in the order of the page.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kills",
        about: "A real export (two clips, upscaled, with detection of people) whose server is killed at random moments.",
        run: || kills::run(kills::Size::SOAK),
    },
    Scenario {
        name: "process_kills",
        about: "Render and device processes, and now and then their templates, are killed at random moments of exports.",
        run: || process_kills::run(process_kills::Size::SOAK),
    },
    Scenario {
        name: "cancels",
        about: "Exports are cancelled while their processes decode, and while these wait for a device.",
        run: || cancels::run(cancels::Size::SOAK),
    },
    Scenario {
        name: "hostile_files",
        about: "Files that are made to hurt are uploaded, and the server is killed while one is indexed.",
        run: || hostile_files::run(hostile_files::Size::SOAK),
    },
    Scenario {
        name: "crash_points",
        about: "The server crashes at every commit, rename and send in the life of an upload and of an export.",
        run: || crash_points::run(crash_points::Size::SOAK),
    },
    Scenario {
        name: "disk",
        about: "The disk is full at every point that writes, and a real small one fills up during an export.",
        run: || disk::run(disk::Size::SOAK),
    },
    Scenario {
        name: "uploads",
        about: "The server is killed at random bytes of an upload.",
        run: || uploads::run(uploads::Size::SOAK),
    },
    Scenario {
        name: "devices",
        about: "Five of six simulated devices err, hang, exit, grow or return garbage; an operator takes some out and brings them back.",
        run: || devices::run(devices::Size::SOAK),
    },
    Scenario {
        name: "scaling",
        about: "One export on one, four and eight simulated devices, and on four of different speeds.",
        run: || scaling::run(scaling::Size::SOAK),
    },
    Scenario {
        name: "fairness",
        about: "One tenant with many exports beside nine with one each, and three tenants of different weights, on simulated devices.",
        run: || fairness::run(fairness::Size::SOAK),
    },
    Scenario {
        name: "latency",
        about: "Detection in single frames while the queue is full of other work.",
        run: || latency::run(latency::Size::SOAK),
    },
    Scenario {
        name: "load",
        about: "Many tenants keep their queues full on 4 simulated devices while WebSocket clients listen.",
        run: || load::run(load::Size::SOAK),
    },
    Scenario {
        name: "listeners",
        about: "A thousand WebSocket listeners watch one export, from its queue to its end.",
        run: || listeners::run(listeners::Size::SOAK),
    },
    Scenario {
        name: "attack",
        about: "One tenant attacks by lookups, webhooks, uploads, sockets, logins and huge specs while another works.",
        run: || attack::run(attack::Size::SOAK),
    },
    Scenario {
        name: "settings",
        about: "An operator changes limits, weights, the log and models, and rolls back, while requests and exports run.",
        run: || settings::run(settings::Size::SOAK),
    },
    Scenario {
        name: "fuzz",
        about: "Files with random damage are probed and rendered by programs of 4 GiB address space.",
        run: || fuzz::run(fuzz::Size::SOAK),
    },
];

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let known = |name: &String| SCENARIOS.iter().any(|scenario| scenario.name == name);
    let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        eprintln!("soak: there is no scenario {unknown}; there are {}", names.join(", "));
        return Ok(ExitCode::from(2));
    }
    ensure!(touchline_tests::binary()?.is_file(), "the program is missing");

    let path = repository().join("docs/reliability.md");
    let mut page = Page::read(&path)?;
    let mut all_met = true;
    for scenario in SCENARIOS.iter().filter(|one| wanted.is_empty() || wanted.iter().any(|name| name == one.name)) {
        let section = perform(scenario).await;
        all_met &= section.is_met();
        page.put(section);
        // After each, so that what took hours is not lost with what comes after.
        page.write(&path, &names).with_context(|| format!("writing {}", path.display()))?;
    }
    eprintln!(
        "{}; see {}",
        if all_met { "all figures are within their bounds" } else { "NOT ALL FIGURES ARE WITHIN THEIR BOUNDS" },
        path.display()
    );
    Ok(if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a scenario; one that could not be tried is a finding, too.
async fn perform(scenario: &Scenario) -> Section {
    eprintln!("{}: {}", scenario.name, scenario.about);
    let began = Instant::now();
    let findings = (scenario.run)().await.unwrap_or_else(|error| {
        let what = format!("trying `{}`", scenario.name);
        vec![Finding::new(what, "it can be tried to its end", format!("{error:#}"), false)]
    });
    for finding in &findings {
        let mark = if finding.met { "ok" } else { "NOT MET" };
        eprintln!("  {mark}: {}: {} (asked: {})", finding.what, finding.found, finding.asked);
    }
    Section::new(scenario.name, scenario.about, began.elapsed(), findings)
}
