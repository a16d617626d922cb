//! A running export: its plan and its counters, shared by its coordinator and the jobs that render its segments.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use edits::ExportSpec;
use entities::exports::{self, Export, ExportState};
use entities::jobs::Job;
use entities::tenants;
use tempfile::TempDir;

use super::error::JobError;
use super::failure::ExportFailure;
use super::work;
use crate::context::NodeContext;
use crate::inference::profile::ExportProfile;
use crate::processes::rendering::Rendering;
use crate::processes::stop::{StopReason, StopSignal};
use crate::processes::task::{Output, Work};
use crate::render::{self, Meter, Render};
use crate::threads;

/// See the [module](self).
pub struct ExportRun {
    pub export: Export,
    pub kind: Arc<dyn Render>,
    pub render: Arc<Rendering>,
    /// What render processes are told of it.
    pub work: Arc<Work>,
    /// Of its sources.
    files: Vec<PathBuf>,
}

impl ExportRun {
    /// Reads the export a claimed job belongs to, and plans it. Fails with what the user should know.
    pub async fn open(context: &NodeContext, job: &Job, stop: Arc<StopSignal>) -> Result<Arc<Self>, ExportFailure> {
        let opened = Self::planned(context, job, stop).await;
        opened.map_err(|failure| failure.while_doing("preparing the export"))
    }

    async fn planned(context: &NodeContext, job: &Job, stop: Arc<StopSignal>) -> Result<Arc<Self>, ExportFailure> {
        let gone = || ExportFailure::other("it is gone");
        let export = exports::for_worker(&context.db, job).await?.ok_or_else(gone)?;
        let spec = exports::spec(&context.db, export.tenant_id, export.id).await?.ok_or_else(gone)?;
        let spec: ExportSpec = serde_json::from_value(spec).map_err(ExportFailure::other)?;
        let mut profile: ExportProfile =
            serde_json::from_value(export.profile.clone().unwrap_or_default()).map_err(ExportFailure::other)?;
        let moved = move_profile(context, &mut profile).await.map_err(ExportFailure::other)?;
        let (files, of) = work::open_sources(context, export.tenant_id, &spec).await?;
        let paths: Vec<PathBuf> = files.iter().map(|source| source.path.clone()).collect();
        check_files(context, paths.clone()).await?;
        let found: Vec<String> = files.iter().flat_map(|source| source.index.warnings.clone()).collect();
        let sources = of.iter().map(|number| files[*number].clone()).collect();
        let segment_seconds = context.settings.segments.seconds;
        let kind = render::plan(&spec, sources, &profile, segment_seconds)
            .map_err(|errors| ExportFailure::other(render::sentence(&errors)))?;
        let tenant = tenants::get(&context.db, export.tenant_id).await?;
        let weight = tenant.ok_or_else(|| ExportFailure::other("its tenant is gone"))?.weight;
        context.queue.weigh(export.tenant_id, weight);
        let mut work = Arc::new(work::describe(context, &spec, &profile, (files, of), kind.as_ref())?);
        let meter = Meter::new();
        kind.warnings().into_iter().chain(found).for_each(|warning| meter.warn(warning));
        if moved {
            meter.warn("profile_changed: no device gives the results of the profile it was accepted with".into());
        }
        let (tenant, inference, meter) = (export.tenant_id, context.inference(), Arc::new(meter));
        let render = Arc::new(Rendering { tenant, export: export.id, profile, inference, meter, stop });
        if kind.hopeless().is_none() && kind.needs_preparation() {
            let prepared = context.processes.prepare(&render, Arc::clone(&work)).await.map_err(JobError::from)?;
            if !prepared.is_plausible(kind.frames()) {
                return Err(ExportFailure::other("what was prepared of its sources is too large"));
            }
            kind.adopt(&prepared).map_err(|error| JobError::Process(error.into()))?;
            // The process has ended, so this is the only one left, and nothing is copied.
            work = Arc::new(Work { prepared, ..Arc::unwrap_or_clone(work) });
        }
        Ok(Arc::new(Self { export, kind, render, work, files: paths }))
    }

    /// The attempts of the export and of one of its jobs, by which files are named.
    pub fn attempts(&self, job: &Job) -> (i32, i32) {
        (self.export.attempt, job.attempt)
    }

    /// A folder for what a job of this export writes before it is stored, and the file in it. It is removed when it is
    /// dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work_folder(&self, context: &NodeContext, name: &str) -> Result<WorkFolder, JobError> {
        let prefix = format!("{}-{name}-", self.export.id);
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(&context.work_dir);
        let folder = made.map_err(|source| JobError::Io { doing: "making a work folder".into(), source })?;
        let file = folder.path().join(format!("{name}.{}", self.export.kind.0.extension()));
        Ok(WorkFolder { folder, file })
    }

    /// Raises the stop signal when this attempt of the export is over, as the row of a lost lease's export tells:
    /// another node may have cancelled, failed or retried it. A lease that another node has taken over while the
    /// attempt goes on stops nothing: the signal is that of all jobs of the export, and those that are still held are
    /// good.
    ///
    /// # Errors
    /// Of the database.
    pub async fn stop_if_over(&self, context: &NodeContext, job: &Job) -> Result<(), entities::Error> {
        let row = exports::for_worker(&context.db, job).await?;
        if is_over(row.map(|row| (row.attempt, row.state)), self.export.attempt) {
            self.render.stop.raise(StopReason::Cancelled);
        }
        Ok(())
    }

    /// What an error is due to: a source or a storage that is gone leads to all sorts of them.
    pub async fn cause(&self, context: &NodeContext, failure: ExportFailure) -> ExportFailure {
        if !failure.is_unexplained() {
            return failure;
        }
        check_files(context, self.files.clone()).await.err().unwrap_or(failure)
    }
}

/// A folder of one job, which nothing but the job's process writes to.
pub struct WorkFolder {
    folder: TempDir,
    /// What the job makes.
    pub file: PathBuf,
}

impl WorkFolder {
    /// Where the job's process writes.
    pub fn output(&self) -> Output {
        Output { folder: self.folder.path().to_owned(), file: self.file.clone() }
    }
}

/// Whether `attempt` of an export whose row has `now` as attempt and state is over; None: the row is gone.
fn is_over(now: Option<(i32, ExportState)>, attempt: i32) -> bool {
    now.is_none_or(|(current, state)| current != attempt || state.is_terminal())
}

/// Whether the storage is there, and every source in it can be read.
async fn check_files(context: &NodeContext, files: Vec<PathBuf>) -> Result<(), ExportFailure> {
    let store = Arc::clone(&context.storage);
    let check = move || {
        store.check()?;
        files.iter().try_for_each(|file| {
            let first = File::open(file).and_then(|mut file| file.read_exact(&mut [0]));
            first.map_err(|error| {
                ExportFailure::source(format!("the source {} cannot be read: {error}", file.display()))
            })
        })
    };
    threads::blocking("checking the sources", check).await.map_err(ExportFailure::other)?
}

/// Moves what is unfinished to this node's devices, where they do not give the results of the accepted profile any
/// more: other devices, another number of threads, another ONNX Runtime or model file. True: moved.
async fn move_profile(context: &NodeContext, profile: &mut ExportProfile) -> Result<bool, String> {
    let mut moved = false;
    for model in [&mut profile.upscale, &mut profile.detect].into_iter().flatten() {
        if !context.profiles.offers(model) {
            *model = context.profiles.of(&model.model).await.map_err(|error| error.to_string())?;
            moved = true;
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_over_when_it_has_ended_or_another_has_begun() {
        assert!(!is_over(Some((1, ExportState::Rendering)), 1), "another node has taken the job over");
        assert!(!is_over(Some((1, ExportState::Publishing)), 1));
        for ended in [ExportState::Cancelled, ExportState::Failed, ExportState::Complete] {
            assert!(is_over(Some((1, ended)), 1), "{ended}");
        }
        assert!(is_over(Some((2, ExportState::Queued)), 1), "retried");
        assert!(is_over(None, 1), "deleted");
    }
}
