//! Lists in pages: `limit` (1-200) and an opaque `cursor`.

use entities::page::{Page, PageRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::problem::Problem;

/// The query of a list call.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Entries of a page, 1 to 200; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u64>,
    /// Where to go on: the last page's `next_cursor`.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// What the rows are asked for.
    ///
    /// # Errors
    /// 400 when the limit is out of range or the cursor is not one of ours.
    pub fn request(&self) -> Result<PageRequest, Problem> {
        PageRequest::new(self.limit, self.cursor.as_deref())
            .map_err(|error| Problem::bad_request("bad_query", error.to_string()))
    }
}

/// A page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing<T> {
    /// The entries.
    pub items: Vec<T>,
    /// The `cursor` of the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> From<Page<T>> for Listing<T> {
    fn from(page: Page<T>) -> Self {
        Self { items: page.items, next_cursor: page.next }
    }
}
