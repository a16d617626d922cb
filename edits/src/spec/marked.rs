//! Requests that name a marked clip: what they do not say themselves is taken from it, before they are read.

use serde_json::{Map, Value, json};

use super::{annotated, framing};
use crate::field_error::FieldError;

/// A named time range of a video, as far as requests take something from it.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkedClip {
    /// The video, by its id.
    pub video_id: String,
    /// Start in source seconds.
    pub start: f64,
    /// End in source seconds.
    pub end: f64,
    /// What it is called.
    pub name: String,
    /// What is said about it.
    pub notes: String,
    /// 1 to 5; `None` when it was not rated.
    pub rating: Option<u8>,
    /// What it shows.
    pub tags: Vec<String>,
}

/// An object of a request that names a marked clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where the object is, as a JSON pointer.
    pub pointer: String,
    /// The clip's id as it came.
    pub clip_id: String,
}

impl MarkedClip {
    /// Bytes of the texts that it adds to a request at most.
    pub fn text_bytes(&self) -> usize {
        self.name.len() + self.notes.len() + self.tags.iter().map(String::len).sum::<usize>()
    }
}

/// Every object of a request that names a marked clip by a text. None of a request with more clips than its kind
/// allows: it is refused without them.
pub fn references(body: &Value) -> Vec<Reference> {
    let of = |pointer: String, object: &Value| {
        let clip_id = object.get("clip_id")?.as_str()?.to_owned();
        Some(Reference { pointer, clip_id })
    };
    let most = match body["kind"].as_str() {
        Some("framing") => framing::read::MAX_CLIPS,
        Some("annotated") => annotated::MAX_CLIPS,
        Some("clip") => return of(String::new(), body).into_iter().collect(),
        _ => return Vec::new(),
    };
    let clips = body["clips"].as_array().filter(|clips| clips.len() <= most).into_iter().flatten().enumerate();
    clips.filter_map(|(i, clip)| of(format!("/clips/{i}"), clip)).collect()
}

/// Fills in what the object at `pointer` does not say itself.
///
/// # Errors
/// When the request names another video than the clip's.
pub fn fill_in(body: &mut Value, pointer: &str, clip: &MarkedClip) -> Result<(), FieldError> {
    let annotated = body["kind"] == "annotated";
    if let Some(Value::Object(object)) = body.pointer_mut(pointer) {
        default(object, "start", json!(clip.start));
        default(object, "end", json!(clip.end));
        if annotated {
            default(object, "name", json!(clip.name));
            default(object, "notes", json!(clip.notes));
            default(object, "tags", json!(clip.tags));
            if let Some(rating) = clip.rating {
                default(object, "rating", json!(rating));
            }
        } else if !pointer.is_empty() {
            default(object, "name", json!(clip.name));
        }
    }
    // A compilation names its video once.
    let owner = if annotated { "" } else { pointer };
    let Some(Value::Object(owner)) = body.pointer_mut(owner) else { return Ok(()) };
    default(owner, "video_id", json!(clip.video_id));
    let same = owner["video_id"].as_str().is_none_or(|id| id.eq_ignore_ascii_case(&clip.video_id));
    if same {
        return Ok(());
    }
    let detail = format!("the clip is of video {}, and the request names another", clip.video_id);
    Err(FieldError::new(format!("{pointer}/clip_id"), "other_video", detail))
}

/// Lets an object that names an unknown clip be read, so that everything else that is wrong with it is found, too.
/// Returns the pointers of what was made up, about which nothing can be said.
pub fn stand_in(body: &mut Value, pointer: &str) -> Vec<String> {
    let nothing = MarkedClip {
        video_id: "00000000-0000-0000-0000-000000000000".to_owned(),
        start: 0.0,
        end: 1.0,
        name: String::new(),
        notes: String::new(),
        rating: None,
        tags: Vec::new(),
    };
    let owner = if body["kind"] == "annotated" { "" } else { pointer };
    let places = [(owner, "video_id"), (pointer, "start"), (pointer, "end")];
    let missing =
        places.into_iter().filter(|(at, name)| body.pointer(at).is_some_and(|object| object.get(name).is_none()));
    let made_up = missing.map(|(at, name)| format!("{at}/{name}")).collect();
    // The video cannot be another one: there is none.
    let _ = fill_in(body, pointer, &nothing);
    made_up
}

fn default(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.entry(name).or_insert(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal() -> MarkedClip {
        MarkedClip {
            video_id: "0198c0de-0000-7000-8000-000000000000".to_owned(),
            start: 12.0,
            end: 27.0,
            name: "Goal".to_owned(),
            notes: "left foot".to_owned(),
            rating: Some(5),
            tags: vec!["goal".to_owned()],
        }
    }

    #[test]
    fn what_is_not_said_is_taken_from_the_clip() {
        let mut body =
            json!({"kind": "framing", "clips": [{"clip_id": "a"}, {"clip_id": "a", "start": 14.0, "name": "Mine"}]});
        let found = references(&body);
        assert_eq!(found.iter().map(|found| found.pointer.as_str()).collect::<Vec<_>>(), ["/clips/0", "/clips/1"]);
        for found in found {
            fill_in(&mut body, &found.pointer, &goal()).unwrap();
        }
        let video = goal().video_id;
        assert_eq!(
            body["clips"][0],
            json!({"clip_id": "a", "video_id": video, "start": 12.0, "end": 27.0, "name": "Goal"})
        );
        assert_eq!(body["clips"][1]["start"], 14.0);
        assert_eq!(body["clips"][1]["name"], "Mine");
    }

    #[test]
    fn clips_of_a_request_with_too_many_are_not_looked_up() {
        let request = |kind: &str, clips: usize| json!({"kind": kind, "clips": vec![json!({"clip_id": "a"}); clips]});
        for (kind, most) in [("framing", 200), ("annotated", 500)] {
            assert_eq!(references(&request(kind, most)).len(), most);
            assert_eq!(references(&request(kind, most + 1)), []);
        }
    }

    #[test]
    fn a_compilation_names_its_video_once() {
        let mut body = json!({"kind": "annotated", "clips": [{"clip_id": "a"}]});
        fill_in(&mut body, "/clips/0", &goal()).unwrap();
        assert_eq!(body["video_id"], json!(goal().video_id));
        assert_eq!(body["clips"][0]["rating"], 5);
        let other = MarkedClip { video_id: "0198c0de-0000-7000-8000-000000000001".to_owned(), ..goal() };
        let refused = fill_in(&mut body, "/clips/0", &other).unwrap_err();
        assert_eq!((refused.pointer.as_str(), &*refused.code), ("/clips/0/clip_id", "other_video"));
    }

    #[test]
    fn a_clip_export_takes_only_the_range() {
        let mut body = json!({"kind": "clip", "clip_id": "a"});
        assert_eq!(references(&body), [Reference { pointer: String::new(), clip_id: "a".to_owned() }]);
        fill_in(&mut body, "", &goal()).unwrap();
        assert_eq!(
            body,
            json!({"kind": "clip", "clip_id": "a", "video_id": goal().video_id, "start": 12.0, "end": 27.0})
        );
    }

    #[test]
    fn an_unknown_clip_leaves_the_rest_to_be_read() {
        let mut body = json!({"kind": "framing", "clips": [{"clip_id": "a", "start": 3.0}]});
        let made_up = stand_in(&mut body, "/clips/0");
        assert_eq!(made_up, ["/clips/0/video_id", "/clips/0/end"]);
        let errors = crate::spec::parse(&body, crate::SourceRule::Named).errors;
        let about_the_client = errors.iter().filter(|error| !made_up.contains(&error.pointer));
        assert!(about_the_client.into_iter().all(|error| error.pointer == "/clips/0/clip_id"), "{errors:?}");
    }
}
