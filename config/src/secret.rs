//! Values that must not be shown.

use std::fmt;

use serde::Deserialize;

/// A secret text. It is neither printed nor serialised; [`Secret::expose`] is the only way to it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; `None` when it is empty, which means "not given".
    pub fn expose(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|s| !s.is_empty())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}

/// A URL fit for logs and answers: its password, if it has one, is `***`. A password that should have been percent-encoded,
/// as it has an `@` or a `/`, is hidden whole, too.
///
/// ```
/// assert_eq!(config::redact_url("postgres://me:pw@host/db"), "postgres://me:***@host/db");
/// ```
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // At the last `@`: what stands before an earlier one, or after an earlier `/`, may be a part of the password.
    match rest.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((name, _)), host)) => format!("{scheme}://{name}:***@{host}"),
        _ => url.to_owned(),
    }
}

/// Serialises a URL without its password.
pub(crate) fn serialize_url<S: serde::Serializer>(url: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&redact_url(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_shown() {
        for (url, shown) in [
            ("postgres://me:p@ss@host/db", "postgres://me:***@host/db"),
            ("postgres://me:p/s?s@host/db", "postgres://me:***@host/db"),
            ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
            ("postgres://me@host:5432/db", "postgres://me@host:5432/db"),
            ("sqlite:///data/touchline.db", "sqlite:///data/touchline.db"),
            ("no URL", "no URL"),
        ] {
            assert_eq!(redact_url(url), shown, "{url}");
        }
    }
}
