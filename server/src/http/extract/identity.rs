//! Who a principal is.

use std::fmt;

use entities::{ApiKeyId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who acts for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// A user of this deployment.
    User(UserId),
    /// A program that holds an API key.
    Key(ApiKeyId),
    /// A user of a foreign issuer.
    Foreign {
        /// Issuer and subject as one id.
        subject: Uuid,
        /// Until when, in seconds since 1970.
        until: i64,
    },
}

impl Identity {
    /// The same without the end of a foreign token: all of a user's tokens are one user's.
    pub fn without_end(self) -> Self {
        match self {
            Self::Foreign { subject, .. } => Self::Foreign { subject, until: 0 },
            own => own,
        }
    }
}

/// As logs name it.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Key(id) => write!(f, "key {id}"),
            Self::Foreign { subject, .. } => write!(f, "foreign {subject}"),
        }
    }
}
