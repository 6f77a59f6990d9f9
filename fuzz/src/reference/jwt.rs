//! A JWT in compact serialisation.

use super::base64::decode_url;
use super::json::{self, Object, Value};

/// What `typ` may say of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    AccessToken,
    Envelope,
    /// An access token that a client presents.
    Presented,
}

/// The payload of a signed JWT of that kind.
pub fn payload(jwt: &[u8], kind: Kind) -> Option<Object> {
    let parts: Vec<&[u8]> = jwt.split(|&byte| byte == b'.').collect();
    let [header, payload, signature] = parts[..] else { return None };
    // Whether the signature decodes is for those to see who verify it.
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    if parts.iter().any(|part| part.is_empty()) || !signature.iter().all(is_digit) {
        return None;
    }
    let header = json::object(&decode_url(header)?)?;
    let [alg] = json::all(&header, "alg")[..] else { return None };
    if alg.text()?.eq_ignore_ascii_case("none") {
        return None;
    }
    match json::all(&header, "typ")[..] {
        [] => {}
        [typ] if fits(typ, kind)? => {}
        _ => return None,
    }
    json::object(&decode_url(payload)?)
}

fn fits(typ: &Value, kind: Kind) -> Option<bool> {
    let typ = typ.text()?.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    Some(match kind {
        Kind::Presented => ["at+jwt", "jwt"].contains(&typ),
        Kind::Envelope => ["token-introspection+jwt", "jwt"].contains(&typ),
        Kind::AccessToken => {
            !["token-introspection+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt"].contains(&typ)
        }
    })
}
