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

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, pidfd_send_signal};

use crate::channel::Channel;
use crate::descriptors;
use crate::exchange::Exchange;
use crate::exit::{Ended, Exit};
use crate::template::{Confinement, Started};

/// How long an owner waits for a process that does not read what it is sent.
const READS_WITHIN: Duration = Duration::from_secs(60);
/// Most bytes of what a process wrote on standard error that are kept, and that are read at a time.
const LAST_WORDS: usize = 2048;
const MOST_WORDS: u64 = 256 << 10;

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
    /// See [`SpawnError`].
    pub fn spawn(&self, confinement: &Confinement, exchange_bytes: u64) -> Result<Process, SpawnError> {
        let (channel, their_channel) = UnixStream::pair()?;
        let (status, their_status) = descriptors::pair()?;
        let (errors, their_errors) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(io::Error::from)?;
        let exchange = Exchange::new(exchange_bytes)?;
        let given = [their_channel.as_fd(), exchange.fd(), their_errors.as_fd(), their_status.as_fd()];
        descriptors::send(&self.control, confinement, &given).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SpawnError::TemplateGone,
            _ => SpawnError::System(error),
        })?;
        // Here the child's ends are closed, so that its death closes the last ones.
        drop((their_channel, their_status, their_errors));
        let (started, mut descriptors) = descriptors::receive(&status)?.ok_or(SpawnError::TemplateGone)?;
        if let Started::Failed(reason) = started {
            return Err(SpawnError::System(io::Error::other(reason)));
        }
        let no_descriptor = || io::Error::other("no descriptor is left for the process");
        let pidfd = descriptors.pop().ok_or_else(no_descriptor)?;
        let (killer, channel) = (Killer(Arc::new(pidfd)), Channel::new(channel));
        channel.wait_at_most(READS_WITHIN)?;
        Ok(Process { channel, exchange, killer, status, errors: File::from(errors) })
    }
}

/// Why a process was not started.
#[derive(Debug)]
pub enum SpawnError {
    /// The template has ended: only another one can start processes.
    TemplateGone,
    /// The system has no descriptor, memory or process left. The template is there.
    System(io::Error),
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::TemplateGone => Self::other("the template of the processes is gone"),
            SpawnError::System(error) => error,
        }
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

    /// Takes what it has written on standard error since the last call: the last 2 KiB of it. Never blocks.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        // It ends where nothing is there yet; the bound is for one that never stops writing.
        let _ = (&self.errors).take(MOST_WORDS).read_to_end(&mut words);
        let from = words.len().saturating_sub(LAST_WORDS);
        String::from_utf8_lossy(&words[from..]).into_owned()
    }

    /// Whether it has ended, or its template has.
    pub fn has_ended(&self) -> bool {
        let mut status = [PollFd::new(&self.status, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Where the system cannot say, who sends it something finds out.
        poll(&mut status, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.killer.kill();
    }
}
