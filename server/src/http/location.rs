//! The header `Location` of answers, behind a public URL.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::problem::Problem;
use super::state::State;

/// Lets `Location` begin with the public URL where one is configured. Without one it stays relative: a client resolves
/// it against the address that it used itself.
pub async fn locate(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let state = request.app_data::<web::Data<State>>().cloned();
    let mut response = next.call(request).await?;
    let base = state.as_ref().and_then(|state| state.forwarding.public_url.as_deref());
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    if let (Some(base), Some(path)) = (base, location.filter(|location| location.starts_with('/'))) {
        let absolute = HeaderValue::try_from(format!("{base}{path}"));
        let absolute = absolute.map_err(|error| Problem::internal("writing Location", error))?;
        response.headers_mut().insert(header::LOCATION, absolute);
    }
    Ok(response)
}
