//! The actor that keeps the live settings: validates a change whole, gives it a version, stores it, and only then
//! shows it to everybody through a watch channel. Nobody ever sees half a change.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AtomicResponse, Context, Handler, Message, MessageResult, WrapFuture};
use config::Live;
use edits::FieldError;
use entities::config_versions::{self, Appended};
use entities::{Database, UserId};
use serde::Serialize;
use tokio::sync::watch;

/// Live settings with the version they have; version 0 is what files and environment say.
#[derive(Debug, Clone, Serialize)]
pub struct Versioned {
    pub version: u64,
    pub live: Live,
}

/// See the [module](self).
pub struct ConfigKeeper {
    db: Database,
    shown: watch::Sender<Arc<Versioned>>,
}

impl ConfigKeeper {
    /// Starts from the newest stored version, or from `base` where none was stored yet.
    pub async fn new(db: Database, base: Live) -> Result<(Self, watch::Receiver<Arc<Versioned>>), entities::Error> {
        let stored = config_versions::latest(&db).await?;
        let newest = match stored {
            // A stored version may lack settings that came later: it is laid over the base.
            Some(row) => match base.patched(&row.body) {
                Ok(live) => Versioned { version: row.version as u64, live },
                Err(errors) => {
                    tracing::error!(version = row.version, ?errors, "stored settings are not valid any more");
                    Versioned { version: row.version as u64, live: base }
                }
            },
            None => Versioned { version: 0, live: base },
        };
        let (shown, watched) = watch::channel(Arc::new(newest));
        Ok((Self { db, shown }, watched))
    }
}

impl Actor for ConfigKeeper {
    type Context = Context<Self>;
}

/// Asks for the settings in force.
pub struct GetConfig;

impl Message for GetConfig {
    type Result = Arc<Versioned>;
}

impl Handler<GetConfig> for ConfigKeeper {
    type Result = MessageResult<GetConfig>;

    fn handle(&mut self, _: GetConfig, _: &mut Self::Context) -> Self::Result {
        MessageResult(Arc::clone(&self.shown.borrow()))
    }
}

/// Changes the settings by an RFC 7396 merge patch.
pub struct PatchConfig {
    /// The version the author saw; None does not care.
    pub if_match: Option<u64>,
    pub patch: serde_json::Value,
    /// The author, where it is a user of this deployment.
    pub by: Option<UserId>,
}

/// Why a change was refused; nothing of it took effect.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("somebody else changed the settings: version {0} is in force")]
    Stale(u64),
    #[error("{} of the new settings are not valid", .0.len())]
    Invalid(Vec<FieldError>),
    #[error("storing the settings: {0}")]
    Database(#[from] entities::Error),
}

impl Message for PatchConfig {
    type Result = Result<Arc<Versioned>, PatchError>;
}

impl Handler<PatchConfig> for ConfigKeeper {
    type Result = AtomicResponse<Self, Result<Arc<Versioned>, PatchError>>;

    fn handle(&mut self, change: PatchConfig, _: &mut Self::Context) -> Self::Result {
        let now = Arc::clone(&self.shown.borrow());
        let db = self.db.clone();
        let store = async move {
            if change.if_match.is_some_and(|seen| seen != now.version) {
                return Err(PatchError::Stale(now.version));
            }
            let live = now.live.patched(&change.patch).map_err(|errors| {
                let named = errors.into_iter().map(|error| FieldError::new(error.pointer, "invalid", error.message));
                PatchError::Invalid(named.collect())
            })?;
            let body = serde_json::to_value(&live).expect("settings are plain numbers and strings");
            let expected = now.version as i64;
            match config_versions::append(&db, expected, body, change.by).await? {
                Appended::Stored(row) => Ok(Versioned { version: row.version as u64, live }),
                Appended::Stale { current } => Err(PatchError::Stale(current as u64)),
            }
        };
        let show = |result: Result<Versioned, PatchError>, this: &mut Self, _: &mut Context<Self>| {
            let changed = Arc::new(result?);
            this.shown.send_replace(Arc::clone(&changed));
            Ok(changed)
        };
        // Atomic: no other message is looked at until this change is stored and shown.
        AtomicResponse::new(Box::pin(store.into_actor(self).map(show)))
    }
}
