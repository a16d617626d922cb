//! How a command ends when it does not end well.

use std::fmt::Display;
use std::io::IsTerminal;

/// An error of a command, by the exit code it stands for.
#[derive(Debug)]
pub enum CliError {
    /// Bad usage or a bad spec: 2.
    Usage(String),
    /// A file that Touchline refuses: 3.
    Refused(String),
    /// Anything else: 1.
    Failed(anyhow::Error),
    /// Ctrl-C or SIGTERM: 130, as shells report it.
    Interrupted,
}

impl CliError {
    /// An error of the last resort, with what was being done.
    pub fn failed(doing: impl Display, error: impl Display) -> Self {
        Self::Failed(anyhow::anyhow!("{doing}: {error}"))
    }

    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Failed(_) => 1,
            Self::Interrupted => 130,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Usage(message) | Self::Refused(message) => message.clone(),
            Self::Failed(error) => whole(error),
            Self::Interrupted => "interrupted; nothing was written".to_owned(),
        }
    }

    /// Writes the error to stderr: as it is for a reader, as exactly one line for a program.
    pub fn print(&self) {
        let message = self.message();
        if std::io::stderr().is_terminal() {
            eprintln!("error: {message}");
        } else {
            eprintln!("error: {}", one_line(&message));
        }
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// The error and its causes, without those that it has in its own words already.
fn whole(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        if said.is_empty() {
            cause
        } else if said.contains(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}

fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_one_line() {
        assert_eq!(one_line("2 mistakes:\n  /a: x\n\n  /b: y\n"), "2 mistakes: /a: x /b: y");
    }

    #[test]
    fn a_cause_is_printed_once() {
        let quoted = anyhow::anyhow!("disk full").context("writing a.mp4: disk full");
        assert_eq!(whole(&quoted), "writing a.mp4: disk full");
        let plain = anyhow::anyhow!("disk full").context("writing a.mp4");
        assert_eq!(whole(&plain), "writing a.mp4: disk full");
    }

    #[test]
    fn each_kind_has_its_exit_code() {
        let codes = [
            CliError::Usage(String::new()),
            CliError::Refused(String::new()),
            CliError::failed("reading", "gone"),
            CliError::Interrupted,
        ];
        assert_eq!(codes.map(|error| error.exit_code()), [2, 3, 1, 130]);
    }
}
