//! Requests that begin from what people have marked: `reel_id` stands for a reel's edits, `clip_id` for a clip's video
//! and range. Both are copied in before the request is read, as they are at that moment.

use std::collections::{HashMap, HashSet};

use edits::FieldError;
use edits::spec::limits::MAX_BYTES;
use edits::spec::marked::{self, MarkedClip};
use entities::clips::{self, Clip};
use entities::{Database, ReelId, TenantId, reels};
use serde_json::{Map, Value};

/// A request with everything copied in.
pub struct Resolved {
    /// What is read from now on.
    pub body: Value,
    /// The reel it came from, and its version.
    pub reel: Option<(ReelId, i64)>,
    /// What could not be found.
    pub errors: Vec<FieldError>,
    /// Pointers of what was made up in place of what could not be found.
    made_up: Vec<String>,
}

impl Resolved {
    /// A request that names neither.
    pub fn as_it_is(body: Value) -> Self {
        Self { body, reel: None, errors: Vec::new(), made_up: Vec::new() }
    }

    /// Leaves out what is said about values that the client never sent.
    pub fn without_made_up(&self, errors: Vec<FieldError>) -> Vec<FieldError> {
        let made_up: HashSet<&str> = self.made_up.iter().map(String::as_str).collect();
        let about_ours = |error: &FieldError| made_up.contains(error.pointer.as_str());
        errors.into_iter().filter(|error| !about_ours(error)).collect()
    }
}

/// Copies a tenant's reel and clips into a request that names them.
pub async fn resolve(db: &Database, tenant: TenantId, body: Value) -> Result<Resolved, entities::Error> {
    let mut resolved = Resolved::as_it_is(body);
    if resolved.body.get("reel_id").is_some() {
        copy_reel(db, tenant, &mut resolved).await?;
    }
    copy_clips(db, tenant, &mut resolved).await?;
    Ok(resolved)
}

/// Lays what the request says over the edits of its reel.
async fn copy_reel(db: &Database, tenant: TenantId, resolved: &mut Resolved) -> Result<(), entities::Error> {
    let Value::Object(asked) = &mut resolved.body else { return Ok(()) };
    let id = asked.remove("reel_id").unwrap_or_default();
    let kind = asked.entry("kind").or_insert_with(|| "framing".into()).clone();
    let mut wrong = |code, detail: String| resolved.errors.push(FieldError::new("/reel_id", code, detail));
    let Some(id) = id.as_str() else {
        wrong("wrong_type", "a reel is named by its id, a text".to_owned());
        return Ok(());
    };
    let reel = match id.parse::<ReelId>() {
        Ok(id) => reels::get(db, tenant, id).await?,
        Err(_) => None,
    };
    let Some(reel) = reel else {
        wrong("unknown_reel", format!("there is no reel {id}"));
        return Ok(());
    };
    let edits = match kind.as_str() {
        Some("framing") => reel.framing,
        Some("overlay") => reel.overlay,
        _ => {
            wrong("not_allowed", "a reel has framing and overlay edits: `kind` is one of the two".to_owned());
            return Ok(());
        }
    };
    let Some(Value::Object(edits)) = edits else {
        wrong("no_edits", format!("the reel has no {} edits yet", kind.as_str().unwrap_or_default()));
        return Ok(());
    };
    let laid_over: Map<String, Value> = edits.into_iter().chain(std::mem::take(asked)).collect();
    *asked = laid_over;
    resolved.reel = Some((reel.id, reel.version));
    Ok(())
}

/// What is said of a request that is too long only with what was copied in.
pub fn too_long() -> FieldError {
    let detail = format!("with what is copied from its reel and clips it has more than {MAX_BYTES} bytes of JSON");
    FieldError::new("", "too_large", detail)
}

async fn copy_clips(db: &Database, tenant: TenantId, resolved: &mut Resolved) -> Result<(), entities::Error> {
    let mut known: HashMap<String, Option<MarkedClip>> = HashMap::new();
    let mut copied = 0;
    for named in marked::references(&resolved.body) {
        let clip = match known.get(&named.clip_id) {
            Some(clip) => clip,
            None => {
                let clip = match named.clip_id.parse() {
                    Ok(id) => clips::get(db, tenant, id).await?,
                    Err(_) => None,
                };
                known.entry(named.clip_id.clone()).or_insert(clip.map(as_marked))
            }
        };
        let Some(clip) = clip else {
            let detail = format!("there is no clip {}", named.clip_id);
            resolved.errors.push(FieldError::new(format!("{}/clip_id", named.pointer), "unknown_clip", detail));
            resolved.made_up.extend(marked::stand_in(&mut resolved.body, &named.pointer));
            continue;
        };
        resolved.errors.extend(marked::fill_in(&mut resolved.body, &named.pointer, clip).err());
        copied += clip.text_bytes();
        if copied > MAX_BYTES {
            // It is refused for its length, and need not grow further.
            break;
        }
    }
    Ok(())
}

fn as_marked(clip: Clip) -> MarkedClip {
    let tags = clip.tags.as_array().into_iter().flatten();
    MarkedClip {
        video_id: clip.video_id.to_string(),
        start: clip.start,
        end: clip.end,
        tags: tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect(),
        name: clip.name,
        notes: clip.notes,
        rating: clip.rating.and_then(|rating| u8::try_from(rating).ok()),
    }
}
