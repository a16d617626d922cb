//! [`ExportSpec`](super::ExportSpec) in the OpenAPI document.
//!
//! Every kind refuses fields that it does not know, and a schema that says so refuses the `kind` that is put beside it
//! by `allOf`, too. So each kind is one object here, with `kind` among its fields.

use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::openapi::{ObjectBuilder, RefOr, Type};

/// The schema of a spec that is one of these kinds.
pub(super) fn one_of(kinds: impl IntoIterator<Item = (&'static str, RefOr<Schema>)>) -> RefOr<Schema> {
    let all = OneOfBuilder::new().description(Some("One request to render something."));
    kinds.into_iter().fold(all, |all, (name, spec)| all.item(kind(name, spec))).into()
}

/// The spec of a kind, with `kind` among its fields.
fn kind(name: &str, spec: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = spec else { return spec };
    let tag = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([name])).build();
    object.properties.insert("kind".to_owned(), RefOr::T(Schema::Object(tag)));
    object.required.insert(0, "kind".to_owned());
    RefOr::T(Schema::Object(object))
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use crate::ExportSpec;

    #[test]
    fn a_closed_kind_knows_its_own_name() {
        let schema = serde_json::to_value(ExportSpec::schema()).unwrap();
        let kinds = schema["oneOf"].as_array().unwrap();
        let names: Vec<_> = kinds.iter().map(|kind| kind["properties"]["kind"]["enum"][0].as_str().unwrap()).collect();
        assert_eq!(names, ["framing", "overlay", "annotated", "clip", "detection"]);
        for kind in kinds {
            assert_eq!(kind["additionalProperties"], false, "{kind}");
            assert_eq!(kind["required"][0], "kind", "{kind}");
        }
    }
}
