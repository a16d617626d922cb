//! Issuers of foreign tokens: whom to trust, and what their tokens may do here.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// An entry of `[[auth.issuers]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The `iss` claim, to the letter.
    pub issuer: String,
    /// Where the issuer's public keys are: https, or http on this machine.
    pub jwks_url: String,
    /// What the `aud` claim must name.
    pub audience: String,
    /// Which signatures are accepted; a key is used for the one that its type is for.
    pub algorithms: Vec<IssuerAlgorithm>,
    /// The tenant of every token, by name or id.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Or the claim that says which tenant a token is for.
    #[serde(default)]
    pub tenant_claim: Option<String>,
    /// Its values, each with the name or id of a tenant; another value is refused.
    #[serde(default)]
    pub tenants: BTreeMap<String, String>,
    /// The claim that says what a token may do.
    pub role_claim: String,
    /// Its values, each with a role; a token without any of them is refused.
    pub roles: BTreeMap<String, IssuerRole>,
    /// Whether `roles` may name `operator`.
    #[serde(default)]
    pub allow_operator: bool,
}

/// A way to sign a token with a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum IssuerAlgorithm {
    /// RSA, PKCS#1 v1.5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// What a foreign token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerRole {
    /// Reads.
    Viewer,
    /// Also writes.
    Editor,
    /// Also runs its tenant.
    Admin,
    /// Also runs the deployment.
    Operator,
}

/// What is wrong with the entries of `auth.issuers`.
pub(crate) fn check(entries: &[IssuerSettings]) -> Vec<Invalid> {
    let mut found = Vec::new();
    let mut known = HashSet::new();
    for (n, entry) in entries.iter().enumerate() {
        let mut want = |right: bool, key: &str, message: &str| {
            if !right {
                found.push(Invalid::new(format!("/auth/issuers/{n}/{key}"), message));
            }
        };
        let ours = entry.issuer == "touchline";
        want(!entry.issuer.is_empty() && !ours, "issuer", "must be an issuer's name other than touchline");
        want(known.insert(&entry.issuer), "issuer", "has an entry already");
        want(is_trustworthy(&entry.jwks_url), "jwks_url", "must begin with https://, or with http:// on this machine");
        want(!entry.audience.is_empty(), "audience", "must name an audience");
        want(!entry.algorithms.is_empty(), "algorithms", "must name RS256, ES256 or EdDSA");
        match (&entry.tenant, &entry.tenant_claim) {
            (Some(_), None) => want(entry.tenants.is_empty(), "tenants", "goes with tenant_claim, not with tenant"),
            (None, Some(_)) => want(!entry.tenants.is_empty(), "tenants", "must say which value is which tenant"),
            _ => want(false, "tenant", "must be given, or else tenant_claim with tenants, but not both"),
        }
        want(!entry.role_claim.is_empty(), "role_claim", "must name a claim");
        want(!entry.roles.is_empty(), "roles", "must say which value is which role");
        let operates = entry.roles.values().any(|role| *role == IssuerRole::Operator);
        want(entry.allow_operator || !operates, "roles", "may name operator only with allow_operator = true");
    }
    found
}

/// Keys come over TLS; only on this machine may they come without.
fn is_trustworthy(url: &str) -> bool {
    let host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        // A name before an @ could pass for the host.
        Some(authority).filter(|authority| !authority.is_empty() && !authority.contains('@'))
    };
    if let Some(rest) = url.strip_prefix("https://") {
        return host(rest).is_some();
    }
    url.strip_prefix("http://").and_then(host).is_some_and(|authority| {
        let name = match authority.strip_prefix('[') {
            Some(ipv6) => ipv6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        ["localhost", "127.0.0.1", "::1"].contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_tls_or_from_this_machine() {
        for right in ["https://login.example/jwks", "http://127.0.0.1:8081/k", "http://localhost/k", "http://[::1]:1/k"]
        {
            assert!(is_trustworthy(right), "{right}");
        }
        let wrong = [
            "http://login.example/jwks",
            "https://",
            "file:///etc/passwd",
            "http://127.0.0.1@evil.example/",
            "http://localhost.evil.example/",
            "",
        ];
        for wrong in wrong {
            assert!(!is_trustworthy(wrong), "{wrong}");
        }
    }
}
