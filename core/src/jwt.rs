//! What a JWT in compact serialisation says of itself (RFC 7515, RFC 7519). `jose` verifies that it is true.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use crate::members::Active;

use crate::alphabet;
use crate::json::{self, Value};
use crate::members::{Members, Name};
use crate::record::UnixMillis;

/// What a JWT is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An access token, or claims in its stead. Without `typ`, or with any that names no other kind (RFC
    /// 8725 section 3.11).
    AccessToken,
    /// A signed introspection answer (RFC 9701 section 5). Without `typ` too, or with the one of any JWT:
    /// not every server sets its own. Janssen says `JWT`.
    Envelope,
    /// An access token that a client presents as it is. No answer vouches for what it is, so that `typ` is the
    /// one of RFC 9068, that of any JWT, or none, and nothing else.
    Presented,
}

/// What of the payload counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `exp`.
    pub expires: Option<UnixMillis>,
    /// There is a `cnf`, or a `token_type` that says so: the token is bound to a sender.
    pub bound: bool,
    /// `active`, which makes the JWT an introspection answer instead of an access token.
    pub active: Option<Active>,
    /// There is a `token_introspection`: an answer in an envelope (RFC 9701).
    pub envelope: bool,
    /// It says that it is a refresh token.
    pub refresh: bool,
}

/// Why a JWT cannot be used as an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not three non-empty parts of base64url.
    #[error("it is not a signed JWT in compact serialisation (three parts of base64url)")]
    NotCompact,
    /// Five parts.
    #[error(
        "it is encrypted (JWE), which is not supported: let the authorization server only sign it"
    )]
    Encrypted,
    /// A part does not decode.
    #[error("its header or payload is not valid base64url")]
    Encoding,
    /// The header is no JSON object, or one that RFC 7515 section 4 forbids.
    #[error(
        "its header is not a JSON object with one \"alg\" and at most one \"typ\", both strings"
    )]
    Header,
    /// `alg` is `none`.
    #[error("it is unsecured (\"alg\" is \"none\"): let the authorization server sign its tokens")]
    Unsecured,
    /// `typ` is `token-introspection+jwt`.
    #[error("it is a signed introspection answer (RFC 9701), not an access token")]
    Envelope,
    /// `typ` names another kind of JWT.
    #[error(
        "its \"typ\" is that of a logout token, security event or DPoP proof, not an access token"
    )]
    OtherKind,
    /// A client presents it, and `typ` is none that an access token has.
    #[error("its \"typ\" is not at+jwt (RFC 9068) or JWT, as an access token has it")]
    NotPresentable,
    /// An envelope is expected, and `typ` says that this is none.
    #[error("its \"typ\" is not token-introspection+jwt, as a signed introspection answer has it")]
    NotAnEnvelope,
    /// The payload is no JSON object.
    #[error("its payload is not a JSON object")]
    Payload,
    /// A claim that counts is there twice.
    #[error("its payload has a claim twice")]
    Repeated,
    /// `exp` is no date.
    #[error("its \"exp\" is not a number of seconds")]
    Exp,
    /// The caller's scratch space is shorter than the JWT.
    #[error("no room to decode it")]
    Scratch,
}

/// Whether these bytes have the shape of a signed JWT: exactly three non-empty parts of base64url
/// characters (RFC 7515 section 7.1). An unsecured JWT has an empty signature, and is none.
#[must_use]
pub fn is_compact(bytes: &[u8]) -> bool {
    parts(bytes).is_some()
}

/// The header of what may be a JWT that a client presents: the first of exactly three parts of base64url, of which
/// the others may be empty; an unsecured JWT is no opaque token.
#[must_use]
pub fn header(token: &[u8]) -> Option<&[u8]> {
    let (header, rest) = at_dot(token)?;
    let (payload, signature) = at_dot(rest)?;
    let is_part = |part: &[u8]| alphabet::holds(part, is_base64url);
    (is_part(header) && is_part(payload) && is_part(signature)).then_some(header)
}

/// Whether such a header is one in truth, and the token no opaque one that has two dots: a JSON object with an
/// `alg`, whatever else may be wrong with it. `scratch` must be as long as `header`.
#[must_use]
pub fn is_header(header: &[u8], scratch: &mut [u8]) -> bool {
    let mut has_alg = false;
    let known = |name: &str| (name == "alg").then_some(());
    decode(header, scratch)
        .is_ok_and(|header| json::object(header, known, |(), _| has_alg = true).is_ok())
        && has_alg
}

/// Header, payload and signature of what has that shape.
pub(crate) fn parts(jwt: &[u8]) -> Option<[&[u8]; 3]> {
    let (header, rest) = at_dot(jwt)?;
    let (payload, signature) = at_dot(rest)?;
    let parts = [header, payload, signature];
    let is_part = |part: &&[u8]| !part.is_empty() && alphabet::holds(part, is_base64url);
    parts.iter().all(is_part).then_some(parts)
}

fn at_dot(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = bytes.split_at_checked(memchr::memchr(b'.', bytes)?)?;
    Some((before, rest.get(1..)?))
}

/// Whether these bytes have the shape of a JWE: five parts, some of which may be empty (RFC 7516 section 7.1).
fn is_encrypted(bytes: &[u8]) -> bool {
    let is_part = |part: &[u8]| alphabet::holds(part, is_base64url);
    bytes.split(|&byte| byte == b'.').all(is_part)
        && bytes.iter().filter(|&&byte| byte == b'.').count() == 4
}

fn is_base64url(byte: u8) -> bool {
    alphabet::is_alphanumeric(byte) | (byte == b'-') | (byte == b'_')
}

/// Checks the header and decodes the payload into `scratch`, which must be as long as `jwt`.
///
/// # Errors
/// [`JwtError`] for whatever is no JWT of that kind by its shape and its header.
pub fn payload<'s>(jwt: &[u8], kind: Kind, scratch: &'s mut [u8]) -> Result<&'s [u8], JwtError> {
    let [header, payload, _signature] = parts(jwt).ok_or_else(|| {
        if is_encrypted(jwt) { JwtError::Encrypted } else { JwtError::NotCompact }
    })?;
    if scratch.len() < jwt.len() {
        return Err(JwtError::Scratch);
    }
    check_header(decode(header, scratch)?, kind)?;
    decode(payload, scratch)
}

/// Reads what counts of an access token, and gives its payload, too. `scratch` must be as long as `jwt`.
///
/// # Errors
/// [`JwtError`] for whatever cannot be an access token.
pub fn claims<'s>(jwt: &[u8], scratch: &'s mut [u8]) -> Result<(Claims, &'s [u8]), JwtError> {
    let payload = payload(jwt, Kind::AccessToken, scratch)?;
    let mut members = Members::default();
    json::object(payload, Name::of, |name, value| members.note(name, &value))
        .map_err(|_| JwtError::Payload)?;
    if members.repeated {
        return Err(JwtError::Repeated);
    }
    if members.unreadable_exp {
        return Err(JwtError::Exp);
    }
    let claims = Claims {
        expires: members.expires,
        bound: members.bound,
        active: members.active,
        envelope: members.envelope,
        refresh: members.refresh,
    };
    Ok((claims, payload))
}

fn decode<'s>(part: &[u8], scratch: &'s mut [u8]) -> Result<&'s [u8], JwtError> {
    let len = URL_SAFE_NO_PAD.decode_slice(part, scratch).map_err(|_| JwtError::Encoding)?;
    scratch.get(..len).ok_or(JwtError::Encoding)
}

fn check_header(header: &[u8], kind: Kind) -> Result<(), JwtError> {
    #[derive(PartialEq)]
    enum Parameter {
        Alg,
        Typ,
    }
    let known = |name: &str| match name {
        "alg" => Some(Parameter::Alg),
        "typ" => Some(Parameter::Typ),
        _ => None,
    };
    let mut fault = None;
    let mut has_alg = false;
    let mut has_typ = false;
    json::object(header, known, |parameter, value: Value<'_, '_>| {
        let is_alg = parameter == Parameter::Alg;
        let seen = if is_alg { &mut has_alg } else { &mut has_typ };
        let repeated = core::mem::replace(seen, true);
        let found = match value.text() {
            None => Some(JwtError::Header),
            Some(_) if repeated => Some(JwtError::Header),
            Some(alg) if is_alg => alg.eq_ignore_ascii_case("none").then_some(JwtError::Unsecured),
            Some(typ) => fault_of_typ(typ, kind),
        };
        fault = fault.or(found);
    })
    .map_err(|_| JwtError::Header)?;
    match fault {
        Some(fault) => Err(fault),
        None if has_alg => Ok(()),
        None => Err(JwtError::Header),
    }
}

/// `typ` is a media type, mostly without its `application/` (RFC 7515 section 4.1.9).
fn fault_of_typ(typ: &str, expected: Kind) -> Option<JwtError> {
    const PREFIX: &str = "application/";
    let kind = match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, kind)) if prefix.eq_ignore_ascii_case(PREFIX) => kind,
        _ => typ,
    };
    let is = |known: &&str| kind.eq_ignore_ascii_case(known);
    if expected == Kind::Presented && ["at+jwt", "JWT"].iter().any(is) {
        None
    } else if expected == Kind::Envelope {
        let fits = ["token-introspection+jwt", "JWT"].iter().any(is);
        (!fits).then_some(JwtError::NotAnEnvelope)
    } else if is(&"token-introspection+jwt") {
        Some(JwtError::Envelope)
    } else if ["logout+jwt", "secevent+jwt", "dpop+jwt"].iter().any(is) {
        Some(JwtError::OtherKind)
    } else {
        (expected == Kind::Presented).then_some(JwtError::NotPresentable)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::display::Base64Display;

    use super::*;

    /// A JWT whose signature means nothing.
    pub(crate) fn encode(header: &[u8], payload: &[u8]) -> String {
        let part = |bytes| Base64Display::new(bytes, &URL_SAFE_NO_PAD).to_string();
        format!("{}.{}.c2ln", part(header), part(payload))
    }

    fn read(header: &[u8], payload: &[u8]) -> Result<Claims, JwtError> {
        let jwt = encode(header, payload);
        claims(jwt.as_bytes(), &mut vec![0; jwt.len()]).map(|(claims, _)| claims)
    }

    pub(crate) const HEADER: &[u8] = br#"{"alg":"RS256"}"#;
    const NOTHING: Claims =
        Claims { expires: None, bound: false, active: None, envelope: false, refresh: false };

    #[test]
    fn shapes() {
        for jwt in ["a.b.c", "aA-_.09.z"] {
            assert!(is_compact(jwt.as_bytes()), "{jwt}");
        }
        for jwt in [
            "",
            ".",
            "..",
            "a",
            "a.b",
            "a.b.",
            "a..c",
            ".b.c",
            "a.b.c.",
            "a.b.c.d",
            "a.b.c.d.e",
            "a.b.c=",
            "a.b+.c",
            "a.b/.c",
            " a.b.c",
            "a.b.c ",
            "a.b.c\n",
            "a.b\0.c",
            "a.b.ä",
        ] {
            assert!(!is_compact(jwt.as_bytes()), "{jwt}");
        }
    }

    #[test]
    fn headers() {
        let cases: &[(&str, Result<Claims, JwtError>)] = &[
            (r#"{"alg":"RS256"}"#, Ok(NOTHING)),
            (r#"{"alg":"RS256","typ":"JWT","kid":"x"}"#, Ok(NOTHING)),
            (r#"{"alg":"RS256","typ":"at+jwt"}"#, Ok(NOTHING)),
            (r#"{"alg":"RS256","typ":"application/at+jwt"}"#, Ok(NOTHING)),
            (r#"{"alg":"none"}"#, Err(JwtError::Unsecured)),
            (r#"{"alg":"nOnE"}"#, Err(JwtError::Unsecured)),
            (r#"{"alg":"\u006eone"}"#, Err(JwtError::Unsecured)),
            (r#"{"alg":"RS256","typ":"token-introspection+jwt"}"#, Err(JwtError::Envelope)),
            (
                r#"{"typ":"APPLICATION/Token-Introspection+JWT","alg":"RS256"}"#,
                Err(JwtError::Envelope),
            ),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, Err(JwtError::OtherKind)),
            (r#"{"alg":"RS256","typ":"secevent+jwt"}"#, Err(JwtError::OtherKind)),
            (r#"{"alg":"RS256","typ":"application/dpop+jwt"}"#, Err(JwtError::OtherKind)),
            (r#"{"alg":"RS256","typ":1}"#, Err(JwtError::Header)),
            (r#"{"alg":"RS256","typ":"JWT","typ":"JWT"}"#, Err(JwtError::Header)),
            (r#"{"alg":"RS256","alg":"none"}"#, Err(JwtError::Header)),
            (r#"{"alg":null}"#, Err(JwtError::Header)),
            (r#"{"alg":["RS256"]}"#, Err(JwtError::Header)),
            (r#"{"typ":"JWT"}"#, Err(JwtError::Header)),
            ("{}", Err(JwtError::Header)),
            ("[]", Err(JwtError::Header)),
            ("{", Err(JwtError::Header)),
        ];
        for (header, expected) in cases {
            assert_eq!(read(header.as_bytes(), b"{}"), *expected, "{header}");
        }
    }

    #[test]
    fn kinds_that_a_client_may_present() {
        let cases: &[(&str, Result<(), JwtError>)] = &[
            (r#"{"alg":"RS256"}"#, Ok(())),
            (r#"{"alg":"RS256","typ":"at+jwt"}"#, Ok(())),
            (r#"{"alg":"RS256","typ":"application/AT+JWT"}"#, Ok(())),
            (r#"{"alg":"RS256","typ":"jwt"}"#, Ok(())),
            (r#"{"alg":"RS256","typ":""}"#, Err(JwtError::NotPresentable)),
            (r#"{"alg":"RS256","typ":"application/"}"#, Err(JwtError::NotPresentable)),
            (r#"{"alg":"RS256","typ":"id+jwt"}"#, Err(JwtError::NotPresentable)),
            (r#"{"alg":"RS256","typ":"at+jwt "}"#, Err(JwtError::NotPresentable)),
            (r#"{"alg":"RS256","typ":"token-introspection+jwt"}"#, Err(JwtError::Envelope)),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, Err(JwtError::OtherKind)),
            (r#"{"alg":"RS256","typ":"secevent+jwt"}"#, Err(JwtError::OtherKind)),
            (r#"{"alg":"RS256","typ":"application/DPoP+jwt"}"#, Err(JwtError::OtherKind)),
            (r#"{"alg":"RS256","typ":null}"#, Err(JwtError::Header)),
            (r#"{"alg":"none"}"#, Err(JwtError::Unsecured)),
        ];
        for (header, expected) in cases {
            let jwt = encode(header.as_bytes(), b"{}");
            let found = payload(jwt.as_bytes(), Kind::Presented, &mut vec![0; jwt.len()]).map(drop);
            assert_eq!(found, *expected, "{header}");
        }
    }

    /// Whether a token would be taken for a JWT.
    fn is_jwt(token: &str) -> bool {
        header(token.as_bytes()).is_some_and(|header| is_header(header, &mut vec![0; header.len()]))
    }

    #[test]
    fn jwts_among_opaque_tokens() {
        let encoded =
            |header: &str| Base64Display::new(header.as_bytes(), &URL_SAFE_NO_PAD).to_string();
        let headers = [
            r#"{"alg":"RS256"}"#,
            r#" {"typ":1, "alg":"none"} "#,
            r#"{"alg":null}"#,
            r#"{"alg":[{}],"alg":"HS256","crit":["x"]}"#,
            r#"{"\u0061lg":"RS256"}"#,
        ];
        for header in headers.map(encoded) {
            for rest in ["e30.c2ln", "e30.", ".c2ln", ".", "a.b", "A-_.x"] {
                assert!(is_jwt(&format!("{header}.{rest}")), "{header}.{rest}");
            }
            for rest in
                ["", "e30", "e30.c2ln.", "e30.c2ln.x.y", "e30.c2ln=", "e~0.x", "e30.c2l+", "e 0.x"]
            {
                assert!(!is_jwt(&format!("{header}.{rest}")), "{header}.{rest}");
            }
            assert!(!is_jwt(&header));
            assert!(!is_jwt(&format!("{header}=.e30.c2ln")));
        }
        for header in [
            "{}",
            "[]",
            "",
            "null",
            r#"{"ALG":"RS256"}"#,
            r#"{"alg":"RS256"#,
            r#"["alg"]"#,
            "\u{1}",
        ] {
            assert!(!is_jwt(&format!("{}.e30.c2ln", encoded(header))), "{header}");
        }
        for opaque in ["", ".", "..", "...", "a.b.c", "v1.local.x", "1.2.3"] {
            assert!(!is_jwt(opaque), "{opaque}");
        }
        let header = encoded(r#"{"alg":"RS256"}"#);
        assert!(!is_header(header.as_bytes(), &mut [0; 4]));
    }

    #[test]
    fn payloads() {
        let cases: &[(&str, Result<Claims, JwtError>)] = &[
            (r#"{"sub":"x"}"#, Ok(NOTHING)),
            (r#"{"exp":17}"#, Ok(Claims { expires: Some(17_000), ..NOTHING })),
            (r#"{"cnf":{"jkt":"x"}}"#, Ok(Claims { bound: true, ..NOTHING })),
            (r#"{"active":true}"#, Ok(Claims { active: Some(Active::True), ..NOTHING })),
            (r#"{"active":"true"}"#, Ok(Claims { active: Some(Active::Other), ..NOTHING })),
            (r#"{"token_introspection":{}}"#, Ok(Claims { envelope: true, ..NOTHING })),
            (r#"{"typ":"Refresh"}"#, Ok(Claims { refresh: true, ..NOTHING })),
            (r#"{"exp":1,"exp":2}"#, Err(JwtError::Repeated)),
            (r#"{"exp":"soon"}"#, Err(JwtError::Exp)),
            (r#""x""#, Err(JwtError::Payload)),
            ("{}{}", Err(JwtError::Payload)),
        ];
        for (payload, expected) in cases {
            assert_eq!(read(HEADER, payload.as_bytes()), *expected, "{payload}");
        }
        assert_eq!(read(HEADER, b"{\"sub\":\"\xff\"}"), Err(JwtError::Payload));
    }

    #[test]
    fn encodings() {
        for jwt in ["a.e30.x", "e30.a.x", "eyJhbGciOiJSUzI1NiJ9.e31.x", "e30.e30.x"] {
            assert!(claims(jwt.as_bytes(), &mut [0; 64]).is_err(), "{jwt}");
        }
        let jwt = encode(HEADER, b"{}");
        let mut scratch = vec![0; jwt.len()];
        assert_eq!(claims(jwt.as_bytes(), &mut scratch), Ok((NOTHING, &b"{}"[..])));
        assert_eq!(claims(jwt.as_bytes(), &mut scratch[1..]), Err(JwtError::Scratch));
        assert_eq!(claims(b"e30.e30.", &mut scratch), Err(JwtError::NotCompact));
    }
}
