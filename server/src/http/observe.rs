//! What is known about each request afterwards: a span with an id, a log line, metrics; and the
//! headers every answer carries.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use metrics::{Counter, Histogram};
use tracing::Instrument;
use uuid::Uuid;

use super::methods::{RequestLabels, Routes};
use super::problem::Problem;
use super::state::State;

/// Names a request in the answer and in the log.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a handler may take until it has an answer; the bodies of uploads and answers are not
/// bound by it.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Wraps a request in a span, logs and counts its answer, and adds what every answer carries. The query is left out: it may hold a
/// ticket or a signature.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = Uuid::now_v7();
    let method = request.method().clone();
    let routes = request.app_data::<web::Data<Routes>>().cloned();
    let labels = match &routes {
        Some(routes) => routes.labels(request.path(), &method),
        None => RequestLabels::unmatched(&method),
    };
    let state = request.app_data::<web::Data<State>>();
    let client = state.and_then(|state| state.forwarding.client(request.request())).map(tracing::field::display);
    let span = tracing::info_span!(
        "request",
        %id,
        %method,
        path = request.path(),
        client,
        tenant = tracing::field::Empty,
        user = tracing::field::Empty
    );
    let answer = next.call(request).instrument(span.clone()).await;

    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let seconds = started.elapsed().as_secs_f64();
    count(labels, status.as_u16(), seconds);
    span.in_scope(|| tracing::info!(status = status.as_u16(), seconds, "answered"));

    let mut response = answer?;
    let id = HeaderValue::try_from(id.to_string()).expect("a UUID makes a header value");
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    harden(response.headers_mut());
    Ok(response)
}

/// The metrics of one method of a route.
struct Figures {
    seconds: Histogram,
    /// By status: there are few.
    answers: Vec<(u16, Counter)>,
}

thread_local! {
    /// Metrics that this worker has looked up before, by method and route: looking them up by their labels costs more
    /// than counting.
    static FIGURES: RefCell<HashMap<&'static str, HashMap<String, Figures>>> = RefCell::default();
}

/// Counts an answer.
fn count(labels: RequestLabels<'_>, status: u16, seconds: f64) {
    FIGURES.with_borrow_mut(|figures| {
        let RequestLabels { route, method } = labels;
        if let Some(found) = figures.get_mut(method).and_then(|routes| routes.get_mut(route)) {
            return found.count(labels, status, seconds);
        }
        let histogram =
            metrics::histogram!("touchline_http_request_seconds", "method" => method, "route" => route.to_owned());
        let mut new = Figures { seconds: histogram, answers: Vec::new() };
        new.count(labels, status, seconds);
        figures.entry(method).or_default().insert(route.to_owned(), new);
    });
}

impl Figures {
    fn count(&mut self, RequestLabels { route, method }: RequestLabels<'_>, status: u16, seconds: f64) {
        self.seconds.record(seconds);
        let found = self.answers.iter().find(|(known, _)| *known == status);
        if let Some((_, counter)) = found {
            return counter.increment(1);
        }
        let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
        let counter = metrics::counter!("touchline_http_requests_total", &labels);
        counter.increment(1);
        self.answers.push((status, counter));
    }
}

/// Adds the headers that keep browsers from guessing, framing and keeping, where an answer has no others.
fn harden(headers: &mut HeaderMap) {
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

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use utoipa::openapi::OpenApi;

    use super::*;

    /// Every status that any answer has.
    const STATUSES: [u16; 28] = [
        101, 200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 415, 416, 422,
        423, 429, 460, 500, 503, 507,
    ];

    #[test]
    fn no_traffic_makes_the_metrics_of_requests_long() {
        let document: OpenApi = crate::http::openapi();
        let routes = Routes::of(&document).unwrap();
        let recorder = PrometheusBuilder::new().set_buckets(&super::super::metrics::SECONDS).unwrap().build_recorder();
        let shown = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let paths = document.paths.paths.keys().map(String::as_str).chain(["/nowhere"]);
            let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
            let invented = (0..100).map(|number| format!("M{number}"));
            let methods: Vec<_> = known.into_iter().map(str::to_owned).chain(invented).collect();
            for (path, method) in paths.flat_map(|path| methods.iter().map(move |method| (path, method))) {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                STATUSES.iter().for_each(|status| count(routes.labels(path, &method), *status, 0.01));
            }
        });
        let text = shown.render();
        assert!(text.contains("method=\"other\"") && text.contains("route=\"unmatched\""), "{text}");
        assert!(text.len() < 1_000_000, "{} bytes", text.len());
    }
}
