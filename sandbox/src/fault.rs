//! Faults on purpose, as a library makes them that was given a hostile file: for tests of what contains them.
#![expect(unsafe_code, reason = "the faults are those of C libraries")]

use std::fs::File;
use std::net::TcpStream;
use std::str::FromStr;
use std::time::Duration;

/// Bytes that are asked for by [`Fault::Allocate`].
const MUCH: usize = 8 << 30;
/// Processes that are started by [`Fault::Fork`].
const MANY: usize = 100;

/// What goes wrong. Each ends the process, or never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Segfault,
    Abort,
    /// An endless loop.
    Loop,
    /// An endless wait.
    Hang,
    /// 8 GiB of memory, touched page by page.
    Allocate,
    /// 100 processes.
    Fork,
    /// A file of the system.
    Open,
    /// A port of this machine.
    Connect,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 8] =
        [Self::Segfault, Self::Abort, Self::Loop, Self::Hang, Self::Allocate, Self::Fork, Self::Open, Self::Connect];

    /// Its name in tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Segfault => "segfault",
            Self::Abort => "abort",
            Self::Loop => "loop",
            Self::Hang => "hang",
            Self::Allocate => "allocate",
            Self::Fork => "fork",
            Self::Open => "open",
            Self::Connect => "connect",
        }
    }

    /// Does it.
    ///
    /// # Panics
    /// Where the system refuses it, with what it says; and where it does not, which a test takes for a failure.
    pub fn happen(self) {
        match self {
            // SAFETY: none; the fault is what is asked for.
            Self::Segfault => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
            Self::Abort => std::process::abort(),
            Self::Loop => loop {
                std::hint::black_box(());
            },
            Self::Hang => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            Self::Allocate => _ = std::hint::black_box(vec![1_u8; MUCH]),
            Self::Fork => (0..MANY).for_each(|_| fork()),
            Self::Open => panic!("/etc/passwd: {:?}", File::open("/etc/passwd").map(|_| "opened")),
            Self::Connect => panic!("port 9: {:?}", TcpStream::connect("127.0.0.1:9").map(|_| "connected")),
        }
        panic!("the system let it happen: {self:?}");
    }
}

fn fork() {
    // SAFETY: a child, if there is one, ends at once.
    match unsafe { libc::fork() } {
        // SAFETY: as above.
        0 => unsafe { libc::_exit(0) },
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        _ => {}
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| format!("there is no fault {name}"))
    }
}
