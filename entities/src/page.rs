//! Lists in pages: newest first, cut at an opaque cursor.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use crate::{Result, error::Doing};

const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 200;

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    limit: u64,
    after: Option<Uuid>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, after: None }
    }
}

/// What is wrong with a page request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// `limit` is out of range.
    #[error("limit must be 1 to 200")]
    Limit,
    /// `cursor` did not come from a page.
    #[error("cursor is not one that a list returned")]
    Cursor,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` on the last one.
    pub next: Option<String>,
}

impl PageRequest {
    /// A page of `limit` rows (1-200, default 50), after the page that returned `cursor`.
    pub fn new(limit: Option<u64>, cursor: Option<&str>) -> std::result::Result<Self, PageError> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(PageError::Limit);
        }
        Ok(Self { limit, after: cursor.map(decode).transpose()? })
    }
}

impl<T> Page<T> {
    /// The same page with other items, such as the API's objects.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

fn encode(id: Uuid) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id.as_bytes())
}

fn decode(cursor: &str) -> std::result::Result<Uuid, PageError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| PageError::Cursor)?;
    Uuid::from_slice(&bytes).map_err(|_| PageError::Cursor)
}

/// Fetches a page of `rows`, ordered by `id`, a UUIDv7 column.
pub(crate) async fn fetch<E, C>(
    rows: Select<E>,
    id: C,
    id_of: impl Fn(&E::Model) -> Uuid,
    page: &PageRequest,
    db: &impl ConnectionTrait,
    doing: &'static str,
) -> Result<Page<E::Model>>
where
    E: EntityTrait,
    C: ColumnTrait,
{
    let rows = match page.after {
        Some(after) => rows.filter(id.lt(after)),
        None => rows,
    };
    let items = rows.order_by_desc(id).limit(page.limit + 1).all(db).await.doing(doing)?;
    Ok(cut(items, page, id_of))
}

/// [`fetch`] for rows that are numbered instead of having a UUIDv7; the cursor holds the number.
pub(crate) async fn fetch_by_number<E, C>(
    rows: Select<E>,
    number: C,
    number_of: impl Fn(&E::Model) -> i64,
    page: &PageRequest,
    db: &impl ConnectionTrait,
    doing: &'static str,
) -> Result<Page<E::Model>>
where
    E: EntityTrait,
    C: ColumnTrait,
{
    let rows = match page.after {
        Some(after) => rows.filter(number.lt(i64::try_from(after.as_u128()).unwrap_or(i64::MAX))),
        None => rows,
    };
    let items = rows.order_by_desc(number).limit(page.limit + 1).all(db).await.doing(doing)?;
    Ok(cut(items, page, |row| Uuid::from_u128(number_of(row).unsigned_abs().into())))
}

/// One row more than requested is read, to know whether there is another page.
fn cut<T>(mut items: Vec<T>, page: &PageRequest, id_of: impl Fn(&T) -> Uuid) -> Page<T> {
    let more = items.len() as u64 > page.limit;
    items.truncate(page.limit as usize);
    let next = items.last().filter(|_| more).map(|row| encode(id_of(row)));
    Page { items, next }
}
