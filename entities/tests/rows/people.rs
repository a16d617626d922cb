//! Tenants, users, their tokens, and API keys.

use chrono::{TimeDelta, Utc};
use entities::{
    Error, TokenId,
    api_keys::{self, NewApiKey, Scope},
    page::PageRequest,
    tenants::{self, TenantState},
    tokens::{self, Rotation},
    users::{self, NewUser, Role, User},
};

use crate::support::{Fresh, on_both};

on_both!(
    names_and_addresses_are_unique,
    a_text_that_cannot_be_stored_is_no_database_fault,
    a_tenant_is_suspended_and_active_again,
    the_first_user_is_made_once,
    a_token_is_exchanged_once,
    a_used_token_ends_its_family,
    expired_and_revoked_tokens_are_refused,
    an_api_key_is_found_by_its_hash_until_it_is_revoked,
);

async fn user(fresh: &Fresh, email: &str) -> User {
    let tenant = fresh.tenant(&format!("tenant of {email}")).await;
    let new = NewUser {
        tenant_id: tenant.id,
        email: email.to_owned(),
        password_hash: "$argon2id$".to_owned(),
        role: Role::Editor,
    };
    users::create(&fresh.db, new).await.unwrap()
}

async fn names_and_addresses_are_unique(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    assert!(matches!(tenants::create(&fresh.db, "club").await, Err(Error::Taken { .. })));
    assert_eq!(tenants::find_by_name(&fresh.db, "club").await.unwrap(), Some(club.clone()));
    let anna = user(&fresh, " Anna@Example.com ").await;
    assert_eq!(anna.email, "anna@example.com");
    let same = NewUser {
        tenant_id: club.id,
        email: "ANNA@example.com".to_owned(),
        password_hash: String::new(),
        role: Role::Viewer,
    };
    let taken = users::create(&fresh.db, same).await.unwrap_err();
    assert_eq!(taken.to_string(), "the e-mail address anna@example.com is already taken");
    let (found, tenant) = users::find_for_login(&fresh.db, "anna@EXAMPLE.com").await.unwrap().unwrap();
    assert_eq!((found.id, tenant.id), (anna.id, anna.tenant_id));
    assert_eq!(users::find_for_login(&fresh.db, "unknown@example.com").await.unwrap(), None);
    assert_eq!(users::list(&fresh.db, anna.tenant_id, &PageRequest::default()).await.unwrap().items, [anna]);
}

async fn a_text_that_cannot_be_stored_is_no_database_fault(fresh: Fresh) {
    let kept = tenants::create(&fresh.db, "a club\0").await;
    match fresh.db.is_shared() {
        true => assert!(kept.unwrap_err().is_text()),
        false => assert_eq!(kept.unwrap().name, "a club\0"),
    }
}

async fn a_tenant_is_suspended_and_active_again(fresh: Fresh) {
    let club = fresh.tenant("club").await;
    let suspended = tenants::set_state(&fresh.db, club.id, TenantState::Suspended).await.unwrap().unwrap();
    assert_eq!(suspended.state, TenantState::Suspended);
    assert_eq!(tenants::get(&fresh.db, club.id).await.unwrap(), Some(suspended));
    let active = tenants::set_state(&fresh.db, club.id, TenantState::Active).await.unwrap();
    assert_eq!(active, Some(club));
    let unknown = entities::TenantId::new();
    assert_eq!(tenants::set_state(&fresh.db, unknown, TenantState::Active).await.unwrap(), None);
    fresh.tenant("another").await;
    let names: Vec<_> = tenants::all(&fresh.db).await.unwrap().into_iter().map(|tenant| tenant.name).collect();
    assert_eq!(names, ["another", "club"]);
    assert_eq!(tenants::list(&fresh.db, &PageRequest::default()).await.unwrap().items.len(), 2);
}

async fn the_first_user_is_made_once(fresh: Fresh) {
    assert!(!users::any(&fresh.db).await.unwrap());
    let first = users::create_first(&fresh.db, "default", "admin@localhost", "hash", Role::Operator);
    let (user, tenant) = first.await.unwrap().unwrap();
    assert_eq!((user.role, tenant.name.as_str(), user.tenant_id), (Role::Operator, "default", tenant.id));
    let second = users::create_first(&fresh.db, "default", "other@localhost", "hash", Role::Operator);
    assert_eq!(second.await.unwrap(), None);
    assert!(users::any(&fresh.db).await.unwrap());
}

async fn a_token_is_exchanged_once(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    let later = Utc::now() + TimeDelta::days(30);
    let token = tokens::issue(&fresh.db, &anna, later).await.unwrap();
    // Of many that hand the same token in at once, one gets a successor.
    let tries: Vec<_> = (0..6)
        .map(|_| {
            let (db, id) = (fresh.db.clone(), token.id);
            tokio::spawn(async move { tokens::rotate(&db, id, later).await.unwrap() })
        })
        .collect();
    let mut fresh_ones = 0;
    for one in tries {
        if let Rotation::Fresh { token: next, user, .. } = one.await.unwrap() {
            assert_eq!((next.family, user.id), (token.family, anna.id));
            assert_ne!(next.id, token.id);
            fresh_ones += 1;
        }
    }
    assert_eq!(fresh_ones, 1);
}

async fn a_used_token_ends_its_family(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    let later = Utc::now() + TimeDelta::days(30);
    let stolen = tokens::issue(&fresh.db, &anna, later).await.unwrap();
    let elsewhere = tokens::issue(&fresh.db, &anna, later).await.unwrap();
    let Rotation::Fresh { token: next, .. } = tokens::rotate(&fresh.db, stolen.id, later).await.unwrap() else {
        panic!("a new token can be exchanged");
    };
    assert_eq!(tokens::rotate(&fresh.db, stolen.id, later).await.unwrap(), Rotation::Reused);
    assert_eq!(tokens::rotate(&fresh.db, next.id, later).await.unwrap(), Rotation::Refused);
    let other = tokens::rotate(&fresh.db, elsewhere.id, later).await.unwrap();
    assert!(matches!(other, Rotation::Fresh { .. }), "another login's family lives on");
}

async fn expired_and_revoked_tokens_are_refused(fresh: Fresh) {
    let (anna, bert) = (user(&fresh, "anna@example.com").await, user(&fresh, "bert@example.com").await);
    let later = Utc::now() + TimeDelta::days(30);
    let past = tokens::issue(&fresh.db, &anna, Utc::now() - TimeDelta::seconds(1)).await.unwrap();
    assert_eq!(tokens::rotate(&fresh.db, past.id, later).await.unwrap(), Rotation::Refused);
    assert_eq!(tokens::rotate(&fresh.db, TokenId::new(), later).await.unwrap(), Rotation::Refused);

    let token = tokens::issue(&fresh.db, &anna, later).await.unwrap();
    assert!(!tokens::revoke_family_of(&fresh.db, bert.id, token.id).await.unwrap(), "not of another user");
    assert!(tokens::revoke_family_of(&fresh.db, anna.id, token.id).await.unwrap());
    assert_eq!(tokens::rotate(&fresh.db, token.id, later).await.unwrap(), Rotation::Refused);

    let token = tokens::issue(&fresh.db, &anna, later).await.unwrap();
    assert!(tokens::revoke_all(&fresh.db, anna.id).await.unwrap() >= 1);
    assert_eq!(tokens::rotate(&fresh.db, token.id, later).await.unwrap(), Rotation::Refused);
    assert_eq!(tokens::forget_expired(&fresh.db, Utc::now()).await.unwrap(), 1);
}

async fn an_api_key_is_found_by_its_hash_until_it_is_revoked(fresh: Fresh) {
    let (owner, other) = (fresh.tenant("owner").await.id, fresh.tenant("other").await.id);
    let (db, now) = (&fresh.db, Utc::now());
    let new = |sha256: &str, expires_at| NewApiKey {
        tenant_id: owner,
        name: "camera".to_owned(),
        hint: "tl_abcde".to_owned(),
        sha256: sha256.to_owned(),
        scope: Scope::Write,
        expires_at,
    };
    let key = api_keys::create(db, new("one", None)).await.unwrap();
    let brief = api_keys::create(db, new("two", Some(now))).await.unwrap();
    assert!(api_keys::create(db, new("one", None)).await.is_err(), "no two keys are the same");
    assert_eq!(api_keys::find(db, "one").await.unwrap(), Some(key.clone()));
    assert_eq!(api_keys::find(db, "three").await.unwrap(), None);
    assert!(key.is_valid(now) && !brief.is_valid(now));
    assert_eq!(key.scope.role(), Role::Editor);
    assert_eq!(Scope::Read.role(), Role::Viewer);

    let page = PageRequest::default();
    assert_eq!(api_keys::get(db, other, key.id).await.unwrap(), None);
    assert!(api_keys::list(db, other, &page).await.unwrap().items.is_empty());
    assert!(!api_keys::revoke(db, other, key.id).await.unwrap());
    assert_eq!(api_keys::list(db, owner, &page).await.unwrap().items, [brief.clone(), key.clone()]);

    api_keys::mark_used(db, key.id, now - TimeDelta::minutes(1)).await.unwrap();
    let used = api_keys::get(db, owner, key.id).await.unwrap().unwrap().last_used_at;
    assert!(used.is_some());
    api_keys::mark_used(db, key.id, now - TimeDelta::minutes(1)).await.unwrap();
    assert_eq!(api_keys::get(db, owner, key.id).await.unwrap().unwrap().last_used_at, used, "within the minute");

    assert!(api_keys::revoke(db, owner, key.id).await.unwrap());
    assert!(!api_keys::revoke(db, owner, key.id).await.unwrap());
    assert_eq!(api_keys::get(db, owner, key.id).await.unwrap(), None);
    assert!(!api_keys::find(db, "one").await.unwrap().unwrap().is_valid(now));
    assert_eq!(api_keys::list(db, owner, &page).await.unwrap().items, [brief]);
}
