//! What models found, frame by frame.

use sea_orm::{ActiveValue::Set, QueryOrder, entity::prelude::*, sea_query::OnConflict};

use crate::{
    Database, Result, Subject, TenantId, Transaction,
    error::Doing,
    rows::detection::{ActiveModel, Column, Entity},
};

pub use crate::rows::detection::Model as Detection;

/// Rows of one insert; 9 columns each stay far below both databases' bound on variables.
const CHUNK: usize = 500;

/// What a model found in one frame of a subject.
#[derive(Debug, Clone)]
pub struct NewDetection {
    /// The video or the export.
    pub subject: Subject,
    /// Name of the model.
    pub model: String,
    /// Frame number of the subject.
    pub frame: i64,
    /// Seconds of the subject.
    pub time: f64,
    /// Width of the picture the boxes lie in, in pixels.
    pub width: i32,
    /// Its height.
    pub height: i32,
    /// Array of boxes by falling confidence; empty when nobody was found.
    pub boxes: Json,
}

/// All detections of a subject by frame, then model; `None` when the subject is not the tenant's.
pub async fn get(db: &Database, tenant: TenantId, subject: Subject) -> Result<Option<Vec<Detection>>> {
    if !subject.belongs_to(tenant, db.reader()).await? {
        return Ok(None);
    }
    let rows = Entity::find()
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::SubjectKind.eq(subject.kind()))
        .filter(Column::SubjectId.eq(subject.uuid()))
        .order_by_asc(Column::Frame)
        .order_by_asc(Column::Model)
        .all(db.reader())
        .await;
    rows.doing("reading detections").map(Some)
}

/// Stores detections that were made outside an export, such as of a single frame; newer ones replace older ones of
/// the same frame and model. False, and nothing stored, when a subject is not the tenant's.
pub async fn put(db: &Database, tenant: TenantId, detections: &[NewDetection]) -> Result<bool> {
    let tx = db.begin().await?;
    for detection in detections {
        if !detection.subject.belongs_to(tenant, tx.raw()).await? {
            return Ok(false);
        }
    }
    put_in(&tx, tenant, detections).await?;
    tx.commit().await?;
    Ok(true)
}

pub(crate) async fn put_in(tx: &Transaction, tenant: TenantId, detections: &[NewDetection]) -> Result<()> {
    let key = [Column::SubjectKind, Column::SubjectId, Column::Model, Column::Frame];
    let rest = [Column::Time, Column::Width, Column::Height, Column::Boxes];
    for chunk in detections.chunks(CHUNK) {
        let rows = chunk.iter().map(|new| ActiveModel {
            tenant_id: Set(tenant),
            subject_kind: Set(new.subject.kind()),
            subject_id: Set(new.subject.uuid()),
            model: Set(new.model.clone()),
            frame: Set(new.frame),
            time: Set(new.time),
            width: Set(new.width),
            height: Set(new.height),
            boxes: Set(new.boxes.clone()),
        });
        Entity::insert_many(rows)
            .on_conflict(OnConflict::columns(key).update_columns(rest).to_owned())
            .exec_without_returning(tx.raw())
            .await
            .doing("storing detections")?;
    }
    Ok(())
}

pub(crate) async fn delete_in(tx: &Transaction, subject: Subject) -> Result<()> {
    Entity::delete_many()
        .filter(Column::SubjectKind.eq(subject.kind()))
        .filter(Column::SubjectId.eq(subject.uuid()))
        .exec(tx.raw())
        .await
        .doing("deleting detections")?;
    Ok(())
}
