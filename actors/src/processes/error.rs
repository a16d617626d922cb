//! Why a task of a render process gave no answer.

use media::MediaError;
use sandbox::Exit;

use crate::render::RenderError;
use crate::threads::ThreadError;

/// See the [module](self).
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// What the task itself found.
    #[error(transparent)]
    Media(MediaError),
    /// What a task found that is no fault of a file: a device, or this machine.
    #[error(transparent)]
    Render(RenderError),
    /// It crashed, or a limit ended it.
    #[error("{doing}: {exit}")]
    Crashed { doing: &'static str, exit: Exit },
    /// It was killed because it did not advance, or not end in time.
    #[error("{doing}: stopped after {seconds:.0} s {missing}")]
    Late { doing: &'static str, seconds: f64, missing: &'static str },
    /// No process could be started.
    #[error("{doing}: {source}")]
    NotStarted { doing: &'static str, source: std::io::Error },
    /// It answered something else than was asked.
    #[error("{doing}: the render process gave a wrong answer")]
    WrongAnswer { doing: &'static str },
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

impl ProcessError {
    /// What this says about the file that was read: None when the fault is this machine's, and another try may succeed.
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Media(MediaError::Refused { code, detail }) => Some((code, detail.clone())),
            Self::Media(error @ MediaError::Codec { .. }) => Some(("undecodable", error.to_string())),
            Self::Crashed { exit, .. } if !exit.ended.is_of_its_own() => None,
            Self::Crashed { .. } | Self::Late { .. } | Self::WrongAnswer { .. } => {
                Some(("unreadable", format!("the file cannot be read: {self}")))
            }
            Self::Media(_) | Self::Render(_) | Self::NotStarted { .. } | Self::Thread(_) => None,
        }
    }

    /// Whether the process was lost by no fault of its task: another try is none of its failures.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Crashed { exit, .. } if !exit.ended.is_of_its_own())
    }
}

impl From<RenderError> for ProcessError {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Media(error) => Self::Media(error),
            error => Self::Render(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use sandbox::Ended;

    use super::*;

    #[test]
    fn a_crash_speaks_against_the_file_and_a_lost_template_does_not() {
        let crash =
            |ended| ProcessError::Crashed { doing: "indexing", exit: Exit { ended, last_words: String::new() } };
        let (code, detail) = crash(Ended::Signal(11)).refusal().unwrap();
        assert_eq!(code, "unreadable");
        assert!(detail.contains("indexing: the process was ended by signal 11 (SIGSEGV)"), "{detail}");
        assert!(crash(Ended::WithTemplate).refusal().is_none());
        assert!(crash(Ended::Status(sandbox::NOT_CONFINED)).refusal().is_none(), "it opened no file");
        let io = MediaError::Io { doing: "opening".into(), path: "x".into(), source: std::io::Error::other("gone") };
        assert!(ProcessError::Media(io).refusal().is_none());
    }
}
