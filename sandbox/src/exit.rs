//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of a child that could not be confined: it did nothing.
pub const NOT_CONFINED: i32 = 120;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// With the template that it came from.
    WithTemplate,
}

impl Ended {
    /// Whether its own work ended it. False: it was not confined and did nothing, or its template ended.
    pub fn is_of_its_own(self) -> bool {
        !matches!(self, Self::WithTemplate | Self::Status(NOT_CONFINED))
    }
}

/// How a process ended, and what it wrote on standard error before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub ended: Ended,
    pub last_words: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => write!(f, "the process ended with status {status}"),
            Self::Signal(signal) => write!(f, "the process was ended by signal {signal} ({})", name_of(signal)),
            Self::WithTemplate => f.write_str("the process was ended together with its template"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ended.fmt(f)?;
        match self.last_words.trim() {
            "" => Ok(()),
            words => write!(f, ": {words}"),
        }
    }
}

/// The name of a signal that ends a process.
fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU: its CPU time is used up",
        libc::SIGXFSZ => "SIGXFSZ: its file is too large",
        _ => "another signal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_reads_as_a_sentence() {
        let exit = Exit { ended: Ended::Signal(11), last_words: String::new() };
        assert_eq!(exit.to_string(), "the process was ended by signal 11 (SIGSEGV)");
        let exit = Exit { ended: Ended::Status(3), last_words: "no room\n".into() };
        assert_eq!(exit.to_string(), "the process ended with status 3: no room");
    }
}
