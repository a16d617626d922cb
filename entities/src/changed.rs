//! Results of optimistic updates: rows with a version are changed only by an author who has seen the newest one.

/// What came of changing a row, if it still was what its author saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed<T> {
    /// It is changed: the row as it is now.
    Now(T),
    /// Nothing is changed: another writer has changed the row meanwhile, and this is its version.
    Stale(i64),
    /// There is no such row.
    NotFound,
}
