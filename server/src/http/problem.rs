//! Errors as RFC 9457 problem details, the only way this API says no.
//!
//! Every refusal, whether from a handler, an extractor or actix-web itself, leaves as
//! `application/problem+json` with `type`, `title`, `status`, `detail`, `code` and `errors[]`
//! (JSON pointers into the request body).

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use actors::exports::error::RequestError;
use actors::processes::error::ProcessError;
use actors::settings::tenant_limits::LimitReached;
use actors::sources::SourceError;
use actors::storage::StorageError;
use actors::videos::error::{DeleteError, ImportError};
use edits::FieldError;
use entities::stored::StorageFull;
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal on its way to the client.
///
/// `code` is stable and meant for programs, `detail` for people. The body never carries internals:
/// [`Problem::internal`] logs them instead.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    limit: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of a problem response, RFC 9457 with extension members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Always `about:blank`: `code` tells problems of one status apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: &'static str,
    /// The status' phrase.
    #[schema(example = "Unprocessable Entity")]
    pub title: &'static str,
    /// The HTTP status, again.
    #[schema(example = 422)]
    pub status: u16,
    /// What was wrong, for a person.
    pub detail: String,
    /// What was wrong, for a program; stable.
    #[schema(example = "invalid_spec")]
    pub code: &'static str,
    /// Every fault found in the request body, each with a JSON pointer; empty when the fault is elsewhere.
    pub errors: Vec<FieldError>,
    /// The name of the limit that is reached, with status 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
}

impl Problem {
    /// A problem with any status.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), limit: None, headers: Vec::new() }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400: the body is no JSON; 422: it is, but not what this call takes.
    pub fn unreadable_json(error: serde_json::Error) -> Self {
        if error.is_data() {
            return Self::invalid_field("", "invalid", error.to_string());
        }
        Self::bad_request("malformed_json", format!("the body is not JSON: {error}"))
    }

    /// 401: no credential, or one that does not hold.
    pub fn unauthorized(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"touchline\""))
    }

    /// 403: known, but not allowed.
    pub fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: `what` does not exist, or belongs to another tenant; the two look the same on purpose.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    /// 409: the state of the resource forbids it.
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 422: readable, but wrong in content; `errors` names each fault.
    pub fn invalid(code: &'static str, detail: impl Into<Cow<'static, str>>, errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
        problem.errors = errors;
        problem
    }

    /// 422 with a single fault at `pointer`.
    pub fn invalid_field(pointer: &str, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = FieldError { pointer: pointer.to_owned(), code: code.into(), detail: detail.clone() };
        Self::invalid("invalid_request", detail, vec![error])
    }

    /// 413: more bytes than allowed.
    pub fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 429: a limit of the tenant is reached; trying later helps.
    pub fn too_many(code: &'static str, detail: impl Into<Cow<'static, str>>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .header(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// A file that was not read: 422 where that is its fault, 500 where it is ours.
    pub fn unread(doing: &'static str, error: ProcessError) -> Self {
        match error.refusal() {
            Some((code, detail)) => Self::invalid(code, detail, Vec::new()),
            None => Self::internal(doing, error),
        }
    }

    /// 500: a fault of ours. What happened is logged with `doing`; the client only learns that it did.
    pub fn internal(doing: &str, error: impl fmt::Display) -> Self {
        tracing::error!(doing, error = %error, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on the server; the log has the request's id",
        )
    }

    /// 507: the server has no room to store anything; nothing is stored half, and the same request may be made again.
    pub fn disk_full() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "disk_full",
            "the server's disk is full; try again when there is room",
        )
    }

    /// A file that cannot be read or written: 507 where the disk is full, else a fault of ours as [`Self::internal`].
    pub fn io(doing: &str, error: &std::io::Error) -> Self {
        if !actors::failpoints::is_full(error) {
            return Self::internal(doing, error);
        }
        tracing::error!(doing, %error, "the disk is full");
        Self::disk_full()
    }

    /// 503: not now.
    pub fn unavailable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The JSON body.
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: "about:blank",
            title: title(self.status),
            status: self.status.as_u16(),
            detail: self.detail.clone().into_owned(),
            code: self.code,
            errors: self.errors.clone(),
            limit: self.limit,
        }
    }
}

/// The status' phrase. 460 is tus' own.
fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        460 => "Checksum Mismatch",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

impl From<LimitReached> for Problem {
    fn from(reached: LimitReached) -> Self {
        let retry_after = reached.retry_after.as_secs_f64().ceil() as u64;
        let mut problem = Self::too_many("limit_reached", reached.to_string(), retry_after);
        problem.limit = Some(reached.limit);
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<entities::Error> for Problem {
    fn from(error: entities::Error) -> Self {
        match error {
            entities::Error::Taken { .. } => Self::conflict("taken", error.to_string()),
            error if error.is_full() => {
                tracing::error!(%error, "the database's disk is full");
                Self::disk_full()
            }
            error if error.is_text() => {
                Self::invalid_field("", "invalid_text", "a text has a character that cannot be kept, such as U+0000")
            }
            error => Self::internal("asking the database", error),
        }
    }
}

impl From<StorageFull> for Problem {
    fn from(full: StorageFull) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "storage_full", full.to_string())
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Database(error) => error.into(),
            ImportError::Io { doing, source } => Self::io(doing, &source),
            ImportError::Storage(error) => error.into(),
            ImportError::Full(full) => full.into(),
            error => Self::internal("importing a file", error),
        }
    }
}

impl From<SourceError> for Problem {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Database(error) => error.into(),
            error => Self::internal("reading a source", error),
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::io(&format!("{} {}", error.doing, error.key), &error.source)
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Database(error) | DeleteError::Cancel(RequestError::Database(error)) => error.into(),
            error => Self::internal("deleting a video", error),
        }
    }
}

/// An actor that does not answer: its mailbox is full, or the server stops.
impl From<actix::MailboxError> for Problem {
    fn from(error: actix::MailboxError) -> Self {
        tracing::error!(%error, "an actor did not answer");
        Self::unavailable("busy", "the server is busy or stops; try again")
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        // `content_type` first: `json` keeps one that is already set.
        response.content_type(PROBLEM_JSON).json(self.body())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[actix_web::test]
    async fn renders_rfc_9457_with_pointers() {
        let problem = Problem::invalid_field("/clips/0/end", "out_of_range", "end is past the video");
        let response = problem.error_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers().get("content-type").unwrap(), PROBLEM_JSON);
        let body: serde_json::Value = serde_json::from_slice(&to_bytes(response.into_body()).await.unwrap()).unwrap();
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["title"], "Unprocessable Entity");
        assert_eq!(body["status"], 422);
        assert_eq!(body["code"], "invalid_request");
        assert_eq!(body["errors"][0]["pointer"], "/clips/0/end");
        assert_eq!(body["errors"][0]["code"], "out_of_range");
    }

    #[test]
    fn an_unauthorized_answer_names_the_scheme() {
        let response = Problem::unauthorized("missing_token", "no bearer token").error_response();
        assert_eq!(response.status(), 401);
        assert!(response.headers().get("www-authenticate").unwrap().to_str().unwrap().starts_with("Bearer"));
    }

    #[test]
    fn internal_errors_keep_their_cause_to_themselves() {
        let problem = Problem::internal("reading a row", "password=hunter2");
        assert!(!problem.body().detail.contains("hunter2"));
    }
}
