//! The `WWW-Authenticate` value (RFC 6750 section 3), made at the time of configuration.

use crate::dpop::ALGORITHMS;
use crate::metadata::Resource;
use crate::reason::ChallengeError;

/// Why no challenge can be made of what is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeFault {
    /// RFC 6750 section 3 asks for at least one parameter.
    #[error("neither realm nor scope is set, but a challenge needs one of them: set a realm")]
    Empty,
    /// A quoted-string (RFC 9110 section 5.6.4) has no way to carry it.
    #[error("the realm has the control character {0:#04x}: leave it out")]
    Realm(u8),
    /// A scope-token (RFC 6749 section 3.3) cannot have it.
    #[error(
        "a scope has the byte {0:#04x}: scopes are separated by spaces and made of printable ASCII \
         without '\"' and '\\'"
    )]
    Scope(u8),
}

/// Makes `Bearer realm="…", scope="…", error="…", resource_metadata="…"`; what is empty is left out.
///
/// `scope` is a list that spaces separate; superfluous spaces are dropped. `resource` is what a client
/// finds the authorization server by (RFC 9728 section 5.1).
///
/// # Errors
/// Bytes that a parameter cannot carry, or neither realm nor scope nor resource: then the challenge that
/// has no `error` would have no parameter at all.
pub fn render(
    realm: &[u8],
    scope: &[u8],
    error: Option<ChallengeError>,
    resource: Option<Resource<'_>>,
) -> Result<Vec<u8>, ChallengeFault> {
    render_for("Bearer", "", realm, scope, error, resource)
}

/// The same of the scheme `DPoP`, with the algorithms that a proof may be signed with (RFC 9449 section 7.1).
///
/// # Errors
/// As of [`render`].
pub fn render_dpop(
    realm: &[u8],
    scope: &[u8],
    error: Option<ChallengeError>,
    resource: Option<Resource<'_>>,
) -> Result<Vec<u8>, ChallengeFault> {
    render_for("DPoP", &ALGORITHMS.join(" "), realm, scope, error, resource)
}

fn render_for(
    scheme: &str,
    algorithms: &str,
    realm: &[u8],
    scope: &[u8],
    error: Option<ChallengeError>,
    resource: Option<Resource<'_>>,
) -> Result<Vec<u8>, ChallengeFault> {
    if let Some(&byte) = realm.iter().find(|&&byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(ChallengeFault::Realm(byte));
    }
    let is_outside = |byte: u8| !matches!(byte, b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if let Some(&byte) = scope.iter().find(|&&byte| is_outside(byte)) {
        return Err(ChallengeFault::Scope(byte));
    }
    let tokens = scope.split(|&byte| byte == b' ').filter(|token| !token.is_empty());
    let scope = tokens.collect::<Vec<_>>().join(&b' ');
    if realm.is_empty() && scope.is_empty() && resource.is_none() {
        return Err(ChallengeFault::Empty);
    }
    let error = error.map_or("", ChallengeError::as_str);
    let metadata = resource.map_or_else(String::new, Resource::metadata_url);
    let mut value = scheme.as_bytes().to_vec();
    let parameters: [(&str, &[u8]); 5] = [
        ("realm", realm),
        ("scope", &scope),
        ("error", error.as_bytes()),
        ("resource_metadata", metadata.as_bytes()),
        ("algs", algorithms.as_bytes()),
    ];
    let mut separator = " ";
    for (name, text) in parameters.iter().filter(|(_, text)| !text.is_empty()) {
        value.extend_from_slice(separator.as_bytes());
        value.extend_from_slice(name.as_bytes());
        value.extend_from_slice(b"=\"");
        for &byte in *text {
            if matches!(byte, b'"' | b'\\') {
                value.push(b'\\');
            }
            value.push(byte);
        }
        value.push(b'"');
        separator = ", ";
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        use ChallengeError::{InsufficientScope, InvalidRequest, InvalidToken};
        let cases: &[(&str, &str, Option<ChallengeError>, &str)] = &[
            ("api", "", None, r#"Bearer realm="api""#),
            ("api", "a b", None, r#"Bearer realm="api", scope="a b""#),
            ("api", "", Some(InvalidToken), r#"Bearer realm="api", error="invalid_token""#),
            (
                "api",
                "  a   b ",
                Some(InvalidRequest),
                r#"Bearer realm="api", scope="a b", error="invalid_request""#,
            ),
            (
                "api",
                "a b",
                Some(InsufficientScope),
                r#"Bearer realm="api", scope="a b", error="insufficient_scope""#,
            ),
            ("", "a", None, r#"Bearer scope="a""#),
            ("", "a", Some(InvalidToken), r#"Bearer scope="a", error="invalid_token""#),
            (r#"a "b" \c"#, "", None, r#"Bearer realm="a \"b\" \\c""#),
            ("käse,\there", "", None, "Bearer realm=\"käse,\there\""),
            (
                "api",
                "https://a/b?c[]='d'",
                None,
                r#"Bearer realm="api", scope="https://a/b?c[]='d'""#,
            ),
        ];
        for (realm, scope, error, expected) in cases {
            let value = render(realm.as_bytes(), scope.as_bytes(), *error, None).unwrap();
            assert_eq!(String::from_utf8(value).unwrap(), *expected);
        }
    }

    #[test]
    fn challenges_that_lead_to_metadata() {
        let resource = Some(Resource::parse(b"https://resource.example.com/a").unwrap());
        let url = "https://resource.example.com/.well-known/oauth-protected-resource/a";
        let invalid = Some(ChallengeError::InvalidToken);
        for (realm, error, expected) in [
            ("api", None, format!(r#"Bearer realm="api", resource_metadata="{url}""#)),
            ("", None, format!(r#"Bearer resource_metadata="{url}""#)),
            ("", invalid, format!(r#"Bearer error="invalid_token", resource_metadata="{url}""#)),
        ] {
            let value = render(realm.as_bytes(), b"", error, resource).unwrap();
            assert_eq!(String::from_utf8(value).unwrap(), expected);
        }
    }

    #[test]
    fn challenges_for_proofs() {
        let algs = "ES256 ES384 Ed25519 EdDSA PS256 PS384 PS512 RS256 RS384 RS512";
        for (error, expected) in [
            (None, format!(r#"DPoP realm="api", algs="{algs}""#)),
            (
                Some(ChallengeError::InvalidProof),
                format!(r#"DPoP realm="api", error="invalid_dpop_proof", algs="{algs}""#),
            ),
            (
                Some(ChallengeError::UseNonce),
                format!(r#"DPoP realm="api", error="use_dpop_nonce", algs="{algs}""#),
            ),
        ] {
            let value = render_dpop(b"api", b"", error, None).unwrap();
            assert_eq!(String::from_utf8(value).unwrap(), expected);
        }
    }

    #[test]
    fn faults() {
        use ChallengeFault::{Empty, Realm, Scope};
        let cases: &[(&[u8], &[u8], ChallengeFault)] = &[
            (b"", b"", Empty),
            (b"", b"  ", Empty),
            (b"a\r\nSet-Cookie: b", b"", Realm(b'\r')),
            (b"a\0", b"", Realm(0)),
            (b"a\x7f", b"", Realm(0x7f)),
            (b"api", b"a\tb", Scope(b'\t')),
            (b"api", b"a\nb", Scope(b'\n')),
            (b"api", b"a\"b", Scope(b'"')),
            (b"api", b"a\\b", Scope(b'\\')),
            (b"api", "ä".as_bytes(), Scope(0xc3)),
        ];
        for (realm, scope, fault) in cases {
            for error in [None, Some(ChallengeError::InvalidToken)] {
                assert_eq!(render(realm, scope, error, None), Err(*fault));
            }
        }
        assert_eq!(
            Realm(b'\r').to_string(),
            "the realm has the control character 0x0d: leave it out"
        );
    }
}
