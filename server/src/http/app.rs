//! The routes, and what surrounds every handler.

use actix_cors::Cors;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_actix_web::{AppExt, scope};

use super::extract::{authenticate, json_config};
use super::location::locate;
use super::observe::{limit_time, observe};
use super::problem::{Problem, ProblemBody};
use super::rate_limit::limit_rate;
use super::state::State;
use super::{
    admin, api_keys, clips, exports, links, live, me, methods, rates, reels, service, single_frame, thumbnail, tokens,
    tus, uploads, usage, users, videos, webhooks,
};

/// The whole application for one worker.
pub fn app(
    state: web::Data<State>,
    document: web::Data<service::Document>,
    routes: web::Data<methods::Routes>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let cors = cors(&state.node.settings().cors.allowed_origins);
    App::new()
        .into_utoipa_app()
        .configure(add_routes)
        .into_app()
        .app_data(state)
        .app_data(document)
        .app_data(routes)
        .app_data(json_config())
        .app_data(web::PathConfig::default().error_handler(|_, _| Problem::not_found("resource").into()))
        .default_service(web::to(methods::nothing_here))
        .wrap(from_fn(limit_time))
        .wrap(from_fn(locate))
        .wrap(cors)
        .wrap(from_fn(observe))
}

/// The OpenAPI 3.1 document, made from the handlers.
pub fn openapi() -> OpenApi {
    let (_, mut api) = App::new().into_utoipa_app().configure(add_routes).split_for_parts();
    api.info = InfoBuilder::new()
        .title("Touchline")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A multi-tenant media server for sports footage. Errors are RFC 9457 problem details."))
        .build();
    let components = api.components.get_or_insert_default();
    components.security_schemes.insert(
        "bearer".to_owned(),
        RefOr::T(SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build())),
    );
    components.schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    let mut used = Vec::new();
    ProblemBody::schemas(&mut used);
    components.schemas.extend(used);
    distinguish_head(&mut api);
    api.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    api
}

/// Every route there is; each module adds its own.
fn add_routes(everything: &mut ServiceConfig) {
    let api = scope::scope("/api/v1")
        .configure(|api: &mut ServiceConfig| {
            // The router tries one pattern after the other: what players ask for all the time comes first.
            videos::routes(api);
            service::api_routes(api);
            tokens::routes(api);
            me::routes(api);
            usage::routes(api);
            api_keys::routes(api);
            uploads::routes(api);
            single_frame::routes(api);
            thumbnail::routes(api);
            clips::routes(api);
            reels::routes(api);
            exports::routes(api);
            links::routes(api);
            live::routes(api);
            webhooks::routes(api);
            users::routes(api);
            admin::routes(api);
        })
        .wrap(from_fn(limit_rate))
        .wrap(from_fn(authenticate));
    everything.service(api);
    service::routes(everything);
}

/// A handler that answers `GET` and `HEAD` is two operations, whose ids have to differ.
fn distinguish_head(api: &mut OpenApi) {
    for item in api.paths.paths.values_mut().filter(|item| item.get.is_some()) {
        if let Some(id) = item.head.as_mut().and_then(|head| head.operation_id.as_mut()) {
            id.insert_str(0, "head_");
        }
    }
}

/// Browsers of the configured origins may call everything; any origin may play a shared link.
fn cors(allowed: &[String]) -> Cors {
    let any = allowed.iter().any(|origin| origin == "*");
    let allowed = allowed.to_vec();
    let exposed: [HeaderName; 17] = [
        header::ACCEPT_RANGES,
        header::CONTENT_DISPOSITION,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        rates::RATE_LIMIT,
        rates::RATE_LIMIT_POLICY,
        tus::TUS_CHECKSUM_ALGORITHM,
        tus::TUS_EXTENSION,
        tus::TUS_MAX_SIZE,
        tus::TUS_RESUMABLE,
        tus::TUS_VERSION,
        tus::UPLOAD_EXPIRES,
        tus::UPLOAD_LENGTH,
        tus::UPLOAD_OFFSET,
    ];
    Cors::default()
        .allowed_origin_fn(move |origin, request| {
            any || links::is_shared_file(request.uri.path())
                || origin.to_str().is_ok_and(|origin| allowed.iter().any(|known| known == origin))
        })
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS])
        .allow_any_header()
        .expose_headers(exposed)
        .max_age(3600)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn references(value: &Value, found: &mut HashSet<String>) {
        match value {
            Value::Object(map) => {
                let name = map.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
                found.extend(name.map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_is_whole() {
        let document = serde_json::to_value(openapi()).unwrap();
        let mut used = HashSet::new();
        references(&document, &mut used);
        let known = document["components"]["schemas"].as_object().unwrap();
        let missing: Vec<_> = used.iter().filter(|name| !known.contains_key(*name)).collect();
        assert!(missing.is_empty(), "schemas referred to but not there: {missing:?}");

        let paths = document["paths"].as_object().unwrap();
        let operations: Vec<_> = paths.values().flat_map(|item| item.as_object().unwrap().values()).collect();
        let ids: HashSet<_> = operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), operations.len(), "operation ids differ");

        // Whatever is asked may come too fast.
        let paced = paths.iter().filter(|(path, _)| path.starts_with("/api/"));
        for (path, item) in paced {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["responses"]["429"].is_object(), "{method} {path} does not say 429");
            }
        }

        let refusal = &document["paths"]["/api/v1/videos/{id}"]["get"]["responses"]["404"];
        let schema = &refusal["content"]["application/problem+json"]["schema"]["$ref"];
        assert_eq!(schema, "#/components/schemas/Problem");
    }
}
