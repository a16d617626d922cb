//! What is wrong with one field of a request.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Errors that are listed; beyond it one entry says that there are more.
pub(crate) const MAX_ERRORS: usize = 1000;

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
    pub fn merge(first: Vec<FieldError>, second: Vec<FieldError>) -> Vec<FieldError> {
        let mut known: HashSet<String> = first.iter().map(|error| error.pointer.clone()).collect();
        let new = second.into_iter().filter(|error| known.insert(error.pointer.clone()));
        Self::capped(first.into_iter().chain(new).collect())
    }

    /// The first thousand of a list, with one entry more that says so where there are more.
    pub fn capped(mut all: Vec<FieldError>) -> Vec<FieldError> {
        if all.len() > MAX_ERRORS {
            all.truncate(MAX_ERRORS);
            all.push(Self::too_many());
        }
        all
    }

    /// Stands for all errors that are not listed.
    pub(crate) fn too_many() -> Self {
        let detail = format!("there are more than {MAX_ERRORS} mistakes; the rest is not listed");
        Self::new("", "too_many_errors", detail)
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

    /// Compared pair by pair, these would take hours.
    #[test]
    fn a_flood_of_errors_is_merged_in_linear_time_and_cut() {
        let flood =
            |name: &str| (0..300_000).map(|i| FieldError::new(format!("/{name}/{i}"), "required", "")).collect();
        let merged = FieldError::merge(flood("a"), flood("b"));
        assert_eq!(merged.len(), MAX_ERRORS + 1);
        assert_eq!((&*merged[MAX_ERRORS - 1].pointer, &*merged[MAX_ERRORS].code), ("/a/999", "too_many_errors"));
        assert_eq!(FieldError::capped(merged.clone()), merged);
    }
}
