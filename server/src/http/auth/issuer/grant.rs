//! What the claims of a foreign token mean here.

use std::collections::BTreeMap;

use config::{IssuerRole, IssuerSettings};
use entities::users::Role;
use serde_json::{Map, Value};

/// Which tenant and role an issuer's tokens give.
pub(super) struct Grants {
    tenants: Tenants,
    role_claim: String,
    roles: BTreeMap<String, Role>,
}

enum Tenants {
    /// Every token is for this one.
    One(String),
    /// A claim says which.
    ByClaim { claim: String, known: BTreeMap<String, String> },
}

impl Grants {
    pub(super) fn new(settings: &IssuerSettings) -> Self {
        let tenants = match (&settings.tenant, &settings.tenant_claim) {
            (None, Some(claim)) => Tenants::ByClaim { claim: claim.clone(), known: settings.tenants.clone() },
            (tenant, _) => Tenants::One(tenant.clone().unwrap_or_default()),
        };
        let roles = settings.roles.iter().map(|(value, role)| (value.clone(), of(*role))).collect();
        Self { tenants, role_claim: settings.role_claim.clone(), roles }
    }

    /// The name or id of the tenant. A token that names several says nothing.
    pub(super) fn tenant(&self, claims: &Map<String, Value>) -> Option<&str> {
        match &self.tenants {
            Tenants::One(tenant) => Some(tenant),
            Tenants::ByClaim { claim, known } => {
                let mut named: Vec<_> = texts(claims, claim).filter_map(|value| known.get(value)).collect();
                named.dedup();
                match named[..] {
                    [one] => Some(one),
                    _ => None,
                }
            }
        }
    }

    /// The highest role that a token has.
    pub(super) fn role(&self, claims: &Map<String, Value>) -> Option<Role> {
        texts(claims, &self.role_claim).filter_map(|value| self.roles.get(value).copied()).max()
    }
}

fn of(role: IssuerRole) -> Role {
    match role {
        IssuerRole::Viewer => Role::Viewer,
        IssuerRole::Editor => Role::Editor,
        IssuerRole::Admin => Role::Admin,
        IssuerRole::Operator => Role::Operator,
    }
}

/// The texts of a claim, which is a text or a list of them; a name that begins with `/` is a JSON pointer into the claims.
fn texts<'a>(claims: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    let found = match name.strip_prefix('/') {
        Some(path) => {
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            let outer = claims.get(&first.replace("~1", "/").replace("~0", "~"));
            outer.and_then(|value| if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) })
        }
        None => claims.get(name),
    };
    let values = match found {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn grants() -> Grants {
        let known = [("a", "A"), ("also-a", "A"), ("b", "B")].map(|(value, name)| (value.into(), name.into()));
        let tenants = Tenants::ByClaim { claim: "club".into(), known: known.into() };
        let roles = [("fan".into(), Role::Viewer), ("coach".into(), Role::Editor)].into();
        Grants { tenants, role_claim: "/realm/roles".into(), roles }
    }

    #[test]
    fn a_tenant_is_named_by_the_claim_and_unambiguously() {
        let grants = grants();
        let tenant = |club: Value| grants.tenant(&claims(json!({"club": club}))).map(str::to_owned);
        assert_eq!(tenant(json!("a")).as_deref(), Some("A"));
        assert_eq!(tenant(json!(["x", "also-a", "a"])).as_deref(), Some("A"));
        for invalid in [json!("A"), json!("x"), json!(["a", "b"]), json!([]), json!(1), json!({"a": 1}), Value::Null] {
            assert_eq!(tenant(invalid.clone()), None, "{invalid}");
        }
        assert_eq!(grants.tenant(&claims(json!({}))), None);
    }

    #[test]
    fn the_highest_role_counts() {
        let grants = grants();
        let role = |roles: Value| grants.role(&claims(json!({"realm": {"roles": roles}})));
        assert_eq!(role(json!(["fan", "coach", "operator"])), Some(Role::Editor));
        assert_eq!(role(json!("fan")), Some(Role::Viewer));
        assert_eq!(role(json!(["editor", 3])), None);
        assert_eq!(grants.role(&claims(json!({"roles": ["coach"]}))), None);
    }
}
