//! What is known about each request afterwards: a span with an id, a log line, metrics; and the
//! headers every answer carries.

use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::Instrument;
use uuid::Uuid;

use super::problem::Problem;

/// Names a request in the answer and in the log.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a handler may take until it has an answer; the bodies of uploads and answers are not
/// bound by it.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Wraps a request in a span, logs and counts its answer. The query is left out: it may hold a
/// ticket or a signature.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = Uuid::now_v7();
    let method = request.method().clone();
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let span = tracing::info_span!(
        "request", %id, %method, path = request.path(), tenant = tracing::field::Empty, user = tracing::field::Empty
    );
    let answer = next.call(request).instrument(span.clone()).await;

    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let seconds = started.elapsed().as_secs_f64();
    let labels = [("method", method.to_string()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("touchline_http_requests_total", &labels).increment(1);
    metrics::histogram!("touchline_http_request_seconds", &labels[..2]).record(seconds);
    span.in_scope(|| tracing::info!(status = status.as_u16(), seconds, "answered"));

    let mut response = answer?;
    let id = HeaderValue::try_from(id.to_string()).expect("a UUID makes a header value");
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    Ok(response)
}

/// Adds the headers that keep browsers from guessing, framing and keeping.
pub async fn harden(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    let mut default = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::X_FRAME_OPTIONS, "DENY");
    default(header::REFERRER_POLICY, "no-referrer");
    default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    default(header::CACHE_CONTROL, "no-store");
    Ok(response)
}

/// Gives up on a request that has no answer in time, unless it is one that writes an upload.
pub async fn limit_time(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let writes_upload =
        request.path().starts_with("/api/v1/uploads") && matches!(*request.method(), Method::PATCH | Method::POST);
    if writes_upload {
        return next.call(request).await;
    }
    tokio::time::timeout(ANSWER_WITHIN, next.call(request))
        .await
        .unwrap_or_else(|_| Err(Problem::unavailable("timeout", "the request took too long").into()))
}
