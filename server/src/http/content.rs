//! Files and ready-made bytes as answers: validators, ranges, names (RFC 9110 §8.8, §13, §14).

use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::path::PathBuf;

use actix_web::body::SizedStream;
use actix_web::http::header::{
    self, ContentDisposition, DispositionParam, DispositionType, EntityTag, IfNoneMatch, IfRange, Range,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use utoipa::IntoResponses;
use utoipa::openapi::{Content, RefOr, Response, ResponseBuilder};

use super::problem::Problem;

/// How much of a file is read at a time.
const CHUNK: usize = 128 * 1024;

/// Whether the client already has the representation that `etag` names.
pub fn is_known(request: &HttpRequest, etag: &EntityTag) -> bool {
    if !request.headers().contains_key(header::IF_NONE_MATCH) {
        return false;
    }
    match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(known)) => known.iter().any(|tag| tag.weak_eq(etag)),
        None => false,
    }
}

/// A strong entity tag from text that may or may not have its quotes yet.
pub fn strong_tag(text: &str) -> EntityTag {
    EntityTag::new_strong(text.trim_matches('"').to_owned())
}

/// 304 for what the client has already.
pub fn not_modified(etag: &EntityTag) -> HttpResponse {
    HttpResponse::NotModified()
        .insert_header(header::ETag(etag.clone()))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .finish()
}

/// The answers that carry a stored file, in the OpenAPI document.
pub struct FileAnswers;

/// The media types of stored files: videos by their names' endings, results, and the JSON of detection exports.
const MEDIA_TYPES: [&str; 8] = [
    "video/mp4",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
    "video/x-msvideo",
    "video/mp2t",
    "application/octet-stream",
    "application/json",
];

impl IntoResponses for FileAnswers {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let file = |(status, description): (&str, &str)| {
            let response = MEDIA_TYPES
                .into_iter()
                .fold(ResponseBuilder::new(), |response, media_type| response.content(media_type, Content::default()));
            (status.to_owned(), RefOr::T(response.description(description).build()))
        };
        [("200", "the file"), ("206", "a range of it")].into_iter().map(file).collect()
    }
}

/// A stored file about to be sent.
pub struct StoredFile {
    /// Where it lies on this machine.
    pub path: PathBuf,
    /// Its strong validator.
    pub etag: EntityTag,
    /// Its media type.
    pub content_type: &'static str,
    /// The name a download gets.
    pub name: String,
    /// Ask browsers to save rather than to show.
    pub download: bool,
}

impl StoredFile {
    /// Answers `GET` and `HEAD`, with `Range` (one range; several are answered whole, as RFC 9110
    /// allows), `If-Range` and `If-None-Match`.
    ///
    /// # Errors
    /// 416 when the range lies outside the file, 404 when the file is gone.
    pub async fn answer(self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        if is_known(request, &self.etag) {
            return Ok(not_modified(&self.etag));
        }
        let mut file = File::open(&self.path).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Problem::not_found("file"),
            _ => Problem::internal("opening a stored file", error),
        })?;
        let length = file.metadata().await.map_err(|error| Problem::internal("reading a file's size", error))?.len();
        let range = wanted_range(request, &self.etag, length)?;
        let (first, count) = range.map_or((0, length), |(first, last)| (first, last - first + 1));

        let mut response =
            HttpResponse::build(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        response
            .insert_header((header::CONTENT_TYPE, self.content_type))
            .insert_header((header::ACCEPT_RANGES, "bytes"))
            .insert_header((header::CACHE_CONTROL, "private, no-cache"))
            .insert_header(header::ETag(self.etag))
            .insert_header(disposition(&self.name, self.download));
        if let Some((first, last)) = range {
            response.insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}")));
        }
        if request.method() == Method::HEAD {
            return Ok(response.body(SizedStream::new(count, stream::empty::<std::io::Result<Bytes>>())));
        }
        file.seek(SeekFrom::Start(first))
            .await
            .map_err(|error| Problem::internal("seeking in a stored file", error))?;
        Ok(response.body(SizedStream::new(count, chunks(file, count))))
    }
}

/// The range to send: inclusive ends, or `None` for the whole file.
fn wanted_range(request: &HttpRequest, etag: &EntityTag, length: u64) -> Result<Option<(u64, u64)>, Problem> {
    if request.method() != Method::GET || !request.headers().contains_key(header::RANGE) {
        return Ok(None);
    }
    if request.headers().contains_key(header::IF_RANGE) {
        let still_valid =
            matches!(request.get_header::<IfRange>(), Some(IfRange::EntityTag(tag)) if tag.strong_eq(etag));
        if !still_valid {
            return Ok(None);
        }
    }
    let Some(Range::Bytes(ranges)) = request.get_header::<Range>() else { return Ok(None) };
    let [range] = ranges.as_slice() else { return Ok(None) };
    range.to_satisfiable_range(length).map(Some).ok_or_else(|| {
        let whole = header::HeaderValue::try_from(format!("bytes */{length}")).expect("digits make a header value");
        Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", format!("the file has {length} bytes"))
            .header(header::CONTENT_RANGE, whole)
    })
}

/// `Content-Disposition` with an ASCII name, and the real one for clients that read RFC 8187.
fn disposition(name: &str, download: bool) -> ContentDisposition {
    let plain: String =
        name.chars()
            .map(|char| {
                if char.is_ascii_graphic() && !matches!(char, '"' | '\\' | '%' | ';') || char == ' ' {
                    char
                } else {
                    '_'
                }
            })
            .collect();
    let mut parameters = vec![DispositionParam::Filename(plain.clone())];
    if plain != name {
        parameters.push(DispositionParam::FilenameExt(header::ExtendedValue {
            charset: header::Charset::Ext("UTF-8".to_owned()),
            language_tag: None,
            value: name.as_bytes().to_vec(),
        }));
    }
    let disposition = if download { DispositionType::Attachment } else { DispositionType::Inline };
    ContentDisposition { disposition, parameters }
}

/// Reads `count` bytes from where the file stands; each read runs on tokio's blocking pool.
fn chunks(file: File, count: u64) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((file, count), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut buffer = BytesMut::with_capacity(CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)));
        let read = (&mut file).take(left).read_buf(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was sent",
            ));
        }
        Ok(Some((buffer.freeze(), (file, left - read as u64))))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    async fn ask(request: TestRequest) -> Result<HttpResponse, Problem> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = StoredFile {
            path,
            etag: strong_tag("abc"),
            content_type: "video/mp4",
            name: "Tor \"1\" – Müller.mp4".to_owned(),
            download: true,
        };
        file.answer(&request.to_http_request()).await
    }

    async fn body(response: HttpResponse) -> Bytes {
        to_bytes(response.into_body()).await.map_err(|_| "body").unwrap()
    }

    #[actix_web::test]
    async fn the_whole_file_has_its_validator_and_name() {
        let response = ask(TestRequest::get()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get("etag").unwrap(), "\"abc\"");
        assert_eq!(response.headers().get("accept-ranges").unwrap(), "bytes");
        let name = response.headers().get("content-disposition").unwrap().to_str().unwrap();
        assert!(name.starts_with("attachment; filename=\"Tor _1_ _ M_ller.mp4\"; filename*=UTF-8''"), "{name}");
        assert_eq!(body(response).await, "0123456789");
    }

    #[actix_web::test]
    async fn ranges_of_every_form() {
        for (range, content_range, bytes) in [
            ("bytes=2-4", "bytes 2-4/10", "234"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-3", "bytes 7-9/10", "789"),
            ("bytes=5-99", "bytes 5-9/10", "56789"),
        ] {
            let response = ask(TestRequest::get().insert_header(("range", range))).await.unwrap();
            assert_eq!(response.status(), 206, "{range}");
            assert_eq!(response.headers().get("content-range").unwrap(), content_range);
            assert_eq!(body(response).await, bytes);
        }
    }

    #[actix_web::test]
    async fn a_range_past_the_end_is_416() {
        let problem = ask(TestRequest::get().insert_header(("range", "bytes=10-"))).await.unwrap_err();
        assert_eq!(problem.status(), 416);
        let response = actix_web::ResponseError::error_response(&problem);
        assert_eq!(response.headers().get("content-range").unwrap(), "bytes */10");
    }

    #[actix_web::test]
    async fn if_range_and_nonsense_fall_back_to_the_whole() {
        for headers in [[("range", "bytes=2-4"), ("if-range", "\"old\"")], [("range", "lines=1-2"), ("x-none", "")]] {
            let request = headers.into_iter().fold(TestRequest::get(), TestRequest::insert_header);
            assert_eq!(ask(request).await.unwrap().status(), 200);
        }
        let request = TestRequest::get().insert_header(("range", "bytes=2-4")).insert_header(("if-range", "\"abc\""));
        assert_eq!(ask(request).await.unwrap().status(), 206);
    }

    #[actix_web::test]
    async fn a_known_file_is_304() {
        let response = ask(TestRequest::get().insert_header(("if-none-match", "\"x\", W/\"abc\""))).await.unwrap();
        assert_eq!(response.status(), 304);
        assert_eq!(body(response).await, "");
    }
}
