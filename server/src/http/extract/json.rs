//! JSON bodies. Takes the place of [`web::Json`], and refuses texts that cannot be stored.

use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::error::JsonPayloadError::{self, ContentType, Deserialize, Overflow, OverflowKnownLength};
use actix_web::http::StatusCode;
use actix_web::{Error, FromRequest, HttpRequest, web};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::texts;
use crate::http::problem::Problem;

/// The longest JSON body, in bytes: room for a reel, which has two specs. One spec has a bound of its own.
const LONGEST: usize = 2 * edits::spec::limits::MAX_BYTES + (64 << 10);

/// A body of JSON.
pub struct Json<T>(pub T);

impl<T> Json<T> {
    /// What the body says.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let raw = web::Json::<Box<RawValue>>::from_request(request, payload);
        async move { Ok(Self(read(raw.await?.get().as_bytes())?)) }.boxed_local()
    }
}

/// Reads a body that has arrived.
///
/// # Errors
/// 400 when it is no JSON, 422 when it is not what the call takes or has texts that cannot be stored.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    texts::check_json(json)?;
    serde_json::from_slice(json).map_err(Problem::unreadable_json)
}

/// How bodies are read, and how those that cannot be are refused.
pub fn config() -> web::JsonConfig {
    web::JsonConfig::default().limit(LONGEST).error_handler(|error, _| refusal(error).into())
}

fn refusal(error: JsonPayloadError) -> Problem {
    match error {
        ContentType => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body has to be JSON, with Content-Type: application/json",
        ),
        Overflow { .. } | OverflowKnownLength { .. } => {
            Problem::too_large(format!("the body is longer than {LONGEST} bytes"))
        }
        Deserialize(error) => Problem::unreadable_json(error),
        other => Problem::bad_request("malformed_json", format!("the body cannot be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        name: String,
    }

    async fn status(content_type: &'static str, body: &'static str) -> u16 {
        let request = TestRequest::default().app_data(config()).insert_header(("content-type", content_type));
        let (request, mut payload) = request.set_payload(body).to_http_parts();
        match Json::<Body>::from_request(&request, &mut payload).await {
            Ok(body) => {
                assert_eq!(body.name, "derby");
                200
            }
            Err(error) => error.as_response_error().status_code().as_u16(),
        }
    }

    #[actix_web::test]
    async fn a_body_is_read_or_refused() {
        let json = "application/json";
        assert_eq!(status(json, r#"{"name": "derby"}"#).await, 200);
        assert_eq!(status(json, r#"{"name": "der\u0062y"}"#).await, 200);
        assert_eq!(status("text/plain", r#"{"name": "derby"}"#).await, 415);
        for malformed in ["", "{", r#"{"name": "derby"}}"#, "{\"name\": \"\0\"}", r#"{"name": "\ud800"#] {
            assert_eq!(status(json, malformed).await, 400, "{malformed:?}");
        }
        for wrong in [r#"{"name": 1}"#, r#"{"nome": "derby"}"#, r#"{"name": "\u0000"}"#, r#"{"name": "\udfff"}"#] {
            assert_eq!(status(json, wrong).await, 422, "{wrong}");
        }
    }
}
