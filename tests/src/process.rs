//! Child processes that end with this process, whatever ends it, and signals to them without the `kill` program, which a
//! minimal Debian does not have.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result};
pub use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A command that runs `program` so that the kernel sends it SIGKILL when the thread that started it ends
/// (`PR_SET_PDEATHSIG` of prctl(2)). `setpriv` of util-linux sets that and becomes the program, under the same process id;
/// the standard library could set it only by unsafe code.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a command of [`command`] from a thread that lives as long as this process: the thread of a test ends with the
/// test, and a server that several tests share must not end with the one that started it.
///
/// # Errors
/// When `setpriv` cannot be started. A program that `setpriv` cannot start is an exit code of the child.
pub fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<(Command, Sender<io::Result<Child>>)>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (commands, received) = channel::<(Command, Sender<io::Result<Child>>)>();
        thread::spawn(move || {
            for (mut command, answer) in received {
                // The caller waits for the answer.
                let _ = answer.send(command.spawn());
            }
        });
        commands
    });
    let (answer, started) = channel();
    let running = "the thread that starts processes ends with this process";
    spawner.send((command, answer)).expect(running);
    started.recv().expect(running)
}

/// Sends a signal to a child that was not waited for yet.
///
/// # Errors
/// When the child has ended and was waited for.
pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    let id = i32::try_from(child.id()).context("a process id fits")?;
    nix::sys::signal::kill(Pid::from_raw(id), signal).with_context(|| format!("sending {signal} to process {id}"))
}

/// Kills a process that is no child of this one, by its id. One that has ended meanwhile is no error.
pub fn kill(id: u32) -> Result<()> {
    let id = Pid::from_raw(i32::try_from(id)?);
    match nix::sys::signal::kill(id, Signal::SIGKILL) {
        Err(nix::errno::Errno::ESRCH) => Ok(()),
        killed => killed.with_context(|| format!("killing process {id}")),
    }
}

/// How many files, sockets and shared memories a process has open.
pub fn descriptors(process: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// The template of a server's render processes; None while it is being started.
pub fn render_template(server: u32) -> Result<Option<u32>> {
    template(server, "render-template")
}

/// The template of a server's device processes; None while it is being started.
pub fn device_template(server: u32) -> Result<Option<u32>> {
    template(server, "device-template")
}

/// The child of a process that was started with `argument`.
fn template(process: u32, argument: &str) -> Result<Option<u32>> {
    let with = |child: &u32| {
        // One that has just died has no command line.
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(argument.as_bytes())
    };
    Ok(children(process)?.into_iter().find(with))
}

/// The children of a process, running or dead and not waited for.
pub fn children(process: u32) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end meanwhile.
        let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?);
    }
    Ok(all)
}
