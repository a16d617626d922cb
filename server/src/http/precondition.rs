//! Rows that have versions: the version is the `ETag`, and a change names in `If-Match` the one it saw
//! (RFC 9110 §13.1.1), so that no client overwrites a change that it has not seen.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, EntityTag, IfMatch};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;

use super::content::{is_known, not_modified};
use super::problem::Problem;

/// The entity tag of a version.
pub fn tag(version: i64) -> EntityTag {
    EntityTag::new_strong(format!("v{version}"))
}

/// The version that a change must find: the one in force if the client saw it, none for `*`.
///
/// # Errors
/// 428 without `If-Match`, 412 when it names another version.
pub fn seen(request: &HttpRequest, in_force: i64) -> Result<Option<i64>, Problem> {
    if !request.headers().contains_key(header::IF_MATCH) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            "send If-Match with the ETag of what you saw, or *",
        ));
    }
    match request.get_header::<IfMatch>() {
        Some(IfMatch::Any) => Ok(None),
        Some(IfMatch::Items(seen)) if seen.iter().any(|seen| seen.strong_eq(&tag(in_force))) => Ok(Some(in_force)),
        _ => Err(stale(in_force)),
    }
}

/// [`seen`] for what may also be changed without looking: then whatever is in force is fine.
///
/// # Errors
/// 412 when `If-Match` names another version.
pub fn expected_version(request: &HttpRequest, in_force: i64) -> Result<Option<i64>, Problem> {
    if request.headers().contains_key(header::IF_MATCH) { seen(request, in_force) } else { Ok(None) }
}

/// 412: another change came first.
pub fn stale(version: i64) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "stale",
        format!("it has changed since: version {version} is in force; read it again"),
    )
}

/// Answers what has a version: 304 to a client that has it already.
pub fn answer(request: &HttpRequest, version: i64, body: &impl Serialize) -> HttpResponse {
    let tag = tag(version);
    if is_known(request, &tag) {
        return not_modified(&tag);
    }
    with_tag(&mut HttpResponse::Ok(), version).json(body)
}

/// Adds the `ETag` of a version to an answer.
pub fn with_tag(response: &mut actix_web::HttpResponseBuilder, version: i64) -> &mut actix_web::HttpResponseBuilder {
    response.insert_header(header::ETag(tag(version))).insert_header((header::CACHE_CONTROL, "private, no-cache"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(if_match: Option<&str>) -> Result<Option<i64>, u16> {
        let request = if_match
            .into_iter()
            .fold(TestRequest::default(), |request, value| request.insert_header(("if-match", value)));
        seen(&request.to_http_request(), 7).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn a_change_names_what_it_saw() {
        assert_eq!(check(None), Err(428));
        assert_eq!(check(Some("\"v6\"")), Err(412));
        assert_eq!(check(Some("W/\"v7\"")), Err(412));
        assert_eq!(check(Some("\"v7\"")), Ok(Some(7)));
        assert_eq!(check(Some("\"v6\", \"v7\"")), Ok(Some(7)));
        assert_eq!(check(Some("*")), Ok(None));
    }

    #[test]
    fn what_may_be_changed_blindly_still_heeds_a_condition() {
        let blind = TestRequest::default().to_http_request();
        assert_eq!(expected_version(&blind, 7).unwrap(), None);
        let old = TestRequest::default().insert_header(("if-match", "\"v6\"")).to_http_request();
        assert_eq!(expected_version(&old, 7).unwrap_err().status(), 412);
    }
}
