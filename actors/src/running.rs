//! A live export: its plan and its counters, shared by its actor and the threads that render its segments.

use std::path::PathBuf;
use std::sync::Arc;

use edits::ExportSpec;
use entities::exports::{self, Export};
use entities::jobs::Job;
use entities::tenants;

use crate::node::Shared;
use crate::profile::ExportProfile;
use crate::render::{self, ExportKind, Meter, Run, StopSignal};
use crate::segment_job::on_thread;
use crate::sources;

/// See the [module](self).
pub struct Running {
    pub export: Export,
    pub kind: Arc<dyn ExportKind>,
    pub run: Run,
}

impl Running {
    /// Reads the export a claimed job belongs to, and plans it. Fails with what the user should know.
    pub async fn open(shared: &Shared, job: &Job, stop: Arc<StopSignal>) -> Result<Arc<Self>, String> {
        let doing = |error: &dyn std::fmt::Display| format!("preparing the export: {error}");
        let export = exports::for_worker(&shared.db, job).await.map_err(|error| doing(&error))?;
        let export = export.ok_or_else(|| doing(&"it is gone"))?;
        let spec: ExportSpec = serde_json::from_value(export.spec.clone()).map_err(|error| doing(&error))?;
        let mut profile: ExportProfile =
            serde_json::from_value(export.profile.clone().unwrap_or_default()).map_err(|error| doing(&error))?;
        let moved = move_profile(shared, &mut profile).await.map_err(|error| doing(&error))?;
        let mut sources = Vec::new();
        for from in spec.sources() {
            let from = from.ok_or_else(|| doing(&"it names no source"))?;
            sources.push(sources::open(shared, export.tenant_id, from).await.map_err(|error| doing(&error))?);
        }
        let found: Vec<String> = sources.iter().flat_map(|source| source.index.warnings.clone()).collect();
        let kind = render::plan(&spec, sources, &profile, shared.settings.segments.seconds).map_err(|errors| {
            let told: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
            doing(&told.join("; "))
        })?;
        if kind.hopeless().is_none() {
            let preparing = Arc::clone(&kind);
            let prepared = on_thread("prepare".into(), move || preparing.prepare());
            prepared.await.map_err(|error| doing(&error))?;
        }
        let tenant = tenants::get(&shared.db, export.tenant_id).await.map_err(|error| doing(&error))?;
        let weight = tenant.ok_or_else(|| doing(&"its tenant is gone"))?.weight;
        let run = Run {
            tenant: export.tenant_id,
            weight,
            export: export.id,
            profile,
            queue: Arc::clone(&shared.queue),
            speeds: Arc::clone(&shared.speeds),
            window: shared.window,
            meter: Meter::new(),
            stop,
        };
        kind.warnings().into_iter().for_each(|warning| run.meter.warn(warning));
        for warning in found {
            run.meter.warn(warning);
        }
        if moved {
            run.meter.warn("profile_changed: no device of the profile it was accepted with is left".into());
        }
        Ok(Arc::new(Self { export, kind, run }))
    }

    /// A file that a job of this export may write before it is stored; named by attempt, so that two never share one.
    pub fn work_file(&self, shared: &Shared, name: &str, attempt: i32) -> PathBuf {
        let extension = self.kind.extension();
        shared.work_dir.join(format!("{}-{name}-{attempt}.{extension}", self.export.id))
    }
}

/// Moves what is unfinished to this node's devices, where none of the accepted profile's class is left. True: moved.
async fn move_profile(shared: &Shared, profile: &mut ExportProfile) -> Result<bool, String> {
    let mut moved = false;
    for model in [&mut profile.upscale, &mut profile.detect].into_iter().flatten() {
        if model.class != shared.profiles.class() {
            let (profiles, name) = (Arc::clone(&shared.profiles), model.model.clone());
            let found = tokio::task::spawn_blocking(move || profiles.of(&name)).await;
            *model = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            moved = true;
        }
    }
    Ok(moved)
}
