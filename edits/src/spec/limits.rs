//! How much one request may ask for. Judged before the request is read, at a cost that is linear in its length.

use std::io::{self, Write};

use serde_json::Value;

use super::reader::{Errors, Object};

/// Most bytes of a request, as JSON without spaces between its tokens.
pub const MAX_BYTES: usize = 1 << 20;
/// Most keyframes of a request, in all of its clips or regions together.
pub const MAX_KEYFRAMES: usize = 10_000;

/// Whether a request has more than [`MAX_BYTES`]. What is beyond them is not looked at.
pub fn is_too_long(request: &Value) -> bool {
    serde_json::to_writer(Room(MAX_BYTES), request).is_err()
}

/// Takes so many bytes and fails at one more.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the keyframes, in the lists named `keyframes` of the objects of `list`, are no more than [`MAX_KEYFRAMES`];
/// an error at `name`, the list's own name, where they are more.
pub(super) fn check_keyframes(
    object: &Object,
    name: &str,
    list: &[Value],
    keyframes: &str,
    errors: &mut Errors,
) -> bool {
    let found: usize = list.iter().filter_map(|value| value.get(keyframes)?.as_array()).map(Vec::len).sum();
    if found > MAX_KEYFRAMES {
        let detail = format!("`{name}` have {found} keyframes in all; at most {MAX_KEYFRAMES} are allowed");
        errors.push(object.at(name), "too_many", detail);
    }
    found <= MAX_KEYFRAMES
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_byte_that_fits_is_allowed() {
        let of = |bytes: usize| json!("x".repeat(bytes - 2));
        assert!(!is_too_long(&of(MAX_BYTES)));
        assert!(is_too_long(&of(MAX_BYTES + 1)));
        assert!(is_too_long(&json!(vec![0; MAX_BYTES])));
    }
}
