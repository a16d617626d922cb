//! The header language of tus 1.0, resumable uploads (<https://tus.io/protocols/resumable-upload>).
//!
//! Extensions spoken: creation, creation-with-upload, checksum, expiration, termination.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::extract::{storable, unstorable};
use super::problem::Problem;

/// The protocol version spoken.
pub const VERSION: &str = "1.0.0";
/// The extensions spoken.
pub const EXTENSIONS: &str = "creation,creation-with-upload,checksum,expiration,termination";
/// The media type of a piece.
pub const OFFSET_STREAM: &str = "application/offset+octet-stream";

/// `Tus-Resumable`: the version in use, on every request and answer but `OPTIONS` requests.
pub const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
/// `Tus-Version`: the versions the server speaks.
pub const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
/// `Tus-Extension`: the extensions the server speaks.
pub const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
/// `Tus-Checksum-Algorithm`: the digests a piece may be checked by.
pub const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
/// `Upload-Checksum`: the digest of this piece.
pub const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
/// `Tus-Max-Size`: the largest upload, in bytes.
pub const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
/// `Upload-Length`: bytes of the whole upload.
pub const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// `Upload-Defer-Length`: asks to tell the length later, which is not offered.
pub const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
/// `Upload-Offset`: bytes the server holds.
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// `Upload-Metadata`: names and base64 values.
pub const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
/// `Upload-Expires`: when an unfinished upload goes, an HTTP date.
pub const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

/// The longest `Upload-Metadata` kept, in bytes.
const LONGEST_METADATA: usize = 4096;
/// The longest file name kept, in characters.
const LONGEST_NAME: usize = 255;

/// Adds `Tus-Resumable` to a refusal, as the protocol wants on every answer.
pub fn refusal(problem: Problem) -> Problem {
    problem.header(TUS_RESUMABLE, HeaderValue::from_static(VERSION))
}

/// Checks the client's protocol version.
///
/// # Errors
/// 412 with `Tus-Version` when it is missing or another one.
pub fn check_version(request: &HttpRequest) -> Result<(), Problem> {
    match request.headers().get(&TUS_RESUMABLE).and_then(|value| value.to_str().ok()) {
        Some(VERSION) => Ok(()),
        _ => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "tus_version",
            format!("uploads speak tus {VERSION}; send Tus-Resumable: {VERSION}"),
        )
        .header(TUS_VERSION, HeaderValue::from_static(VERSION))),
    }
}

/// Checks that the body is announced as a piece of an upload.
///
/// # Errors
/// 415 when the content type is another one.
pub fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    if is_piece(request.headers()) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("a piece of an upload has Content-Type: {OFFSET_STREAM}"),
    ))
}

/// Whether the body is announced as a piece of an upload.
pub fn is_piece(headers: &HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(OFFSET_STREAM.as_bytes()))
}

/// Reads `Upload-Offset`.
///
/// # Errors
/// 400 when it is missing or no number.
pub fn offset(headers: &HeaderMap) -> Result<u64, Problem> {
    number(headers, &UPLOAD_OFFSET)?.ok_or_else(|| Problem::bad_request("upload_offset", "Upload-Offset is missing"))
}

/// Reads `Upload-Length`.
///
/// # Errors
/// 400 when it is missing (a deferred length is not offered) or no number.
pub fn length(headers: &HeaderMap) -> Result<u64, Problem> {
    if headers.contains_key(&UPLOAD_DEFER_LENGTH) {
        return Err(Problem::bad_request("upload_length", "a deferred length is not offered; send Upload-Length"));
    }
    number(headers, &UPLOAD_LENGTH)?.ok_or_else(|| Problem::bad_request("upload_length", "Upload-Length is missing"))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value
        .to_str()
        .ok()
        // `parse` alone would take "+5".
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        // Sizes are kept as signed 64-bit integers.
        .filter(|number| i64::try_from(*number).is_ok())
        .map(Some)
        .ok_or_else(|| Problem::bad_request("bad_header", format!("{name} is not a number of bytes")))
}

/// The names of the digests.
pub const CHECKSUM_ALGORITHMS: &str = "sha1,sha256";

/// What a piece has to add up to: the digest so far, and the one that was announced.
pub struct Checksum {
    digest: Digest,
    announced: Vec<u8>,
}

enum Digest {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Checksum {
    /// Reads `Upload-Checksum`, if there is one: an algorithm and the digest in base64.
    ///
    /// # Errors
    /// 400 when it is not of that form or names another algorithm.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get(&UPLOAD_CHECKSUM) else { return Ok(None) };
        let read = value.to_str().ok().and_then(|text| {
            let (algorithm, announced) = text.trim().split_once(' ')?;
            let digest = match algorithm {
                "sha1" => Digest::Sha1(Sha1::new()),
                "sha256" => Digest::Sha256(Sha256::new()),
                _ => return None,
            };
            Some(Self { digest, announced: STANDARD.decode(announced.trim()).ok()? })
        });
        read.map(Some).ok_or_else(|| {
            let detail = format!("Upload-Checksum is one of {CHECKSUM_ALGORITHMS}, a blank and the digest in base64");
            Problem::bad_request("upload_checksum", detail)
        })
    }

    /// Adds bytes of the piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.digest {
            Digest::Sha1(digest) => digest.update(bytes),
            Digest::Sha256(digest) => digest.update(bytes),
        }
    }

    /// Whether the bytes are those that were announced.
    pub fn holds(self) -> bool {
        match self.digest {
            Digest::Sha1(digest) => digest.finalize().as_slice() == self.announced,
            Digest::Sha256(digest) => digest.finalize().as_slice() == self.announced,
        }
    }
}

/// 460, as the protocol numbers it: the piece is not what its sender meant, and does not count.
pub fn checksum_mismatch() -> Problem {
    let status = StatusCode::from_u16(460).expect("460 is a status code");
    Problem::new(status, "checksum_mismatch", "the piece does not have its Upload-Checksum; send it again")
}

/// What `Upload-Metadata` says.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The header as it came, to be echoed by `HEAD`.
    pub raw: String,
    /// The value of `filename` (or `name`), without folders.
    pub filename: Option<String>,
}

impl Metadata {
    /// Reads the header: pairs of a key and a base64 value, separated by commas; a value may be
    /// missing.
    ///
    /// # Errors
    /// 400 when it is not of that form, has a key twice, or is longer than 4 KiB; 422 when a value is no text, or one
    /// with U+0000.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(&UPLOAD_METADATA) else { return Ok(Self::default()) };
        let malformed =
            || Problem::bad_request("upload_metadata", "Upload-Metadata is not a list of keys and base64 values");
        Self::parse(value.to_str().map_err(|_| malformed())?, malformed)
    }

    /// As it is kept in the upload's row.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }

    /// As it was kept; what cannot be read says nothing.
    pub fn from_json(kept: &serde_json::Value) -> Self {
        Self::deserialize(kept).unwrap_or_default()
    }

    fn parse(raw: &str, malformed: fn() -> Problem) -> Result<Self, Problem> {
        if raw.len() > LONGEST_METADATA {
            return Err(malformed());
        }
        let mut metadata = Self { raw: raw.to_owned(), filename: None };
        let mut keys = std::collections::HashSet::new();
        for pair in raw.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = STANDARD.decode(value.trim()).map_err(|_| malformed())?;
            if !keys.insert(key) {
                return Err(malformed());
            }
            let value = storable(value).ok_or_else(|| unstorable(&format!("/{key}")))?;
            if key == "filename" || (key == "name" && metadata.filename.is_none()) {
                metadata.filename = base_name(&value);
            }
        }
        Ok(metadata)
    }
}

/// The last part of a path of any system, printable and of bounded length.
fn base_name(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let name: String = name.chars().filter(|char| !char.is_control()).take(LONGEST_NAME).collect();
    let name = name.trim();
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        TestRequest::default().insert_header((name, value)).to_http_request().headers().clone()
    }

    fn parse(raw: &str) -> Result<Metadata, Problem> {
        Metadata::from_headers(&headers(UPLOAD_METADATA, raw))
    }

    #[test]
    fn metadata_gives_the_file_name_without_folders() {
        let encoded = STANDARD.encode("C:\\clips\\derby.mp4");
        let metadata = parse(&format!("filetype dmlkZW8vbXA0,filename {encoded},is_confidential")).unwrap();
        assert_eq!(metadata.filename.as_deref(), Some("derby.mp4"));
    }

    #[test]
    fn filename_wins_over_name_wherever_it_stands() {
        let (a, b) = (STANDARD.encode("a.mp4"), STANDARD.encode("b.mp4"));
        for raw in [format!("filename {a},name {b}"), format!("name {b},filename {a}")] {
            assert_eq!(parse(&raw).unwrap().filename.as_deref(), Some("a.mp4"));
        }
    }

    #[test]
    fn malformed_metadata_is_refused() {
        for raw in ["filename not-base64!", "a YQ==,a YQ==", &format!("a {}", "A".repeat(LONGEST_METADATA))] {
            assert_eq!(parse(raw).unwrap_err().status(), 400, "{raw}");
        }
        for text in [&b"a\0b"[..], b"\xed\xa0\x80", b"\xff"] {
            let problem = parse(&format!("filetype YQ==,filename {}", STANDARD.encode(text))).unwrap_err();
            assert_eq!((problem.status().as_u16(), &*problem.body().errors[0].pointer), (422, "/filename"), "{text:?}");
        }
    }

    #[test]
    fn a_name_of_nothing_but_path_is_no_name() {
        for path in ["..", "a/", "/", "\u{7}", "  "] {
            assert_eq!(base_name(path), None, "{path:?}");
        }
    }

    #[test]
    fn numbers_are_plain_digits_in_range() {
        assert_eq!(offset(&headers(UPLOAD_OFFSET, "42")).unwrap(), 42);
        for bad in ["+5", "-1", "1e3", "", "99999999999999999999", "9223372036854775808"] {
            assert_eq!(offset(&headers(UPLOAD_OFFSET, bad)).unwrap_err().status(), 400, "{bad:?}");
        }
        assert_eq!(offset(&HeaderMap::new()).unwrap_err().status(), 400);
        assert_eq!(length(&headers(UPLOAD_DEFER_LENGTH, "1")).unwrap_err().status(), 400);
    }

    #[test]
    fn a_piece_adds_up_to_its_checksum_or_does_not() {
        // RFC 3174 and FIPS 180-4: the digests of "abc".
        for announced in ["sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="] {
            let read = || Checksum::from_headers(&headers(UPLOAD_CHECKSUM, announced)).unwrap().unwrap();
            let mut right = read();
            right.update(b"a");
            right.update(b"bc");
            assert!(right.holds(), "{announced}");
            let mut wrong = read();
            wrong.update(b"abd");
            assert!(!wrong.holds(), "{announced}");
        }
        assert!(Checksum::from_headers(&HeaderMap::new()).unwrap().is_none());
        for bad in ["sha1", "md5 abc=", "sha1 ?", ""] {
            assert!(Checksum::from_headers(&headers(UPLOAD_CHECKSUM, bad)).is_err(), "{bad:?}");
        }
        assert_eq!(checksum_mismatch().status().as_u16(), 460);
    }

    #[test]
    fn another_protocol_version_is_412_and_names_ours() {
        let right = TestRequest::default().insert_header((TUS_RESUMABLE, VERSION)).to_http_request();
        assert!(check_version(&right).is_ok());
        let wrong = TestRequest::default().insert_header((TUS_RESUMABLE, "0.2.2")).to_http_request();
        let problem = check_version(&wrong).unwrap_err();
        assert_eq!(problem.status(), 412);
        let response = actix_web::ResponseError::error_response(&problem);
        assert_eq!(response.headers().get(&TUS_VERSION).unwrap(), VERSION);
    }
}
