//! Tenants, users, their tokens, and API keys.

use chrono::{DateTime, TimeDelta, Utc};
use entities::{
    Error, TokenId, UserId,
    api_keys::{self, NewApiKey, Scope},
    page::PageRequest,
    tenants::{self, TenantState},
    tokens::{self, NewToken, RefreshToken, Rotation},
    users::{self, NewUser, Role, User, UserChange},
};

use crate::support::{Fresh, on_both};

on_both!(
    names_and_addresses_are_unique,
    a_text_that_cannot_be_stored_is_no_database_fault,
    a_tenant_is_suspended_and_active_again,
    the_first_user_is_made_once,
    tokens_handed_in_at_once_give_one_successor,
    a_used_token_ends_its_family,
    a_suspended_tenants_token_is_not_spent,
    a_new_password_ends_every_session,
    no_successor_outlives_a_logout_beside_its_exchange,
    a_network_is_known_until_the_password_changes,
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

fn until(expires_at: DateTime<Utc>) -> NewToken {
    NewToken { expires_at, network: None }
}

/// What a login stores.
fn brief() -> NewToken {
    until(Utc::now() + TimeDelta::days(30))
}

async fn log_in(fresh: &Fresh, user: &User) -> RefreshToken {
    tokens::issue(&fresh.db, user, brief()).await.unwrap().unwrap()
}

async fn rotate(fresh: &Fresh, id: TokenId) -> Rotation {
    tokens::rotate(&fresh.db, id, |_| brief()).await.unwrap()
}

async fn exchanged(fresh: &Fresh, id: TokenId) -> RefreshToken {
    match rotate(fresh, id).await {
        Rotation::Fresh { token, .. } => token,
        other => panic!("the token is not exchanged: {other:?}"),
    }
}

/// Lets every exchange have happened a while ago.
async fn skip_grace(fresh: &Fresh) {
    fresh.sql("update refresh_tokens set used_at = '2000-01-01T00:00:00+00:00' where used_at is not null").await;
}

async fn tokens_handed_in_at_once_give_one_successor(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    let token = log_in(&fresh, &anna).await;
    let tries: Vec<_> = (0..12)
        .map(|_| {
            let (db, id) = (fresh.db.clone(), token.id);
            tokio::spawn(async move { tokens::rotate(&db, id, |_| brief()).await.unwrap() })
        })
        .collect();
    let mut successors = Vec::new();
    for one in tries {
        let Rotation::Fresh { token: next, user } = one.await.unwrap() else { panic!("one of them is refused") };
        assert_eq!((next.family, user.id), (token.family, anna.id));
        assert_ne!(next.id, token.id);
        successors.push(next.id);
    }
    successors.dedup();
    assert_eq!(successors.len(), 1, "{successors:?}");
    let next = exchanged(&fresh, successors[0]).await;
    assert_eq!(next.family, token.family, "the family lives on");
}

async fn a_used_token_ends_its_family(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    let (late, older) = (log_in(&fresh, &anna).await, log_in(&fresh, &anna).await);
    let elsewhere = log_in(&fresh, &anna).await;
    // Too late.
    let next = exchanged(&fresh, late.id).await;
    skip_grace(&fresh).await;
    assert_eq!(rotate(&fresh, late.id).await, Rotation::Reused);
    assert_eq!(rotate(&fresh, next.id).await, Rotation::Refused);
    // In time, but not the one that was exchanged last.
    let next = exchanged(&fresh, older.id).await;
    let last = exchanged(&fresh, next.id).await;
    assert_eq!(exchanged(&fresh, next.id).await.id, last.id);
    assert_eq!(rotate(&fresh, older.id).await, Rotation::Reused);
    assert_eq!(rotate(&fresh, last.id).await, Rotation::Refused);
    exchanged(&fresh, elsewhere.id).await;
}

async fn a_suspended_tenants_token_is_not_spent(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    let token = log_in(&fresh, &anna).await;
    tenants::set_state(&fresh.db, anna.tenant_id, TenantState::Suspended).await.unwrap();
    for _ in 0..2 {
        let Rotation::Suspended(tenant) = rotate(&fresh, token.id).await else { panic!("it is not refused") };
        assert_eq!(tenant.id, anna.tenant_id);
    }
    tenants::set_state(&fresh.db, anna.tenant_id, TenantState::Active).await.unwrap();
    exchanged(&fresh, token.id).await;
}

async fn a_new_password_ends_every_session(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    let token = log_in(&fresh, &anna).await;
    let change = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    let same = users::change(&fresh.db, anna.tenant_id, anna.id, change).await.unwrap().unwrap();
    assert_eq!(same.session_epoch, anna.session_epoch, "a role ends no session");
    let change = UserChange { password_hash: Some("$argon2id$2".to_owned()), ..UserChange::default() };
    let changed = users::change(&fresh.db, anna.tenant_id, anna.id, change).await.unwrap().unwrap();
    assert_eq!(changed.session_epoch, anna.session_epoch + 1);
    assert_eq!(rotate(&fresh, token.id).await, Rotation::Refused);
    // A login that checked the former password and comes to its end only now.
    assert_eq!(tokens::issue(&fresh.db, &anna, brief()).await.unwrap(), None);
    log_in(&fresh, &changed).await;
}

async fn no_successor_outlives_a_logout_beside_its_exchange(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    for _ in 0..20 {
        let token = log_in(&fresh, &anna).await;
        let (db, id) = (fresh.db.clone(), token.id);
        let exchange = tokio::spawn(async move { tokens::rotate(&db, id, |_| brief()).await.unwrap() });
        tokens::revoke_all(&fresh.db, anna.id).await.unwrap();
        if let Rotation::Fresh { token: next, .. } = exchange.await.unwrap() {
            assert_eq!(rotate(&fresh, next.id).await, Rotation::Refused);
        }
    }
}

async fn a_network_is_known_until_the_password_changes(fresh: Fresh) {
    let anna = user(&fresh, "anna@example.com").await;
    let known = async |user: UserId, network: &str| tokens::is_known_network(&fresh.db, user, network).await.unwrap();
    let home = NewToken { network: Some("home".to_owned()), ..brief() };
    let token = tokens::issue(&fresh.db, &anna, home).await.unwrap().unwrap();
    assert!(known(anna.id, "home").await);
    assert!(!known(anna.id, "elsewhere").await && !known(UserId::new(), "home").await);
    // Logging out does not make the place a strange one.
    assert!(tokens::revoke_family_of(&fresh.db, anna.id, token.id).await.unwrap());
    assert!(known(anna.id, "home").await);
    let change = UserChange { password_hash: Some("$argon2id$2".to_owned()), ..UserChange::default() };
    users::change(&fresh.db, anna.tenant_id, anna.id, change).await.unwrap().unwrap();
    assert!(!known(anna.id, "home").await);
}

async fn expired_and_revoked_tokens_are_refused(fresh: Fresh) {
    let (anna, bert) = (user(&fresh, "anna@example.com").await, user(&fresh, "bert@example.com").await);
    let past = until(Utc::now() - TimeDelta::seconds(1));
    let past = tokens::issue(&fresh.db, &anna, past).await.unwrap().unwrap();
    assert_eq!(rotate(&fresh, past.id).await, Rotation::Refused);
    assert_eq!(rotate(&fresh, TokenId::new()).await, Rotation::Refused);

    let token = log_in(&fresh, &anna).await;
    assert!(!tokens::revoke_family_of(&fresh.db, bert.id, token.id).await.unwrap(), "not of another user");
    assert!(tokens::revoke_family_of(&fresh.db, anna.id, token.id).await.unwrap());
    assert_eq!(rotate(&fresh, token.id).await, Rotation::Refused);

    let token = log_in(&fresh, &anna).await;
    assert!(tokens::revoke_all(&fresh.db, anna.id).await.unwrap() >= 1);
    assert_eq!(rotate(&fresh, token.id).await, Rotation::Refused);
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
