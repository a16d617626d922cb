//! A lenient reader over JSON that goes on after a mistake.
//!
//! serde stops at the first error, but a response has to list every mistake of a request. So each field is read by name;
//! a bad value is recorded as an error and replaced by a default, and fields that were not read are reported as unknown.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::SourceRule;
use crate::color::Rgb;
use crate::field_error::{FieldError, MAX_ERRORS};
use crate::rational::{Rat, seconds_from_f64};

/// The mistakes found so far.
#[derive(Default)]
pub(super) struct Errors(Vec<FieldError>);

impl Errors {
    pub(super) fn push(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(FieldError::new(pointer, code, detail));
        } else if self.0.len() == MAX_ERRORS {
            self.0.push(FieldError::too_many());
        }
    }

    /// No further error is listed.
    fn is_full(&self) -> bool {
        self.0.len() > MAX_ERRORS
    }

    pub(super) fn into_list(self) -> Vec<FieldError> {
        self.0
    }
}

/// What a request says about a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Given<T> {
    /// Nothing, or null.
    Absent,
    /// Something wrong, which has been noted.
    Broken,
    /// A good value.
    Value(T),
}

impl<T> Given<T> {
    /// The value, if there is a good one.
    pub(super) fn ok(self) -> Option<T> {
        match self {
            Given::Value(value) => Some(value),
            Given::Absent | Given::Broken => None,
        }
    }

    /// The value or its default; the default stands in for a broken one too.
    pub(super) fn or(self, default: T) -> T {
        self.ok().unwrap_or(default)
    }

    pub(super) fn and_then<U>(self, then: impl FnOnce(T) -> Option<U>) -> Given<U> {
        match self {
            Given::Value(value) => then(value).map_or(Given::Broken, Given::Value),
            Given::Absent => Given::Absent,
            Given::Broken => Given::Broken,
        }
    }
}

impl Given<&[Value]> {
    /// There is a list, and nothing in it.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(self, Given::Value([]))
    }
}

impl Given<f64> {
    /// A good number of seconds, exactly.
    pub(super) fn seconds(self) -> Option<Rat> {
        self.ok().map(seconds_from_f64)
    }
}

/// A JSON object whose fields are being asked for.
pub(super) struct Object<'v> {
    fields: &'v Map<String, Value>,
    pointer: String,
    asked: Vec<&'static str>,
}

impl<'v> Object<'v> {
    pub(super) fn open(value: &'v Value, pointer: String, errors: &mut Errors) -> Option<Self> {
        let Value::Object(fields) = value else {
            errors.push(pointer, "wrong_type", format!("expected an object, found {}", describe(value)));
            return None;
        };
        Some(Self { fields, pointer, asked: Vec::new() })
    }

    /// Reports the fields that were not read as unknown.
    pub(super) fn close(self, errors: &mut Errors) {
        for name in self.fields.keys().filter(|name| !self.asked.contains(&name.as_str())) {
            if errors.is_full() {
                return;
            }
            let detail = format!("there is no field `{}` here; known are {}", shorten(name), self.asked.join(", "));
            errors.push(self.at(&escape(name)), "unknown_field", detail);
        }
    }

    /// The JSON pointer of a field.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.pointer)
    }

    fn ask(&mut self, name: &'static str) -> Option<&'v Value> {
        self.asked.push(name);
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Notes that a field must be there, when it is not.
    pub(super) fn required<T>(&self, name: &str, given: Given<T>, errors: &mut Errors) -> Given<T> {
        if matches!(given, Given::Absent) {
            errors.push(self.at(name), "required", format!("`{name}` is missing"));
            return Given::Broken;
        }
        given
    }

    pub(super) fn number(&mut self, name: &'static str, range: RangeInclusive<f64>, errors: &mut Errors) -> Given<f64> {
        let Some(value) = self.ask(name) else { return Given::Absent };
        number(value, self.at(name), range, errors).map_or(Given::Broken, Given::Value)
    }

    /// A whole number; `5.0` is one too.
    pub(super) fn whole(&mut self, name: &'static str, range: RangeInclusive<u32>, errors: &mut Errors) -> Given<u32> {
        let bounds = f64::from(*range.start())..=f64::from(*range.end());
        let pointer = self.at(name);
        self.number(name, bounds, errors).and_then(|number| {
            if number.fract() != 0.0 {
                errors.push(pointer, "wrong_type", format!("{number} is not a whole number"));
                return None;
            }
            Some(number as u32)
        })
    }

    pub(super) fn text(&mut self, name: &'static str, longest: usize, errors: &mut Errors) -> Given<String> {
        let Some(value) = self.ask(name) else { return Given::Absent };
        text(value, self.at(name), longest, errors).map_or(Given::Broken, Given::Value)
    }

    pub(super) fn flag(&mut self, name: &'static str, errors: &mut Errors) -> Given<bool> {
        match self.ask(name) {
            None => Given::Absent,
            Some(Value::Bool(flag)) => Given::Value(*flag),
            Some(other) => {
                errors.push(self.at(name), "wrong_type", format!("expected true or false, found {}", describe(other)));
                Given::Broken
            }
        }
    }

    /// A colour, `#RRGGBB`.
    pub(super) fn color(&mut self, name: &'static str, errors: &mut Errors) -> Given<Rgb> {
        let pointer = self.at(name);
        self.text(name, 100, errors).and_then(|text| {
            let color = text.parse();
            color.map_err(|error| errors.push(pointer, "invalid_color", format!("`{text}`: {error}"))).ok()
        })
    }

    /// An id of something stored.
    pub(super) fn uuid(&mut self, name: &'static str, errors: &mut Errors) -> Given<String> {
        let pointer = self.at(name);
        self.text(name, 100, errors).and_then(|id| {
            if !is_uuid(&id) {
                errors.push(pointer, "invalid_id", format!("`{id}` is not a UUID"));
                return None;
            }
            Some(id)
        })
    }

    /// One of a few known words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        known: &[(&'static str, T)],
        errors: &mut Errors,
    ) -> Given<T> {
        let pointer = self.at(name);
        self.text(name, 100, errors).and_then(|word| {
            let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
            if found.is_none() {
                let words = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                errors.push(pointer, "unknown_value", format!("`{word}` is unknown: use one of {words}"));
            }
            found
        })
    }

    /// A list of at most `most` items; a longer one is one mistake and is not read.
    pub(super) fn list(&mut self, name: &'static str, most: usize, errors: &mut Errors) -> Given<&'v [Value]> {
        match self.ask(name) {
            None => Given::Absent,
            Some(Value::Array(items)) if items.len() > most => {
                let detail = format!("`{name}` has {} entries; at most {most} are allowed", items.len());
                errors.push(self.at(name), "too_many", detail);
                Given::Broken
            }
            Some(Value::Array(items)) => Given::Value(items),
            Some(other) => {
                errors.push(self.at(name), "wrong_type", format!("expected a list, found {}", describe(other)));
                Given::Broken
            }
        }
    }

    pub(super) fn object(&mut self, name: &'static str, errors: &mut Errors) -> Given<Object<'v>> {
        let Some(value) = self.ask(name) else { return Given::Absent };
        Object::open(value, self.at(name), errors).map_or(Given::Broken, Given::Value)
    }

    /// A value whose form its caller judges.
    pub(super) fn any(&mut self, name: &'static str) -> Option<&'v Value> {
        self.ask(name)
    }

    /// The video this object is about, as the rule wants it named.
    pub(super) fn video_id(&mut self, rule: SourceRule, errors: &mut Errors) -> Option<String> {
        match rule {
            SourceRule::Named => {
                let given = self.uuid("video_id", errors);
                self.required("video_id", given, errors).ok()
            }
            SourceRule::Implied => {
                if self.any("video_id").is_some() {
                    let detail = "the input file is the source: leave `video_id` out";
                    errors.push(self.at("video_id"), "not_allowed", detail);
                }
                None
            }
        }
    }

    /// The marked clip this object came from; what it took from it is filled in already ([`super::marked`]).
    pub(super) fn clip_id(&mut self, rule: SourceRule, errors: &mut Errors) -> Option<String> {
        match rule {
            SourceRule::Named => self.uuid("clip_id", errors).ok(),
            SourceRule::Implied => {
                if self.any("clip_id").is_some() {
                    let detail = "the input file is the source: leave `clip_id` out and say `start` and `end`";
                    errors.push(self.at("clip_id"), "not_allowed", detail);
                }
                None
            }
        }
    }
}

/// A text of at most `longest` characters.
pub(super) fn text(value: &Value, pointer: String, longest: usize, errors: &mut Errors) -> Option<String> {
    match value {
        Value::String(text) if text.chars().count() > longest => {
            errors.push(pointer, "too_long", format!("it has more than {longest} characters"));
            None
        }
        Value::String(text) => Some(text.clone()),
        other => {
            errors.push(pointer, "wrong_type", format!("expected a text, found {}", describe(other)));
            None
        }
    }
}

/// A number within a range. JSON has no NaN and no infinity, but it has 1e300.
pub(super) fn number(value: &Value, pointer: String, range: RangeInclusive<f64>, errors: &mut Errors) -> Option<f64> {
    let Some(number) = value.as_f64() else {
        errors.push(pointer, "wrong_type", format!("expected a number, found {}", describe(value)));
        return None;
    };
    if !range.contains(&number) {
        let detail = format!("{number} is not between {} and {}", range.start(), range.end());
        errors.push(pointer, "out_of_range", detail);
        return None;
    }
    Some(number)
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// RFC 6901, section 3.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn shorten(name: &str) -> String {
    name.chars().take(60).collect()
}

/// RFC 9562: 8-4-4-4-12 hexadecimal digits.
fn is_uuid(id: &str) -> bool {
    let groups: Vec<&str> = id.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}
