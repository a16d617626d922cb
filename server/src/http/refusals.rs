//! The problem responses of the OpenAPI document, the same for every operation of a kind.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::problem::PROBLEM_JSON;

/// The refusals of operations that read.
pub struct ReadRefusals;

/// The refusals of operations that write.
pub struct WriteRefusals;

const READ: [(&str, &str); 7] = [
    ("400", "the request cannot be read"),
    ("401", "a credential is missing, expired or wrong"),
    ("403", "the role lacks the right, or the tenant is suspended"),
    ("404", "there is no such thing in this tenant"),
    ("422", "readable, but wrong in content: `errors` names every fault"),
    ("429", "requests come too fast, or a limit of the tenant is reached; `Retry-After` says when to try again"),
    ("500", "a fault of the server"),
];

const WRITE: [(&str, &str); 5] = [
    ("409", "the state of the resource forbids it"),
    ("413", "more bytes than the limit"),
    ("415", "another content type is wanted"),
    ("503", "the server is too busy for this now; `Retry-After` says when to try again"),
    ("507", "the server's disk is full"),
];

impl IntoResponses for ReadRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        READ.into_iter().map(refusal).collect()
    }
}

impl IntoResponses for WriteRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        READ.into_iter().chain(WRITE).map(refusal).collect()
    }
}

fn refusal((status, description): (&str, &str)) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
    (status.to_owned(), RefOr::T(response))
}
