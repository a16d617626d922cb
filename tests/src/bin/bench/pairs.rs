//! Two commands side by side: run in turns, compared by the median of their ratios.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a run of a command took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub wall: f64,
    /// User and system time of the command and what it started, in seconds.
    pub cpu: f64,
}

/// Runs a shell script with `arguments` as `$1`, `$2`, … and measures it.
pub fn run(script: &str, arguments: &[String]) -> Result<Took> {
    let timed = format!("TIMEFORMAT='%R %U %S'\nset -e\ntime {{\n{script}\n}}");
    let output = Command::new("bash").arg("-c").arg(timed).arg("bash").args(arguments).output();
    let output = output.context("running bash")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}: {stderr}");
    let last = stderr.lines().last().context("bash printed no times")?;
    let numbers: Vec<f64> = last.split(' ').map(str::parse).collect::<Result<_, _>>().context("reading times")?;
    let [wall, user, system] = numbers[..] else { anyhow::bail!("{last} are no times") };
    Ok(Took { wall, cpu: user + system })
}

/// Medians over `pairs` runs of ours in proportion to theirs: wall time and CPU time.
pub fn compare(
    pairs: usize,
    mut ours: impl FnMut() -> Result<Took>,
    mut theirs: impl FnMut() -> Result<Took>,
) -> Result<Took> {
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        // The second may find a warmer machine, so they take turns.
        let (mine, other) = if pair % 2 == 0 {
            let mine = ours()?;
            (mine, theirs()?)
        } else {
            let other = theirs()?;
            (ours()?, other)
        };
        eprintln!("  {:.2} s wall, {:.2} s CPU against {:.2} and {:.2}", mine.wall, mine.cpu, other.wall, other.cpu);
        walls.push(mine.wall / other.wall);
        cpus.push(mine.cpu / other.cpu);
    }
    Ok(Took { wall: median(walls), cpu: median(cpus) })
}

/// The value in the middle, or between the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
