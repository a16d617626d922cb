//! The owner's side: starts a template, orders processes of it, kills them and learns how they ended.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, pidfd_send_signal};

use crate::channel::Channel;
use crate::descriptors;
use crate::exchange::Exchange;
use crate::exit::{Ended, Exit};
use crate::template::{Confinement, Started};

/// How long an owner waits for a process that does not read what it is sent.
const READS_WITHIN: Duration = Duration::from_secs(60);
/// Most bytes of what a process wrote on standard error that are kept.
const LAST_WORDS: u64 = 2048;

/// A process that forks others, see the [crate]. Dropping it ends it and all of them.
#[derive(Debug)]
pub struct Template {
    control: OwnedFd,
}

impl Template {
    /// Starts `program` as a template: with `arguments`, which make it call [`serve`](crate::serve), followed by the
    /// process id of the caller. Of the environment it gets `variables`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(program: &Path, arguments: &[&str], variables: &[(String, String)]) -> io::Result<Self> {
        let (control, theirs) = descriptors::pair()?;
        let mut command = Command::new(program);
        command.args(arguments).arg(std::process::id().to_string());
        // In a group of its own, so that Ctrl-C in a terminal reaches the owner alone, which ends it in order.
        command.env_clear().envs(variables.iter().cloned()).process_group(0);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit());
        let name = PathBuf::from(program);
        let (started, outcome) = sync_channel(1);
        // The kernel kills a template with the thread that started it, not with its process: so this thread stays.
        thread::Builder::new().name("template".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            // Its end of the socket is the template's alone now, so that its death shows here.
            drop(command);
            let _ = started.send(Ok(()));
            let _ = child.wait();
        })?;
        let outcome = outcome.recv().map_err(io::Error::other)?;
        outcome.map_err(|error| io::Error::new(error.kind(), format!("starting {}: {error}", name.display())))?;
        Ok(Self { control })
    }

    /// Starts a process, confined, with `exchange_bytes` of shared memory. Blocks for the time of a fork.
    ///
    /// # Errors
    /// When the template is gone, or the system has no descriptor or process left.
    pub fn spawn(&self, confinement: &Confinement, exchange_bytes: u64) -> io::Result<Process> {
        let (channel, their_channel) = UnixStream::pair()?;
        let (status, their_status) = descriptors::pair()?;
        let (errors, their_errors) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let exchange = Exchange::new(exchange_bytes)?;
        let given = [their_channel.as_fd(), exchange.fd(), their_errors.as_fd(), their_status.as_fd()];
        descriptors::send(&self.control, confinement, &given)?;
        // Here the child's ends are closed, so that its death closes the last ones.
        drop((their_channel, their_status, their_errors));
        let gone = || io::Error::other("the template of the processes is gone");
        let (started, mut descriptors) = descriptors::receive(&status)?.ok_or_else(gone)?;
        if let Started::Failed(reason) = started {
            return Err(io::Error::other(format!("starting a process: {reason}")));
        }
        let pidfd = descriptors.pop().ok_or_else(gone)?;
        let (killer, channel) = (Killer(Arc::new(pidfd)), Channel::new(channel));
        channel.wait_at_most(READS_WITHIN)?;
        Ok(Process { channel, exchange, killer, status, errors: File::from(errors) })
    }
}

/// What kills a process. Cheap to clone; after the process has ended it does nothing.
#[derive(Debug, Clone)]
pub struct Killer(Arc<OwnedFd>);

impl Killer {
    /// Kills the process, at once.
    pub fn kill(&self) {
        // Refused only where it has ended.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

/// A child of a template, see the [crate]. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    pub channel: Channel,
    pub exchange: Exchange,
    killer: Killer,
    status: OwnedFd,
    errors: File,
}

impl Process {
    /// What kills it.
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Blocks until it has ended.
    pub fn wait(&self) -> Exit {
        let ended = descriptors::receive::<Ended>(&self.status);
        let ended = ended.ok().flatten().map_or(Ended::WithTemplate, |(ended, _)| ended);
        // What was not written by now is not written any more.
        Exit { ended, last_words: self.words() }
    }

    /// Takes what it has written on standard error since the last call, 2 KiB at most. Never blocks.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        // Refused where nothing is there yet.
        let _ = (&self.errors).take(LAST_WORDS).read_to_end(&mut words);
        String::from_utf8_lossy(&words).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.killer.kill();
    }
}
