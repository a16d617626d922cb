//! The actor that keeps the live settings: validates a change whole, gives it a version, stores it, and only then
//! publishes it through a watch channel. Readers never see half a change.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message, MessageResult, WrapFuture,
};
use config::Live;
use edits::FieldError;
use entities::audit::Deed;
use entities::config_versions::{self, Appended, ConfigVersion, NewVersion};
use entities::{Database, UserId};
use models::{ModelKind, ModelStore};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::settings::default_models;

/// Live settings with the version they have; version 0 is that of files and environment.
#[derive(Debug, Clone, Serialize)]
pub struct Versioned {
    pub version: u64,
    pub live: Live,
}

/// See the [module](self).
pub struct ConfigKeeper {
    db: Database,
    /// The settings of files and environment.
    base: Live,
    /// Which models there are; None where every device only simulates.
    models: Option<Arc<ModelStore>>,
    shown: watch::Sender<Arc<Versioned>>,
}

impl ConfigKeeper {
    /// Starts from the newest stored version, or from `base` where none was stored yet.
    pub async fn new(db: Database, base: Live) -> Result<(Self, watch::Receiver<Arc<Versioned>>), entities::Error> {
        let stored = config_versions::latest(&db).await?;
        let newest = match stored {
            Some(row) => read(row, &base),
            None => Versioned { version: 0, live: base.clone() },
        };
        let (shown, watched) = watch::channel(Arc::new(newest));
        Ok((Self { db, base, models: None, shown }, watched))
    }

    /// Refuses default models that are not among these.
    #[must_use]
    pub fn knowing(self, models: Option<Arc<ModelStore>>) -> Self {
        Self { models, ..self }
    }
}

impl Actor for ConfigKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Only a shared database has other authors.
        if self.db.is_shared() {
            ctx.run_interval(FOLLOW_EVERY, Self::follow);
        }
    }
}

/// How often it polls for changes that were made at another node: they take effect within a second.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

impl ConfigKeeper {
    /// Publishes settings that another node has stored.
    fn follow(&mut self, ctx: &mut Context<Self>) {
        let db = self.db.clone();
        let latest = async move { config_versions::latest(&db).await };
        ctx.spawn(latest.into_actor(self).map(|found, this, _| {
            let newest = match found {
                Ok(Some(row)) => row,
                Ok(None) => return,
                Err(error) => return tracing::warn!(%error, "changes of the settings could not be read"),
            };
            if newest.version as u64 <= this.shown.borrow().version {
                return;
            }
            let changed = read(newest, &this.base);
            tracing::info!(version = changed.version, "settings that another node stored take effect");
            this.shown.send_replace(Arc::new(changed));
        }));
    }
}

/// A stored version. It may lack settings that came later: it is laid over the base.
fn read(row: ConfigVersion, base: &Live) -> Versioned {
    let version = row.version as u64;
    match base.patched(&row.body) {
        Ok(live) => Versioned { version, live },
        Err(errors) => {
            tracing::error!(version, ?errors, "stored settings are not valid any more");
            Versioned { version, live: base.clone() }
        }
    }
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

/// Who changes the settings.
#[derive(Debug, Clone)]
pub struct Author {
    /// The user, if it is one.
    pub user: Option<UserId>,
    /// As the audit log names them.
    pub named: String,
}

/// Changes the settings by an RFC 7396 merge patch.
pub struct PatchConfig {
    /// The version the author saw; None: any.
    pub if_match: Option<u64>,
    pub patch: Value,
    pub by: Author,
}

/// Makes the settings of an older version hold again, as a new version.
pub struct RollBack {
    /// The version the author saw; None: any.
    pub if_match: Option<u64>,
    /// 0: the settings of the start.
    pub to: u64,
    pub by: Author,
}

/// Why a change was refused; nothing of it took effect.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the settings were changed meanwhile: version {0} is in force")]
    Stale(u64),
    #[error("{} of the new settings are not valid", .0.len())]
    Invalid(Vec<FieldError>),
    #[error("there is no version {0}")]
    NoSuchVersion(u64),
    #[error("storing the settings: {0}")]
    Database(#[from] entities::Error),
}

impl Message for PatchConfig {
    type Result = Result<Arc<Versioned>, ChangeError>;
}

impl Message for RollBack {
    type Result = Result<Arc<Versioned>, ChangeError>;
}

/// What is to be stored, if it is right.
struct Change {
    if_match: Option<u64>,
    patch: Value,
    rolled_back_to: Option<i64>,
    by: Author,
}

impl Handler<PatchConfig> for ConfigKeeper {
    type Result = AtomicResponse<Self, Result<Arc<Versioned>, ChangeError>>;

    fn handle(&mut self, PatchConfig { if_match, patch, by }: PatchConfig, _: &mut Self::Context) -> Self::Result {
        let change = Change { if_match, patch, rolled_back_to: None, by };
        self.keep(async move { Ok(change) })
    }
}

impl Handler<RollBack> for ConfigKeeper {
    type Result = AtomicResponse<Self, Result<Arc<Versioned>, ChangeError>>;

    fn handle(&mut self, RollBack { if_match, to, by }: RollBack, _: &mut Self::Context) -> Self::Result {
        let (db, base) = (self.db.clone(), self.base.clone());
        self.keep(async move {
            let version = i64::try_from(to).map_err(|_| ChangeError::NoSuchVersion(to))?;
            let body = match version {
                0 => as_json(&base),
                _ => config_versions::get(&db, version).await?.ok_or(ChangeError::NoSuchVersion(to))?.body,
            };
            Ok(Change { if_match, patch: body, rolled_back_to: Some(version), by })
        })
    }
}

impl ConfigKeeper {
    /// Checks a change whole, stores it and publishes it. No other message is handled until that is done.
    fn keep(
        &self,
        change: impl Future<Output = Result<Change, ChangeError>> + 'static,
    ) -> AtomicResponse<Self, Result<Arc<Versioned>, ChangeError>> {
        let now = Arc::clone(&self.shown.borrow());
        let (db, models) = (self.db.clone(), self.models.clone());
        let store = async move {
            let change = change.await?;
            if change.if_match.is_some_and(|seen| seen != now.version) {
                return Err(ChangeError::Stale(now.version));
            }
            let live = now.live.patched(&change.patch).map_err(|errors| {
                let named = errors.into_iter().map(|error| FieldError::new(error.pointer, "invalid", error.message));
                ChangeError::Invalid(named.collect())
            })?;
            let unknown = models.map(|models| unknown_models(&models, &live)).unwrap_or_default();
            if !unknown.is_empty() {
                return Err(ChangeError::Invalid(unknown));
            }
            let body = as_json(&live);
            let deed = Deed {
                tenant: None,
                actor: change.by.named,
                action: if change.rolled_back_to.is_some() { "config.rollback" } else { "config.change" },
                target: format!("version {}", now.version + 1),
                details: differences(&as_json(&now.live), &body),
            };
            let new = NewVersion { body, author: change.by.user, rolled_back_to: change.rolled_back_to };
            match config_versions::append(&db, now.version as i64, new, deed).await? {
                Appended::Stored(row) => Ok(Versioned { version: row.version as u64, live }),
                Appended::Stale { current } => Err(ChangeError::Stale(current as u64)),
            }
        };
        let show = |result: Result<Versioned, ChangeError>, this: &mut Self, _: &mut Context<Self>| {
            let changed = Arc::new(result?);
            this.shown.send_replace(Arc::clone(&changed));
            Ok(changed)
        };
        AtomicResponse::new(Box::pin(store.into_actor(self).map(show)))
    }
}

/// Models that are named and not there, or are for something else.
fn unknown_models(store: &ModelStore, live: &Live) -> Vec<FieldError> {
    let wanted = [
        ("/upscale/model", &live.upscale.model, ModelKind::Upscaler),
        ("/detect/model", &live.detect.model, ModelKind::Detector),
    ];
    let wrong = wanted.into_iter().filter_map(|(pointer, name, kind)| {
        let detail = default_models::check(store, name, kind).err()?;
        Some(FieldError::new(pointer, "unknown_model", detail))
    });
    wrong.collect()
}

fn as_json(live: &Live) -> Value {
    serde_json::to_value(live).expect("settings are plain numbers and strings")
}

/// What differs, by JSON pointer: `{"/limits/queued_exports": {"from": 10, "to": 20}}`.
pub fn differences(from: &Value, to: &Value) -> Value {
    fn walk(at: &str, from: &Value, to: &Value, found: &mut Map<String, Value>) {
        match (from, to) {
            (Value::Object(old), Value::Object(new)) => {
                for (name, value) in new {
                    walk(&format!("{at}/{name}"), old.get(name).unwrap_or(&Value::Null), value, found);
                }
            }
            (from, to) if from != to => drop(found.insert(at.to_owned(), json!({"from": from, "to": to}))),
            _ => {}
        }
    }
    let mut found = Map::new();
    walk("", from, to, &mut found);
    Value::Object(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_recorded_by_what_differs() {
        let base = Live::default();
        let mut other = base.clone();
        other.limits.queued_exports = 7;
        let found = differences(&as_json(&base), &as_json(&other));
        let from = base.limits.queued_exports;
        assert_eq!(found, json!({"/limits/queued_exports": {"from": from, "to": 7}}));
        assert_eq!(differences(&as_json(&base), &as_json(&base)), json!({}));
    }
}
