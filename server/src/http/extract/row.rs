//! The row that the `{id}` of a path names.

use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use entities::clips::{self, Clip};
use entities::exports::{self, Export};
use entities::reels::{self, Reel};
use entities::videos::{self, Video};
use entities::webhooks::{self, Webhook};
use entities::{ClipId, Database, ExportId, ReelId, SubjectKind, TenantId, VideoId, WebhookId};
use futures_util::future::LocalBoxFuture;

use super::id::Id;
use super::principal::Session;
use crate::http::problem::Problem;
use crate::http::state::State;

/// A row that belongs to one tenant.
pub trait TenantRow: Sized + 'static {
    type Id: FromStr + 'static;
    /// What a 404 calls it.
    const NOUN: &'static str;

    /// The tenant's row of that id.
    fn find(
        db: &Database,
        tenant: TenantId,
        id: Self::Id,
    ) -> impl Future<Output = Result<Option<Self>, entities::Error>>;
}

/// The row that the path's `{id}` names, of the tenant that asks. Another tenant's row is 404, as one that is not there.
/// Comes after the right in a signature, so that 401 and 403 are answered first. A handler with a body takes an [`Id`] and
/// calls [`find`] instead: a body that cannot be read would otherwise race with the row.
pub struct Row<R>(pub R);

/// The tenant's row of that id.
///
/// # Errors
/// 404 when there is none.
pub async fn find<R: TenantRow>(state: &State, tenant: TenantId, id: R::Id) -> Result<R, Problem> {
    R::find(&state.db, tenant, id).await?.ok_or_else(|| Problem::not_found(R::NOUN))
}

/// What a 404 calls a kind of subject.
pub fn noun(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Video => Video::NOUN,
        SubjectKind::Export => Export::NOUN,
    }
}

impl<R: TenantRow> FromRequest for Row<R> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let id = Id::<R::Id>::from_request(request, payload).into_inner();
        let session = Session::from_request(request, payload).into_inner();
        let state = request.app_data::<web::Data<State>>().cloned();
        Box::pin(async move {
            let tenant = session?.principal.tenant;
            let state = state.ok_or_else(|| Problem::internal("reading a row", "the server's state is missing"))?;
            find(&state, tenant, id?.0).await.map(Self)
        })
    }
}

macro_rules! tenant_row {
    ($row:ty, $id:ty, $noun:literal, $get:path) => {
        impl TenantRow for $row {
            type Id = $id;
            const NOUN: &'static str = $noun;

            async fn find(db: &Database, tenant: TenantId, id: $id) -> Result<Option<Self>, entities::Error> {
                $get(db, tenant, id).await
            }
        }
    };
}

tenant_row!(Video, VideoId, "video", videos::get);
tenant_row!(Export, ExportId, "export", exports::get);
tenant_row!(Clip, ClipId, "clip", clips::get);
tenant_row!(Reel, ReelId, "reel", reels::get);
tenant_row!(Webhook, WebhookId, "webhook", webhooks::get);
