//! The middleware that refuses requests which come too fast.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::problem::Problem;
use super::state::State;

/// Refuses a request that comes too fast. Runs after [`super::extract::authenticate`].
pub async fn limit_rate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let state = request.app_data::<web::Data<State>>().cloned();
    let state = state.ok_or_else(|| Problem::internal("limiting requests", "the server's state is missing"))?;
    let Some(limited) = state.rates.count(&state.node, &request).await? else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    if let Some(refusal) = limited.refusal() {
        metrics::counter!("touchline_requests_refused_total", "limit" => limited.name).increment(1);
        // An answer like any other: an error would pass by the middleware that adds headers for browsers.
        return Ok(request.error_response(refusal).map_into_right_body());
    }
    let mut response = next.call(request).await?;
    add_headers(response.headers_mut(), limited.headers());
    Ok(response.map_into_left_body())
}

fn add_headers(answer: &mut HeaderMap, headers: [(HeaderName, HeaderValue); 2]) {
    for (name, value) in headers {
        answer.insert(name, value);
    }
}
