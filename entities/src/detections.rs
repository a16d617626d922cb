//! What models found, frame by frame.
//!
//! Each subject has a version that every change of its detections raises in the same transaction, so that caches can
//! check whether their copy is current.

use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ExprTrait, QueryOrder, entity::prelude::*, sea_query::OnConflict};

use crate::{
    Database, Result, Subject, TenantId, Transaction,
    error::Doing,
    rows::{
        detection::{ActiveModel, Column, Entity},
        detection_version,
    },
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
    /// Array of boxes by falling confidence; empty when nothing was detected.
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

/// The version of a subject's detections: 0 while there are none, greater after each change; `None` when the subject is
/// not the tenant's. Detections read after it are of this version or of a later one.
pub async fn version(db: &Database, tenant: TenantId, subject: Subject) -> Result<Option<i64>> {
    if !subject.belongs_to(tenant, db.reader()).await? {
        return Ok(None);
    }
    let row = detection_version::Entity::find_by_id((subject.kind(), subject.uuid())).one(db.reader()).await;
    Ok(Some(row.doing("reading a version of detections")?.map_or(0, |row| row.version)))
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
    let subjects = detections.iter().map(|new| ((new.subject.uuid(), new.subject.kind()), new.subject));
    let mut subjects: Vec<_> = subjects.collect::<HashMap<_, _>>().into_values().collect();
    // In one order, so that two transactions never wait for each other.
    subjects.sort_by_key(|subject| subject.uuid());
    for subject in subjects {
        raise_version(tx, tenant, subject).await?;
    }
    Ok(())
}

async fn raise_version(tx: &Transaction, tenant: TenantId, subject: Subject) -> Result<()> {
    use detection_version::{ActiveModel, Column, Entity};

    let first = ActiveModel {
        tenant_id: Set(tenant),
        subject_kind: Set(subject.kind()),
        subject_id: Set(subject.uuid()),
        version: Set(1),
    };
    let next = Expr::col((Entity, Column::Version)).add(1);
    let conflict =
        OnConflict::columns([Column::SubjectKind, Column::SubjectId]).value(Column::Version, next).to_owned();
    let raised = Entity::insert(first).on_conflict(conflict).exec_without_returning(tx.raw()).await;
    raised.doing("raising a version of detections")?;
    Ok(())
}

pub(crate) async fn delete_in(tx: &Transaction, subject: Subject) -> Result<()> {
    Entity::delete_many()
        .filter(Column::SubjectKind.eq(subject.kind()))
        .filter(Column::SubjectId.eq(subject.uuid()))
        .exec(tx.raw())
        .await
        .doing("deleting detections")?;
    let version = detection_version::Entity::delete_by_id((subject.kind(), subject.uuid()));
    version.exec(tx.raw()).await.doing("forgetting a version of detections")?;
    Ok(())
}
