//! What the jobs of an export have in common: their lease, how they end, and how their failures are recorded.

use std::time::{Duration, Instant};

use entities::exports::Export;
use entities::jobs::{self, Failure, Job};
use tracing::{Span, info_span};

use super::error::JobError;
use super::failure::ExportFailure;
use crate::context::NodeContext;
use crate::failpoints::{self, Point};

/// How long a claim holds without being renewed. Renewed at a third of it while the work advances.
pub const LEASE: Duration = Duration::from_secs(30);

/// Pause between tries to record a failure on a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// How a segment or audio job ended for this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// Its file is stored and its row committed.
    Committed,
    /// Another claim had committed it first, or its export has ended.
    NotNeeded,
    /// It failed and will be tried again.
    Retried,
    /// It failed too often.
    Dead,
    /// The work was stopped and the lease released.
    Released,
}

impl JobOutcome {
    /// The value of the label `end` in `touchline_jobs_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::NotNeeded => "not_needed",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Released => "released",
        }
    }

    /// The outcome of a job whose failure was recorded, or could not be: then the lease runs out, which leads to
    /// another try.
    pub fn of_failure(recorded: &Result<Failure, entities::Error>) -> Self {
        match recorded {
            Ok(Failure::Retry { .. }) | Err(_) => Self::Retried,
            Ok(Failure::Dead(_)) => Self::Dead,
            Ok(Failure::Lost) => Self::NotNeeded,
        }
    }
}

/// What is left to do when the work of a job has returned.
#[derive(Debug)]
pub enum Ending {
    /// Nothing: the outcome stands.
    Done(JobOutcome),
    /// Release the lease: the work was stopped, which is no failure.
    Release,
    /// Record the failure.
    Record(JobError),
}

impl Ending {
    /// Decides by what the work returned.
    pub fn of(work: Result<JobOutcome, JobError>) -> Self {
        match work {
            Ok(outcome) => Self::Done(outcome),
            Err(JobError::Stopped) => Self::Release,
            Err(error) => Self::Record(error),
        }
    }
}

/// The span under which the work of a claimed job logs and traces.
pub(crate) fn span_of(job: &Job) -> Span {
    let Job { export_id: export, tenant_id: tenant, index, attempt, .. } = job;
    let kind = job.kind.to_string().to_lowercase();
    info_span!("job", %export, %tenant, %kind, index, attempt)
}

/// Records a failure of a job. On a disk so full that not even this can be written, tries for the length of a lease.
async fn record_failure(context: &NodeContext, job: &Job, failure: &ExportFailure) -> Result<Failure, entities::Error> {
    let deadline = Instant::now() + LEASE;
    let recorded = loop {
        match jobs::fail(&context.db, job, failure.code, &failure.detail).await {
            Err(error) if error.is_full() && Instant::now() < deadline => {
                tracing::error!(export = %job.export_id, %error, "no room to record a failure");
                tokio::time::sleep(FULL_DISK_PAUSE).await;
            }
            recorded => break recorded,
        }
    };
    failpoints::passed(Point::FailureRecorded);
    if let Err(error) = &recorded {
        tracing::error!(export = %job.export_id, %error, "recording a failure failed; the lease will run out");
    }
    recorded
}

/// Records a failure of a segment or audio job.
pub async fn record_job_failure(context: &NodeContext, job: &Job, failure: &ExportFailure) -> JobOutcome {
    let ExportFailure { code, detail } = failure;
    tracing::warn!(export = %job.export_id, kind = %job.kind, index = job.index, code, detail, "a job failed");
    metrics::counter!("touchline_job_failures_total").increment(1);
    JobOutcome::of_failure(&record_failure(context, job, failure).await)
}

/// Records a failure of a coordinator, whose third fails the export. Returns the export's row if that was the third.
pub async fn record_coordinator_failure(context: &NodeContext, job: &Job, failure: &ExportFailure) -> Option<Export> {
    let ExportFailure { code, detail } = failure;
    tracing::warn!(export = %job.export_id, code, detail, "coordinating an export failed");
    match record_failure(context, job, failure).await {
        Ok(Failure::Dead(export)) => export.map(|export| *export),
        _ => None,
    }
}

/// A job that runs in its first attempt, of an export and a tenant of its own.
#[cfg(test)]
pub(super) fn test_job(kind: entities::jobs::JobKind) -> Job {
    Job {
        id: entities::JobId::new(),
        export_id: entities::ExportId::new(),
        tenant_id: entities::TenantId::new(),
        kind,
        index: 0,
        state: entities::jobs::JobState::Running,
        tag: 0.0,
        cost: 0.0,
        attempt: 1,
        failures: 0,
        crashes: 0,
        run_at: chrono::Utc::now(),
        owner: None,
        lease_until: None,
        error: None,
        error_code: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::error::ProcessError;

    #[test]
    fn a_recorded_failure_decides_the_outcome() {
        let retry = Failure::Retry { at: chrono::Utc::now() };
        assert_eq!(JobOutcome::of_failure(&Ok(retry)), JobOutcome::Retried);
        assert_eq!(JobOutcome::of_failure(&Ok(Failure::Dead(None))), JobOutcome::Dead);
        assert_eq!(JobOutcome::of_failure(&Ok(Failure::Lost)), JobOutcome::NotNeeded, "another claim has it");
        let full = entities::Error::Gone { what: "x" };
        assert_eq!(JobOutcome::of_failure(&Err(full)), JobOutcome::Retried, "its lease runs out");
    }

    #[test]
    fn a_stop_is_no_failure() {
        for outcome in [JobOutcome::Committed, JobOutcome::NotNeeded] {
            assert!(matches!(Ending::of(Ok(outcome)), Ending::Done(found) if found == outcome));
        }
        let killed = JobError::from(ProcessError::Media(media::MediaError::Cancelled));
        assert!(matches!(Ending::of(Err(killed)), Ending::Release));
        let broken = || JobError::Broken("no frames".into());
        assert!(matches!(Ending::of(Err(broken())), Ending::Record(JobError::Broken(_))));
    }

    #[test]
    fn labels_are_those_of_the_metric() {
        let all = [
            (JobOutcome::Committed, "committed"),
            (JobOutcome::NotNeeded, "not_needed"),
            (JobOutcome::Retried, "retried"),
            (JobOutcome::Dead, "dead"),
            (JobOutcome::Released, "released"),
        ];
        for (outcome, label) in all {
            assert_eq!(outcome.label(), label);
        }
    }
}
