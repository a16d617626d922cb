//! Requests for exports: the body is read and checked against its sources, so that all of its mistakes are reported at
//! once; the numeric profile is fixed; the export's row and its first job are written in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use edits::spec::limits;
use edits::{ExportSpec, FieldError, SourceRef, SourceRule};
use entities::exports::{self, Estimated, Export, NewExport};
use entities::idempotency::{self, Known, RequestKey};
use entities::jobs::{self, JobKind, NewJob};
use entities::{ExportId, ReelId, TenantId, UserId, VideoId, tenants};

use super::admission;
use super::error::RequestError;
use super::estimate::{Estimate, estimate};
use super::models;
use super::references::{self, Resolved};
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::inference::profile::{DeviceClass, ExportProfile};
use crate::render::{self, Source};
use crate::sources::{self, SourceError};

/// A request to render something.
#[derive(Debug, Clone)]
pub struct NewRequest {
    pub tenant: TenantId,
    pub by: Option<UserId>,
    /// The spec as it came.
    pub body: serde_json::Value,
    /// The video that stands for every source, where the spec names none (command line).
    pub input: Option<VideoId>,
    /// Under which a repeated request finds this one's export.
    pub key: Option<RequestKey>,
}

/// A request that is right.
pub struct ValidRequest {
    pub spec: ExportSpec,
    /// The reel whose edits were copied in, and its version.
    pub reel: Option<(ReelId, i64)>,
    pub profile: ExportProfile,
    pub kind: Arc<dyn render::Render>,
}

/// Checks `request` and plans it. Nothing is stored.
pub async fn validate(context: &NodeContext, request: NewRequest) -> Result<ValidRequest, RequestError> {
    if limits::is_too_long(&request.body) {
        return Err(RequestError::TooLarge);
    }
    let rule = if request.input.is_some() { SourceRule::Implied } else { SourceRule::Named };
    let resolved = match rule {
        SourceRule::Named => references::resolve(&context.db, request.tenant, request.body).await?,
        SourceRule::Implied => Resolved::as_it_is(request.body),
    };
    // Of a reel that is not there nothing can be read.
    if resolved.errors.iter().any(|error| error.pointer == "/reel_id") {
        return Err(RequestError::Invalid(resolved.errors));
    }
    if rule == SourceRule::Named && limits::is_too_long(&resolved.body) {
        return Err(RequestError::Invalid(vec![references::too_long()]));
    }
    let parsed = edits::spec::parse(&resolved.body, rule);
    let Some(mut spec) = parsed.spec else {
        return Err(RequestError::Invalid(parsed.errors));
    };
    if let Some(input) = request.input {
        spec.set_source(&input.to_string());
    }
    let mut errors = FieldError::merge(resolved.errors.clone(), parsed.errors);
    let sources = sources_of(context, request.tenant, &spec, &mut errors).await?;
    let facts: Vec<_> = sources.iter().map(|source| source.as_ref().map(|source| source.facts.clone())).collect();
    errors = FieldError::merge(errors, spec.check(&facts));
    models::check(context, &spec, &mut errors);
    errors = resolved.without_made_up(errors);
    if !errors.is_empty() {
        return Err(RequestError::Invalid(errors));
    }
    let profile = models::fix_profile(context, request.tenant, &spec).await?;
    let known = sources.into_iter().flatten().collect();
    let kind =
        render::plan(&spec, known, &profile, context.settings.segments.seconds).map_err(RequestError::Invalid)?;
    Ok(ValidRequest { spec, reel: resolved.reel, profile, kind })
}

/// Checks `request` and writes the export, in state `queued`, with its `coordinate` job. A request that was made before
/// under the same key gets the export that it began.
pub async fn accept(context: &NodeContext, request: NewRequest) -> Result<Export, RequestError> {
    let (tenant, by, key) = (request.tenant, request.by, request.key.clone());
    if let Some(key) = &key {
        // First of all: what was right when it was asked may not be any more, and yet has its answer.
        let known = idempotency::find(&context.db, tenant, key).await?;
        if let Some(first) = first_answer(context, tenant, known).await? {
            return Ok(first);
        }
    }
    let valid = validate(context, request).await?;
    let Estimate { device_seconds, wall_seconds, cost, .. } = estimate(context, valid.kind.as_ref(), &valid.profile);
    let ValidRequest { spec, reel, profile, kind } = valid;
    let videos: BTreeSet<VideoId> = spec.sources().into_iter().flatten().filter_map(video_of).collect();
    let broken = |error: serde_json::Error| RequestError::Broken(error.to_string());
    let simulated = context.profiles.class() == DeviceClass::Sim && profile.uses_models();
    let row = NewExport {
        id: ExportId::new(),
        tenant_id: tenant,
        kind: spec.kind(),
        spec: serde_json::to_value(&spec).map_err(broken)?,
        profile: Some(serde_json::to_value(&profile).map_err(broken)?),
        frames_total: kind.frames() as i64,
        simulated,
        estimate: Some(Estimated { device_seconds, wall_seconds, cost }),
        created_by: by,
        reel,
        sources: videos.into_iter().collect(),
    };
    let tx = context.db.begin().await?;
    // Locked, so that of two requests at the same instant the second sees what the first has begun.
    tenants::lock(&tx, tenant).await?;
    if let Some(key) = &key {
        let known = idempotency::find_locked(&tx, tenant, key).await?;
        if known != Known::New {
            tx.rollback().await?;
            return first_answer(context, tenant, known).await?.ok_or_else(gone);
        }
    }
    admission::check_room(&tx, context, tenant).await?;
    let export = exports::insert(&tx, row).await.map_err(|error| match error {
        entities::Error::Gone { .. } => {
            RequestError::Invalid(vec![FieldError::new("", "unknown_video", error.to_string())])
        }
        error => error.into(),
    })?;
    let job = NewJob { export: export.id, tenant: export.tenant_id, kind: JobKind::Coordinate, index: 0, cost: 0.0 };
    jobs::enqueue(&tx, &job).await?;
    if let Some(key) = key {
        idempotency::keep(&tx, tenant, key, export.id).await?;
    }
    failpoints::at(Point::ExportAccepting)?;
    tx.commit().await?;
    failpoints::passed(Point::ExportAccepted);
    Ok(export)
}

/// The export that the same request began; None when it is the first.
async fn first_answer(context: &NodeContext, tenant: TenantId, known: Known) -> Result<Option<Export>, RequestError> {
    match known {
        Known::New => Ok(None),
        Known::Other => Err(RequestError::KeyReused),
        // A key goes with its export: None is a deletion at this very moment.
        Known::Same(id) => exports::get(&context.db, tenant, id).await?.map(Some).ok_or_else(gone),
    }
}

fn gone() -> RequestError {
    RequestError::Broken("the export that the key stands for is being deleted".into())
}

/// Each source the spec names, None where the tenant has no such thing or it is not ready yet.
async fn sources_of(
    context: &NodeContext,
    tenant: TenantId,
    spec: &ExportSpec,
    errors: &mut Vec<FieldError>,
) -> Result<Vec<Option<Source>>, RequestError> {
    let mut found: Vec<(SourceRef<'_>, Found)> = Vec::new();
    let mut all = Vec::new();
    for (number, named) in spec.sources().into_iter().enumerate() {
        // The parser has reported a source that is missing or whose id is no UUID.
        let Some(named) = named.filter(|named| is_uuid(*named)) else {
            all.push(None);
            continue;
        };
        let known = match found.iter().position(|(other, _)| *other == named) {
            Some(known) => known,
            None => {
                found.push((named, find(context, tenant, named).await?));
                found.len() - 1
            }
        };
        let source = found[known].1.as_ref();
        if let Err((code, detail)) = source {
            errors.push(FieldError::new(spec.source_pointer(number), code, detail.clone()));
        }
        all.push(source.ok().cloned());
    }
    Ok(all)
}

/// A source, or the code and the detail of why it cannot be one.
type Found = Result<Source, (&'static str, String)>;

async fn find(context: &NodeContext, tenant: TenantId, named: SourceRef<'_>) -> Result<Found, RequestError> {
    match sources::open(context, tenant, named).await {
        Ok(source) => Ok(Ok(source)),
        Err(SourceError::Unusable(code, detail)) => Ok(Err((code, detail))),
        Err(error) => Err(error.into()),
    }
}

fn is_uuid(source: SourceRef<'_>) -> bool {
    let (SourceRef::Video(id) | SourceRef::Export(id)) = source;
    id.parse::<ExportId>().is_ok()
}

/// The video a source is, which must stay as long as the export runs.
fn video_of(source: SourceRef<'_>) -> Option<VideoId> {
    match source {
        SourceRef::Video(id) => id.parse().ok(),
        SourceRef::Export(_) => None,
    }
}
