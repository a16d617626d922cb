//! The deployment's id, what the rows know of stored files, and specs apart from their exports.

use entities::exports::{self, ExportState};
use entities::uploads::{self, NewUpload};
use entities::videos::VideoState;
use entities::{ExportId, VideoId, deployment};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;

use crate::support::{Fresh, on_both};

on_both!(
    a_database_keeps_its_id_and_another_has_another,
    only_rows_of_this_database_are_known,
    specs_survive_the_step_that_moves_them
);

async fn a_database_keeps_its_id_and_another_has_another(fresh: Fresh) {
    let id = deployment::id(&fresh.db).await.unwrap();
    let again = entities::connect(&fresh.url).await.unwrap();
    assert_eq!(deployment::id(&again).await.unwrap(), id);
    assert_ne!(deployment::id(&Fresh::sqlite().await.db).await.unwrap(), id);
}

async fn only_rows_of_this_database_are_known(fresh: Fresh) {
    assert!(!deployment::has_media(&fresh.db).await.unwrap());
    let tenant = fresh.tenant("club").await.id;
    let (video, export) = (fresh.video(tenant).await, fresh.export(tenant).await);
    let new = NewUpload { tenant_id: tenant, length: 5, metadata: json!({}), expires_at: chrono::Utc::now() };
    let upload = uploads::create(&fresh.db, new, u64::MAX).await.unwrap().unwrap();
    assert!(deployment::has_media(&fresh.db).await.unwrap());

    // More than fit into one query.
    let strangers = (0..1200).map(|_| VideoId::new());
    let videos: Vec<VideoId> = [video.id, upload.id].into_iter().chain(strangers).collect();
    let known = deployment::known_videos(&fresh.db, &videos).await.unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(known[&(tenant, video.id)], Some(VideoState::Processing));
    assert_eq!(known[&(tenant, upload.id)], None);
    let known = deployment::known_exports(&fresh.db, &[export.id, ExportId::new()]).await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[&(tenant, export.id)].state, ExportState::Queued);
}

async fn specs_survive_the_step_that_moves_them(fresh: Fresh) {
    use migrations::{Migrator, MigratorTrait};
    let tenant = fresh.tenant("club").await.id;
    let export = fresh.export(tenant).await;
    let spec = exports::spec(&fresh.db, tenant, export.id).await.unwrap();
    assert_eq!(spec, Some(json!({"kind": "framing"})));
    let raw = sea_orm::Database::connect(&fresh.url).await.unwrap();
    let applied = Migrator::get_applied_migrations(&raw).await.unwrap();
    let moved = applied.iter().rev().position(|step| step.name().starts_with("m0014")).unwrap();
    Migrator::down(&raw, Some(moved as u32 + 1)).await.unwrap();
    let row = Statement::from_string(raw.get_database_backend(), "select spec from exports");
    let row = raw.query_one_raw(row).await.unwrap().unwrap();
    assert_eq!(row.try_get::<serde_json::Value>("", "spec").unwrap(), json!({"kind": "framing"}));
    Migrator::up(&raw, None).await.unwrap();
    let db = entities::connect(&fresh.url).await.unwrap();
    assert_eq!(exports::spec(&db, tenant, export.id).await.unwrap(), spec);
}
