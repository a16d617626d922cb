//! Typed ids: UUIDv7, so that they sort by time of creation.

use std::{fmt, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, DeriveValueType, ToSchema,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, greater than all made before by this process.
            #[expect(clippy::new_without_default, reason = "a default suggests equal values")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID itself.
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        // SeaORM asks this of every primary key; only auto-incremented ones use it.
        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    };
}

typed_id!(/// A deployment: one database and the storage that belongs to it.
    DeploymentId);
typed_id!(/// A customer.
    TenantId);
typed_id!(/// A person who logs in.
    UserId);
typed_id!(/// A credential of a program.
    ApiKeyId);
typed_id!(/// A refresh token.
    TokenId);
typed_id!(/// A line of refresh tokens that came from one login.
    TokenFamily);
typed_id!(/// A video; an upload has the id of the video it becomes.
    VideoId);
typed_id!(/// An export.
    ExportId);
typed_id!(/// A durable job.
    JobId);
typed_id!(/// A signed link.
    LinkId);
typed_id!(/// A marked clip.
    ClipId);
typed_id!(/// A reel.
    ReelId);
typed_id!(/// An entry of the audit log.
    AuditId);
typed_id!(/// A webhook.
    WebhookId);
typed_id!(/// An event on its way to a webhook.
    DeliveryId);
