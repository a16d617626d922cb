//! What a process may open: Landlock, where the kernel has it.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use serde::{Deserialize, Serialize};

/// The newest rules that are asked for; an older kernel applies those that it knows.
const NEWEST: ABI = ABI::V6;

/// The files of a task. Everything else is refused: files, TCP, signals to others, abstract sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Files that may be read. One that does not exist is left out.
    pub read: Vec<PathBuf>,
    /// A folder whose files may be read, at any depth.
    pub read_below: Option<PathBuf>,
    /// A folder in which files may be made, written, read and removed.
    pub work: Option<PathBuf>,
}

impl Access {
    /// Restricts the calling thread and what it starts, for good. False: this kernel has no Landlock.
    pub(crate) fn restrict(&self) -> Result<bool, landlock::RulesetError> {
        let all = AccessFs::from_all(NEWEST);
        let created = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        // A folder in a file's place can be opened, which its reader finds out; the files in it cannot.
        let read = |path: &PathBuf| -> BitFlags<AccessFs> {
            if path.is_dir() { AccessFs::ReadDir.into() } else { AccessFs::ReadFile.into() }
        };
        let work = AccessFs::ReadFile
            | AccessFs::ReadDir
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::RemoveFile;
        let files = self.read.iter().filter_map(|path| Some(PathBeneath::new(PathFd::new(path).ok()?, read(path))));
        let below = AccessFs::ReadFile | AccessFs::ReadDir;
        let below = self.read_below.iter().filter_map(|path| Some(PathBeneath::new(PathFd::new(path).ok()?, below)));
        let folder = self.work.iter().filter_map(|path| Some(PathBeneath::new(PathFd::new(path).ok()?, work)));
        let status = created
            .add_rules(files.chain(below).chain(folder).map(Ok::<_, landlock::RulesetError>))?
            .restrict_self()?;
        Ok(status.ruleset != RulesetStatus::NotEnforced)
    }
}
