//! Query parameters. Takes the place of [`web::Query`], and refuses texts that cannot be stored.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use super::texts;
use crate::http::problem::Problem;

/// The query of a request.
pub struct Query<T>(pub T);

impl<T> Query<T> {
    /// What the query says.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request.query_string()))
    }
}

fn read<T: DeserializeOwned>(query: &str) -> Result<Query<T>, Problem> {
    texts::check_query(query)?;
    match web::Query::<T>::from_query(query) {
        Ok(read) => Ok(Query(read.into_inner())),
        Err(error) => Err(Problem::bad_request("bad_query", format!("the query cannot be read: {error}"))),
    }
}
