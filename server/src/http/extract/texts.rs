//! Texts that cannot be stored: those with U+0000, which PostgreSQL has not, and those with a surrogate that has no
//! partner, which no UTF-8 has. They are refused wherever they arrive, so that every database answers the same.

use edits::FieldError;
use serde_json::Value;

use crate::http::problem::Problem;

/// The hexadecimal digits of [`MARK`], which take the place of those of a refused character.
const MARK_DIGITS: &[u8] = b"fdd0";
/// A character that no text means anything by (a noncharacter of Unicode).
const MARK: char = '\u{fdd0}';
/// Faults that are listed at most.
const MOST_FAULTS: usize = 100;

/// Checks the texts of a JSON document, keys among them.
///
/// # Errors
/// 422 with the JSON pointers of the texts that cannot be stored; for a key, that of its object. 400 when such a
/// document is no JSON otherwise.
pub fn check_json(json: &[u8]) -> Result<(), Problem> {
    // Nearly always there is no such escape, and nothing else has to be read.
    let Some(marked) = marked(json) else { return Ok(()) };
    let document: Value = serde_json::from_slice(&marked).map_err(Problem::unreadable_json)?;
    let mut found = Vec::new();
    collect(&document, &mut String::new(), &mut found);
    Err(refusal(found))
}

/// Checks names and values of a query string, percent-encoded as `application/x-www-form-urlencoded`.
///
/// # Errors
/// 422 with a pointer to each parameter that cannot be stored, as if they were the members of an object; for a name,
/// that of the whole.
pub fn check_query(query: &str) -> Result<(), Problem> {
    let mut found = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = storable(decoded(name)) else {
            found.push(fault(""));
            continue;
        };
        if storable(decoded(value)).is_none() {
            found.push(fault(&format!("/{}", escaped(&name))));
        }
    }
    found.truncate(MOST_FAULTS);
    if found.is_empty() { Ok(()) } else { Err(refusal(found)) }
}

/// The text of bytes, where it can be stored.
pub fn storable(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// 422 for a text at `pointer`.
pub fn unstorable(pointer: &str) -> Problem {
    refusal(vec![fault(pointer)])
}

fn refusal(found: Vec<FieldError>) -> Problem {
    Problem::invalid("invalid_request", "texts have neither U+0000 nor surrogates without a partner", found)
}

fn fault(pointer: &str) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        code: "invalid_text".into(),
        detail: "the text has U+0000, a surrogate without a partner, or bytes that are no UTF-8".into(),
    }
}

/// The document with the marking character in place of each that cannot be stored; `None` where there is none. Valid
/// JSON has backslashes only in texts, so that their context does not matter.
fn marked(json: &[u8]) -> Option<Vec<u8>> {
    let mut marked: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let escape = at + found;
        let Some(unit) = code_unit(json, escape) else {
            at = escape + 2;
            continue;
        };
        at = escape + 6;
        let is_refused = match unit {
            0 | 0xdc00..=0xdfff => true,
            0xd800..=0xdbff if matches!(code_unit(json, at), Some(0xdc00..=0xdfff)) => {
                at += 6;
                false
            }
            0xd800..=0xdbff => true,
            _ => false,
        };
        if is_refused {
            let copy = marked.get_or_insert_with(|| json.to_vec());
            copy[escape + 2..escape + 6].copy_from_slice(MARK_DIGITS);
        }
    }
    marked
}

/// The code unit of the escape `\uXXXX` that begins at `at`, if one does.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    // `from_str_radix` alone would take "+0ff".
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

/// Adds a fault for every marked text below `value`, whose pointer is `pointer`.
fn collect(value: &Value, pointer: &mut String, found: &mut Vec<FieldError>) {
    let length = pointer.len();
    match value {
        _ if found.len() >= MOST_FAULTS => {}
        Value::String(text) if text.contains(MARK) => found.push(fault(pointer)),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                collect(value, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            if members.keys().any(|key| key.contains(MARK)) {
                found.push(fault(pointer));
            }
            for (key, value) in members.iter().filter(|(key, _)| !key.contains(MARK)) {
                pointer.push('/');
                pointer.push_str(&escaped(key));
                collect(value, pointer, found);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// A key as a JSON pointer has it (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Percent-decoded, with `+` for a blank.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [byte, after @ ..] = rest {
        rest = after;
        decoded.push(match (byte, after) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                rest = after;
                (digit(*high).unwrap_or(0) * 16 + digit(*low).unwrap_or(0)) as u8
            }
            (b'+', _) => b' ',
            _ => *byte,
        });
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(checked: Result<(), Problem>) -> Vec<String> {
        let Err(problem) = checked else { return Vec::new() };
        assert_eq!((problem.status().as_u16(), problem.code()), (422, "invalid_request"));
        problem.body().errors.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn every_text_that_cannot_be_stored_has_its_pointer() {
        let json = |text: &str| pointers(check_json(text.as_bytes()));
        assert_eq!(json(r#"{"name": "a\u0000b"}"#), ["/name"]);
        assert_eq!(json(r#"{"a/b": [1, {"~": "\uD800"}, "\udc00"], "c": "\ud83d\ude00"}"#), ["/a~1b/1/~0", "/a~1b/2"]);
        assert_eq!(json(r#""\ud800\ud800\udc00""#), [""]);
        assert_eq!(json(r#"{"a": {"\u0000": "\u0000"}}"#), ["/a"]);
        assert_eq!(json(r#"{"a": "\ud800\n"}"#), ["/a"]);
        for right in [r#"{"a": "\\u0000"}"#, r#"{"a": "\\\\ud800"}"#, r#""\uffff\u0001""#, "{}", "\"\\", "\"\\u00"] {
            assert_eq!(json(right), [""; 0], "{right}");
        }
        let malformed = check_json(br#"{"a": "\u0000""#).unwrap_err();
        assert_eq!(malformed.status().as_u16(), 400, "{malformed}");
        let many = format!("[{}\"\\u0000\"]", "\"\\u0000\",".repeat(1000));
        assert_eq!(json(&many).len(), MOST_FAULTS);
    }

    #[test]
    fn every_parameter_that_cannot_be_stored_has_its_pointer() {
        let query = |text: &str| pointers(check_query(text));
        assert_eq!(query("model=a%00&confidence=0.5&cursor=%ED%A0%80&a%2Fb=%ff"), ["/model", "/cursor", "/a~1b"]);
        assert_eq!(query("%00=1"), [""]);
        assert_eq!(query("model=%2500&name=m%C3%BCller+x&flag&broken=%0"), [""; 0]);
        assert_eq!(query(""), [""; 0]);
    }
}
