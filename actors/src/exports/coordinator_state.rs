//! What a [coordinator](super::coordinator) does after each event: its state machine, without an actor, a database or a
//! clock.
//!
//! Invariants: at most one step runs at a time; an event that comes during a step is not lost; a coordinator whose
//! export is abandoned leaves after the step that runs, so that what the step writes can be removed with the rest; the
//! end of an export that this step has reached is published first.

/// See the [module](self).
#[derive(Debug, Default)]
pub struct CoordinatorState {
    /// A step, or the recording of a failure, is under way.
    busy: bool,
    /// The rows changed while it was.
    reevaluate: bool,
    /// The export was cancelled while it was.
    abandoned: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepEnd {
    /// Jobs are under way; their ends come as events.
    Waiting,
    /// The export has its final state.
    Ended,
    /// The job is not held any more: the export was cancelled, or another node coordinates it.
    NotHeld,
    /// The step failed. `stopping`: the export's stop signal is raised, which explains it.
    Failed { stopping: bool },
}

/// What the coordinator does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing until the next event.
    Wait,
    /// Read the rows and do the next step.
    RunStep,
    /// Record the failure of the step.
    RecordFailure,
    /// Publish the end, then leave.
    End,
    /// Stop the actor.
    Leave,
}

impl CoordinatorState {
    /// A job of the export has ended, or it is time to read the rows.
    pub fn on_reevaluate(&mut self) -> Action {
        if self.busy {
            self.reevaluate = true;
            return Action::Wait;
        }
        self.busy = true;
        Action::RunStep
    }

    /// The step that ran has ended.
    pub fn on_step_end(&mut self, end: StepEnd) -> Action {
        self.busy = false;
        match end {
            // Also of an export that was deleted meanwhile: it has ended, and is counted and published by none else.
            StepEnd::Ended => Action::End,
            _ if self.abandoned => Action::Leave,
            StepEnd::Waiting if std::mem::take(&mut self.reevaluate) => self.on_reevaluate(),
            StepEnd::Waiting => Action::Wait,
            StepEnd::NotHeld | StepEnd::Failed { stopping: true } => Action::Leave,
            StepEnd::Failed { stopping: false } => {
                self.busy = true;
                Action::RecordFailure
            }
        }
    }

    /// A failure was recorded. `ended`: it was the last, and the export has failed.
    pub fn on_failure_recorded(&mut self, ended: bool) -> Action {
        if ended { Action::End } else { Action::Leave }
    }

    /// The export was cancelled.
    pub fn on_abandon(&mut self) -> Action {
        self.abandoned = true;
        if self.busy { Action::Wait } else { Action::Leave }
    }

    /// The lease could not be renewed, as the job is not held any more. A step that runs finds out by its fence.
    pub fn on_lease_lost(&self) -> Action {
        if self.busy { Action::Wait } else { Action::Leave }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> CoordinatorState {
        let mut state = CoordinatorState::default();
        assert_eq!(state.on_reevaluate(), Action::RunStep);
        state
    }

    #[test]
    fn an_event_during_a_step_leads_to_one_more_step() {
        let mut state = busy();
        assert_eq!(state.on_reevaluate(), Action::Wait);
        assert_eq!(state.on_reevaluate(), Action::Wait);
        assert_eq!(state.on_step_end(StepEnd::Waiting), Action::RunStep);
        assert_eq!(state.on_step_end(StepEnd::Waiting), Action::Wait);
        assert_eq!(state.on_reevaluate(), Action::RunStep, "an idle coordinator steps at once");
    }

    #[test]
    fn ends_and_lost_fences_end_the_actor() {
        assert_eq!(busy().on_step_end(StepEnd::Ended), Action::End);
        assert_eq!(busy().on_step_end(StepEnd::NotHeld), Action::Leave);
    }

    #[test]
    fn a_failure_is_recorded_unless_a_stop_explains_it() {
        let mut state = busy();
        assert_eq!(state.on_step_end(StepEnd::Failed { stopping: false }), Action::RecordFailure);
        assert_eq!(state.on_reevaluate(), Action::Wait, "no step runs while a failure is recorded");
        assert_eq!(state.on_lease_lost(), Action::Wait);
        assert_eq!(state.on_failure_recorded(true), Action::End);
        assert_eq!(state.on_failure_recorded(false), Action::Leave);
        assert_eq!(busy().on_step_end(StepEnd::Failed { stopping: true }), Action::Leave);
    }

    #[test]
    fn an_abandoned_export_is_left_after_the_step_that_runs() {
        for end in [StepEnd::Waiting, StepEnd::NotHeld, StepEnd::Failed { stopping: false }] {
            let mut state = busy();
            assert_eq!(state.on_abandon(), Action::Wait);
            assert_eq!(state.on_step_end(end), Action::Leave, "after {end:?}");
        }
        assert_eq!(CoordinatorState::default().on_abandon(), Action::Leave);
    }

    #[test]
    fn an_end_is_published_although_the_export_was_deleted_meanwhile() {
        let mut state = busy();
        assert_eq!(state.on_abandon(), Action::Wait);
        assert_eq!(state.on_step_end(StepEnd::Ended), Action::End);
    }

    #[test]
    fn a_lost_lease_ends_an_idle_coordinator() {
        assert_eq!(CoordinatorState::default().on_lease_lost(), Action::Leave);
        assert_eq!(busy().on_lease_lost(), Action::Wait);
    }
}
