//! Which routes there are, and what is answered where no handler is: 404, or 405 where the path exists for another
//! method.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::OpenApi;

use super::problem::Problem;

/// Every path of the API with its methods, read from the OpenAPI document. Looked at on every request: a radix tree,
/// because the router's own answer to which pattern a path has tries one regular expression after the other.
pub struct Routes(matchit::Router<Route>);

struct Route {
    /// As the document writes it: `/api/v1/videos/{id}`.
    pattern: String,
    /// Its methods, as the header `Allow` lists them.
    allowed: String,
}

impl Routes {
    /// The routes that a document describes.
    ///
    /// # Errors
    /// When two of its paths cannot be distinguished, which is a fault of the program.
    pub fn of(document: &OpenApi) -> Result<Self, matchit::InsertError> {
        let mut routes = matchit::Router::new();
        for (path, item) in &document.paths.paths {
            let methods = [
                ("GET", item.get.is_some()),
                ("HEAD", item.head.is_some()),
                ("POST", item.post.is_some()),
                ("PATCH", item.patch.is_some()),
                ("DELETE", item.delete.is_some()),
                ("OPTIONS", item.options.is_some()),
            ];
            let allowed: Vec<_> = methods.into_iter().filter_map(|(name, offered)| offered.then_some(name)).collect();
            routes.insert(path, Route { pattern: path.clone(), allowed: allowed.join(", ") })?;
        }
        Ok(Self(routes))
    }

    /// The pattern that a path matches; a literal path ("/exports/estimate") before a pattern that it matches, too.
    pub fn pattern(&self, path: &str) -> Option<&str> {
        self.route(path).map(|route| route.pattern.as_str())
    }

    /// The methods offered at a path.
    fn allowed(&self, path: &str) -> Option<&str> {
        self.route(path).map(|route| route.allowed.as_str())
    }

    fn route(&self, path: &str) -> Option<&Route> {
        self.0.at(path).ok().map(|found| found.value)
    }

    /// 405 where the path takes other methods, else 404.
    fn refusal(&self, path: &str) -> Problem {
        let Some(allowed) = self.allowed(path) else { return Problem::not_found("path") };
        let detail = format!("this path takes {allowed}");
        let allowed = HeaderValue::try_from(allowed).expect("method names make a header value");
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).header(header::ALLOW, allowed)
    }

    /// Whether a path stands in the document as it is, without placeholders.
    fn is_literal(&self, path: &str) -> bool {
        self.pattern(path) == Some(path)
    }
}

/// Answers what no route matches.
pub async fn nothing_here(request: HttpRequest, routes: web::Data<Routes>) -> Result<HttpResponse, Problem> {
    Err(routes.refusal(request.path()))
}

/// What to say of a path whose `{id}` is no id: a literal path of that name takes other methods, else nothing has it.
pub fn no_such_id(request: &HttpRequest) -> Problem {
    let routes = request.app_data::<web::Data<Routes>>().filter(|routes| routes.is_literal(request.path()));
    routes.map_or_else(|| Problem::not_found("resource"), |routes| routes.refusal(request.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_the_methods_of_a_path() {
        let routes = Routes::of(&crate::http::openapi()).unwrap();
        assert_eq!(routes.allowed("/api/v1/auth/token"), Some("POST"));
        let export = routes.allowed("/api/v1/exports/0198c0de-0000-7000-8000-000000000000").unwrap();
        assert!(export.contains("GET") && export.contains("DELETE"), "{export}");
        assert_eq!(routes.allowed("/api/v1/nowhere"), None);
        assert_eq!(routes.allowed("/api/v1/exports/estimate"), Some("POST"));
        assert_eq!(routes.pattern("/api/v1/videos/1/detections"), Some("/api/v1/videos/{id}/detections"));
        assert!(routes.is_literal("/api/v1/exports/estimate") && !routes.is_literal("/api/v1/exports/x"));
    }
}
