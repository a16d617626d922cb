//! The template of one kind of process: started when the first process is, and anew when it is gone.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sandbox::{Confinement, Process, SpawnError, Template};

/// This program, also when its file was replaced meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// See the [module](self).
pub(super) struct KeptTemplate {
    /// The argument that makes this program such a template.
    argument: &'static str,
    /// Which variables of the environment its processes get: it may hold secrets.
    keeps: fn(&str) -> bool,
    held: Mutex<Option<Arc<Template>>>,
}

impl KeptTemplate {
    pub fn new(argument: &'static str, keeps: fn(&str) -> bool) -> Self {
        Self { argument, keeps, held: Mutex::default() }
    }

    /// Starts a process, with a new template where the old one is gone. Blocks for the time of a fork, or of a start of the
    /// program.
    ///
    /// # Errors
    /// When the program cannot be started again, or the system has no descriptor or process left.
    pub fn spawn(&self, confinement: &Confinement, exchange_bytes: u64) -> io::Result<Process> {
        let template = self.instead_of(None)?;
        match template.spawn(confinement, exchange_bytes) {
            Err(SpawnError::TemplateGone) => {}
            // Another template would end what this one has started, and find no more room.
            spawned => return Ok(spawned?),
        }
        tracing::error!(template = self.argument, "the template of processes is gone; starting another");
        Ok(self.instead_of(Some(&template))?.spawn(confinement, exchange_bytes)?)
    }

    /// The template, or the one after `failed`: another thread may have started it already.
    fn instead_of(&self, failed: Option<&Arc<Template>>) -> io::Result<Arc<Template>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = held.as_ref().filter(|held| failed.is_none_or(|failed| !Arc::ptr_eq(held, failed))) {
            return Ok(Arc::clone(template));
        }
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let variables: Vec<_> = variables.filter(|(name, _)| (self.keeps)(name)).collect();
        let template = Arc::new(Template::start(Path::new(THIS_PROGRAM), &[self.argument], &variables)?);
        *held = Some(Arc::clone(&template));
        Ok(template)
    }
}
