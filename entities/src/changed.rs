//! What comes of changing a row that has versions.

/// What came of changing a row, if it still was what its author saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed<T> {
    /// It is changed: the row as it is now.
    Now(T),
    /// Nothing is changed: somebody else did meanwhile, and this is its version.
    Stale(i64),
    /// There is no such row.
    NotFound,
}
