//! Files that are to be removed after their rows.

use entities::removals::{self, Removal};
use entities::videos::{self, Deleted};
use entities::{Subject, TenantId, VideoId};

use crate::support::{Fresh, on_both};

on_both!(a_removal_is_recorded_with_the_deletion, a_failed_removal_is_claimed_once_and_again_later);

/// Makes every removal due.
async fn due(fresh: &Fresh) {
    fresh.sql("update file_removals set run_at = created_at").await;
}

async fn a_removal_is_recorded_with_the_deletion(fresh: Fresh) {
    let tenant = fresh.tenant("club").await.id;
    let video = fresh.video(tenant).await.id;
    assert!(matches!(videos::delete(&fresh.db, tenant, video, false).await.unwrap(), Deleted::Gone { .. }));
    assert_eq!(removals::claim_due(&fresh.db, 10).await.unwrap(), [], "what deleted the row removes its files first");
    due(&fresh).await;
    let removal = Removal { tenant, subject: Subject::Video(video), attempts: 1 };
    assert_eq!(removals::claim_due(&fresh.db, 10).await.unwrap(), [removal]);
    removals::forget(&fresh.db, removal.subject).await.unwrap();
    due(&fresh).await;
    assert_eq!(removals::claim_due(&fresh.db, 10).await.unwrap(), []);
}

async fn a_failed_removal_is_claimed_once_and_again_later(fresh: Fresh) {
    let (tenant, subject) = (TenantId::new(), Subject::Video(VideoId::new()));
    removals::record(&fresh.db, tenant, subject).await.unwrap();
    removals::record(&fresh.db, tenant, subject).await.unwrap();
    for attempts in 1..=3 {
        due(&fresh).await;
        assert_eq!(removals::claim_due(&fresh.db, 10).await.unwrap(), [Removal { tenant, subject, attempts }]);
        assert_eq!(removals::claim_due(&fresh.db, 10).await.unwrap(), []);
    }
    for _ in 0..4 {
        removals::record(&fresh.db, tenant, Subject::Video(VideoId::new())).await.unwrap();
    }
    due(&fresh).await;
    assert_eq!(removals::claim_due(&fresh.db, 2).await.unwrap().len(), 2);
    assert_eq!(removals::claim_due(&fresh.db, 10).await.unwrap().len(), 3);
}
