//! Child processes that end with this process, whatever ends it.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

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
