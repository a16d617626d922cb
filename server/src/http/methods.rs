//! Which routes there are, and what is answered where no handler is: 404, or 405 where the path exists for another
//! method.

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::OpenApi;

use super::problem::Problem;

/// Every path of the API with its methods, read from the OpenAPI document. Looked at on every request: a radix tree,
/// because the router's own answer to which pattern a path has tries one regular expression after the other.
pub struct Routes(matchit::Router<Route>);

struct Route {
    /// As the document writes it: `/api/v1/videos/{id}`.
    pattern: String,
    methods: Vec<&'static str>,
    /// Its methods, as the header `Allow` lists them.
    allowed: String,
}

/// How metrics name a request. Method and path come from the client, so both are replaced unless the document has them:
/// otherwise each invented method or path would be a new time series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLabels<'a> {
    /// The path's pattern, or `unmatched`.
    pub route: &'a str,
    /// The method if the route takes it, else `other`.
    pub method: &'static str,
}

/// The methods that the API uses.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"];

impl RequestLabels<'static> {
    /// The labels of a path that no route has.
    pub fn unmatched(method: &Method) -> Self {
        Self { route: "unmatched", method: label_among(&METHODS, method) }
    }
}

fn label_among(known: &[&'static str], method: &Method) -> &'static str {
    known.iter().find(|name| **name == method.as_str()).copied().unwrap_or("other")
}

impl Routes {
    /// The routes that a document describes.
    ///
    /// # Errors
    /// When two of its paths cannot be distinguished, which is a fault of the program.
    pub fn of(document: &OpenApi) -> Result<Self, matchit::InsertError> {
        let mut routes = matchit::Router::new();
        for (path, item) in &document.paths.paths {
            let offered = [&item.get, &item.head, &item.post, &item.patch, &item.delete, &item.options];
            let methods = METHODS.into_iter().zip(offered);
            let methods: Vec<_> = methods.filter_map(|(name, offered)| offered.is_some().then_some(name)).collect();
            let allowed = methods.join(", ");
            routes.insert(path, Route { pattern: path.clone(), methods, allowed })?;
        }
        Ok(Self(routes))
    }

    /// How metrics name a request.
    pub fn labels(&self, path: &str, method: &Method) -> RequestLabels<'_> {
        match self.route(path) {
            Some(route) => RequestLabels { route: &route.pattern, method: label_among(&route.methods, method) },
            None => RequestLabels::unmatched(method),
        }
    }

    /// The pattern that a path matches; a literal path ("/exports/estimate") before a pattern that it matches, too.
    fn pattern(&self, path: &str) -> Option<&str> {
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
    fn metrics_name_only_what_the_document_has() {
        let routes = Routes::of(&crate::http::openapi()).unwrap();
        let labels = |path, method: &str| routes.labels(path, &Method::from_bytes(method.as_bytes()).unwrap());
        let video = "/api/v1/videos/{id}";
        assert_eq!(labels("/api/v1/videos/1", "GET"), RequestLabels { route: video, method: "GET" });
        for foreign in ["PUT", "POST", "OPTIONS", "get", "X7F3", "TRACE"] {
            assert_eq!(
                labels("/api/v1/videos/1", foreign),
                RequestLabels { route: video, method: "other" },
                "{foreign}"
            );
        }
        assert_eq!(labels("/x7f3", "GET"), RequestLabels { route: "unmatched", method: "GET" });
        assert_eq!(labels("/x7f3", "X7F3"), RequestLabels { route: "unmatched", method: "other" });
    }

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
