//! Which members of a JWK set may be keys for signatures, as far as that shows without arithmetic.

use super::base64::decode_url;
use super::json::{self, Object, Value, all};

/// How many keys a set may have at most that count; `None` if it is no set.
pub fn candidates(text: &[u8]) -> Option<usize> {
    let set = json::object(text)?;
    let [Value::Array(keys)] = all(&set, "keys")[..] else { return None };
    Some(keys.iter().filter(|key| is_candidate(key).unwrap_or(false)).count())
}

fn is_candidate(key: &Value) -> Option<bool> {
    let Value::Object(key) = key else { return None };
    let secrets = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv", "k"];
    if secrets.iter().any(|name| !all(key, name).is_empty()) {
        return None;
    }
    if text(key, "use")?.is_some_and(|it| it != "sig") || text(key, "kid").is_none() {
        return None;
    }
    match all(key, "key_ops")[..] {
        [] => {}
        [Value::Array(operations)] if operations.iter().any(|it| it.text() == Some("verify")) => {}
        _ => return None,
    }
    let bytes = |name| decode_url(text(key, name)??.as_bytes());
    let (algorithms, sound): (&[&str], bool) = match (text(key, "kty")??, text(key, "crv")?) {
        ("RSA", _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let n = n.iter().skip_while(|&&byte| byte == 0).count();
            let is_odd = e.last()? % 2 == 1;
            (
                &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
                is_odd && (256..=1024).contains(&n),
            )
        }
        ("EC", Some("P-256")) => (&["ES256"], bytes("x")?.len() == 32 && bytes("y")?.len() == 32),
        ("EC", Some("P-384")) => (&["ES384"], bytes("x")?.len() == 48 && bytes("y")?.len() == 48),
        ("OKP", Some("Ed25519")) => (&["EdDSA", "Ed25519"], bytes("x")?.len() == 32),
        _ => return None,
    };
    Some(sound && text(key, "alg")?.is_none_or(|alg| algorithms.contains(&alg)))
}

/// The string of that name, if it is there once; null is as good as absent.
fn text<'k>(key: &'k Object, name: &str) -> Option<Option<&'k str>> {
    match all(key, name)[..] {
        [] | [Value::Null] => Some(None),
        [value] => value.text().map(Some),
        _ => None,
    }
}
