//! The template's side: forks a child for each order, and reports how it ended.
#![expect(unsafe_code, reason = "fork and closing what was inherited have no safe interface")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, pidfd_open, set_parent_process_death_signal,
    waitid,
};
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::channel::Channel;
use crate::descriptors;
use crate::exchange::Exchange;
use crate::exit::{Ended, NOT_CONFINED};
use crate::limits::Limits;
use crate::syscalls;

/// The status of a child whose work panicked.
const PANICKED: i32 = 101;

/// How much a child gives way: its owner answers and kills while children use every core. Without it 1 of 100 kills took
/// 190 ms on a busy machine, with it 28 ms.
const NICE: i32 = 5;

/// What a process may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// What it may open and call. None: what its owner may, for drivers that open what they like.
    pub access: Option<Access>,
    pub limits: Limits,
}

/// What a child has of its owner.
pub struct Task {
    pub channel: Channel,
    pub exchange: Exchange,
    /// Whether Landlock confines its files; without, only the limits and, where access was restricted at all, the filter
    /// of system calls hold.
    pub files_confined: bool,
}

/// Whether a child was started; with it comes a descriptor to kill it by.
#[derive(Serialize, Deserialize)]
pub enum Started {
    Yes,
    Failed(String),
}

/// A child that runs.
struct Running {
    pidfd: OwnedFd,
    /// Where its owner waits for its end.
    status: OwnedFd,
}

/// Runs as a template until the owner is gone: each order that comes on standard input is a child, which does `work` and
/// ends. To be called before the program has a second thread.
pub fn serve(owner: u32, work: fn(Task)) -> ExitCode {
    match run(owner, work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("template: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(owner: u32, work: fn(Task)) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get().cast_unsigned() != owner) {
        return Err(io::Error::other("the process that started this one is gone"));
    }
    // A service manager sends it to every process of the service, while the owner still has work for them and ends them
    // itself. SAFETY: ignoring a signal runs no code when it comes.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    let mut running: Vec<Running> = Vec::new();
    loop {
        let mut watched = vec![PollFd::new(&control, PollFlags::IN)];
        watched.extend(running.iter().map(|child| PollFd::new(&child.pidfd, PollFlags::IN)));
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled?,
        };
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ended = ready[1..].iter();
        running.retain(|child| !ended.next().copied().unwrap_or(false) || !report(child));
        if ready[0] {
            let Some((order, descriptors)) = descriptors::receive::<Confinement>(&control)? else { return Ok(()) };
            running.extend(start(&order, descriptors, work)?);
        }
    }
}

/// Sends the owner how `child` ended. False: it has not.
fn report(child: &Running) -> bool {
    let status = match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(Some(status)) => status,
        _ => return false,
    };
    let signal = status.terminating_signal().map(Ended::Signal);
    let ended = signal.unwrap_or_else(|| Ended::Status(status.exit_status().unwrap_or(-1)));
    // An owner that does not wait for it has dropped its end.
    let _ = descriptors::send(&child.status, &ended, &[]);
    true
}

/// Forks a child; None when the system has no room for one, which its owner is told.
fn start(order: &Confinement, descriptors: Vec<OwnedFd>, work: fn(Task)) -> io::Result<Option<Running>> {
    let [channel, exchange, errors, status] = <[OwnedFd; 4]>::try_from(descriptors)
        .map_err(|_| io::Error::other("an order brought another number of descriptors"))?;
    let template = getpid();
    // SAFETY: this process has one thread, so the child finds every lock of the allocator and of the libraries free.
    match unsafe { libc::fork() } {
        -1 => {
            let error = io::Error::last_os_error();
            let _ = descriptors::send(&status, &Started::Failed(error.to_string()), &[]);
            Ok(None)
        }
        0 => child(order, template, (channel, exchange, errors), work),
        pid => {
            // The child is not reaped yet, so the number is still its.
            let pidfd = pidfd_open(Pid::from_raw(pid).expect("a child's number is positive"), PidfdFlags::empty())?;
            // An owner that is gone takes this process along.
            let _ = descriptors::send(&status, &Started::Yes, &[pidfd.as_fd()]);
            Ok(Some(Running { pidfd, status }))
        }
    }
}

/// The child's life. It never returns, so nothing of the template's is dropped here.
fn child(
    order: &Confinement,
    template: Pid,
    (channel, exchange, errors): (OwnedFd, OwnedFd, OwnedFd),
    work: fn(Task),
) -> ! {
    let status = panic::catch_unwind(AssertUnwindSafe(|| {
        let confined = confine(order, template, [&channel, &exchange], errors.as_fd());
        match confined {
            Ok(files_confined) => {
                let channel = Channel::new(UnixStream::from(channel));
                work(Task { channel, exchange: Exchange::from_fd(exchange), files_confined });
                0
            }
            Err(error) => {
                eprintln!("the process could not be confined: {error}");
                NOT_CONFINED
            }
        }
    }));
    // SAFETY: it ends the process; the exit handlers that it passes over are the template's.
    unsafe { libc::_exit(status.unwrap_or(PANICKED)) }
}

fn confine(order: &Confinement, template: Pid, keep: [&OwnedFd; 2], errors: BorrowedFd) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(template) {
        return Err(io::Error::other("the template is gone"));
    }
    rustix::stdio::dup2_stderr(errors)?;
    close_all_but(keep.map(AsRawFd::as_raw_fd))?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    order.limits.apply()?;
    rustix::process::nice(NICE)?;
    let Some(access) = &order.access else { return Ok(false) };
    rustix::thread::set_no_new_privs(true)?;
    let files_confined = access.restrict().map_err(io::Error::other)?;
    syscalls::restrict()?;
    Ok(files_confined)
}

/// Closes every descriptor but the three standard ones and `keep`.
fn close_all_but(mut keep: [RawFd; 2]) -> io::Result<()> {
    keep.sort_unstable();
    let mut from = 3;
    for fd in keep.into_iter().map(i32::cast_unsigned).chain([u32::MAX]) {
        if fd > from {
            let last = if fd == u32::MAX { u32::MAX } else { fd - 1 };
            // SAFETY: the owners of these descriptors are never dropped in this process, and use none of them again.
            if unsafe { libc::close_range(from, last, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        from = fd.saturating_add(1);
    }
    Ok(())
}
