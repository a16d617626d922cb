//! What can be asked about the settings that change while the node runs.

use std::sync::Arc;

use actix::{Addr, MailboxError};

use super::config_keeper::{ChangeError, ConfigKeeper, GetConfig, PatchConfig, RollBack, Versioned};

/// Handles to the settings of a node. Cheap to clone.
#[derive(Clone)]
pub struct LiveSettings {
    keeper: Addr<ConfigKeeper>,
}

impl LiveSettings {
    pub(crate) fn new(keeper: Addr<ConfigKeeper>) -> Self {
        Self { keeper }
    }

    /// The settings in force.
    ///
    /// # Errors
    /// When the keeper has stopped.
    pub async fn get(&self) -> Result<Arc<Versioned>, MailboxError> {
        self.keeper.send(GetConfig).await
    }

    /// Changes them by a merge patch.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing is changed then. The outer error when the keeper has stopped.
    pub async fn patch(&self, patch: PatchConfig) -> Result<Result<Arc<Versioned>, ChangeError>, MailboxError> {
        self.keeper.send(patch).await
    }

    /// Makes those of an older version hold again.
    ///
    /// # Errors
    /// As of [`LiveSettings::patch`].
    pub async fn roll_back(&self, to: RollBack) -> Result<Result<Arc<Versioned>, ChangeError>, MailboxError> {
        self.keeper.send(to).await
    }
}
