//! A running export: its plan and its counters, shared by its coordinator and the threads that render its segments.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use edits::ExportSpec;
use entities::exports::{self, Export};
use entities::jobs::Job;
use entities::tenants;

use super::failure::ExportFailure;
use crate::context::NodeContext;
use crate::inference::profile::ExportProfile;
use crate::render::{self, ExportKind, Meter, RenderContext, RenderError, StopSignal};
use crate::sources;
use crate::threads;

/// See the [module](self).
pub struct ExportRun {
    pub export: Export,
    pub kind: Arc<dyn ExportKind>,
    pub render: RenderContext,
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
        let export = exports::for_worker(&context.db, job).await?.ok_or_else(|| ExportFailure::other("it is gone"))?;
        let spec: ExportSpec = serde_json::from_value(export.spec.clone()).map_err(ExportFailure::other)?;
        let mut profile: ExportProfile =
            serde_json::from_value(export.profile.clone().unwrap_or_default()).map_err(ExportFailure::other)?;
        let moved = move_profile(context, &mut profile).await.map_err(ExportFailure::other)?;
        let mut sources = Vec::new();
        for from in spec.sources() {
            let from = from.ok_or_else(|| ExportFailure::other("it names no source"))?;
            sources.push(sources::open(context, export.tenant_id, from).await?);
        }
        let mut files: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
        files.dedup();
        check_files(context, files.clone()).await?;
        let found: Vec<String> = sources.iter().flat_map(|source| source.index.warnings.clone()).collect();
        let kind = render::plan(&spec, sources, &profile, context.settings.segments.seconds).map_err(|errors| {
            let details: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
            ExportFailure::other(details.join("; "))
        })?;
        if kind.hopeless().is_none() {
            let preparing = Arc::clone(&kind);
            let prepared = threads::named("prepare".into(), move || preparing.prepare()).await;
            prepared.map_err(RenderError::from).and_then(|prepared| prepared)?;
        }
        let tenant = tenants::get(&context.db, export.tenant_id).await?;
        let weight = tenant.ok_or_else(|| ExportFailure::other("its tenant is gone"))?.weight;
        context.queue.weigh(export.tenant_id, weight);
        let render = RenderContext {
            tenant: export.tenant_id,
            export: export.id,
            profile,
            inference: context.inference(),
            window: context.window,
            meter: Meter::new(),
            stop,
        };
        kind.warnings().into_iter().chain(found).for_each(|warning| render.meter.warn(warning));
        if moved {
            render.meter.warn("profile_changed: no device of the profile it was accepted with is left".into());
        }
        Ok(Arc::new(Self { export, kind, render, files }))
    }

    /// The attempts of the export and of one of its jobs, by which files are named.
    pub fn attempts(&self, job: &Job) -> (i32, i32) {
        (self.export.attempt, job.attempt)
    }

    /// A file that a job of this export may write before it is stored; named by attempts, so that two never share one.
    pub fn work_file(&self, context: &NodeContext, name: &str, attempts: (i32, i32)) -> PathBuf {
        let (extension, (export, job)) = (self.export.kind.0.extension(), attempts);
        context.work_dir.join(format!("{}-{name}-{export}-{job}.{extension}", self.export.id))
    }

    /// What an error is due to: a source or a storage that is gone leads to all sorts of them.
    pub async fn cause(&self, context: &NodeContext, failure: ExportFailure) -> ExportFailure {
        if !failure.is_unexplained() {
            return failure;
        }
        check_files(context, self.files.clone()).await.err().unwrap_or(failure)
    }
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

/// Moves what is unfinished to this node's devices, where none of the accepted profile's class is left. True: moved.
async fn move_profile(context: &NodeContext, profile: &mut ExportProfile) -> Result<bool, String> {
    let mut moved = false;
    for model in [&mut profile.upscale, &mut profile.detect].into_iter().flatten() {
        if model.class != context.profiles.class() {
            let (profiles, name) = (Arc::clone(&context.profiles), model.model.clone());
            let found = threads::blocking("choosing the numeric profile", move || profiles.of(&name)).await;
            *model = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            moved = true;
        }
    }
    Ok(moved)
}
