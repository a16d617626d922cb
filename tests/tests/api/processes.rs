//! Servers and the process that starts them.

use std::path::Path;
use std::process::Stdio;
use std::thread;

use anyhow::Result;
use touchline_tests::process;

#[test]
fn a_child_outlives_the_thread_that_asked_for_it() -> Result<()> {
    let start = || {
        let mut sleep = process::command(Path::new("sleep"));
        sleep.arg("60").stdin(Stdio::null());
        process::spawn(sleep)
    };
    let mut child = thread::spawn(start).join().expect("the thread does not panic")?;
    // The kernel would have sent the signal while the thread ended, before it was joined.
    assert_eq!(child.try_wait()?, None);
    child.kill()?;
    child.wait()?;
    Ok(())
}
