//! What is wrong with one field of a request.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One mistake in a request, placed by a JSON pointer (RFC 6901). A list of them is the `errors` array of an
/// RFC 9457 problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Which field: `/clips/0/end`.
    pub pointer: String,
    /// What kind of mistake, for programs: `required`, `wrong_type`, `out_of_range`, …
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// What is wrong and what would be right, for people.
    pub detail: String,
}

impl FieldError {
    /// A mistake at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: Cow::Borrowed(code), detail: detail.into() }
    }

    /// Both lists as one with one error a field: where both have something to say, the first list has the word.
    pub fn merge(mut first: Vec<FieldError>, second: Vec<FieldError>) -> Vec<FieldError> {
        for error in second {
            if first.iter().all(|known| known.pointer != error.pointer) {
                first.push(error);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_one_error_a_field() {
        let early = vec![FieldError::new("/a", "wrong_type", "a is no number")];
        let late = vec![FieldError::new("/a", "out_of_range", "a is 0"), FieldError::new("/b", "required", "b")];
        let merged = FieldError::merge(early, late);
        assert_eq!(merged.iter().map(|e| &*e.code).collect::<Vec<_>>(), ["wrong_type", "required"]);
    }
}
