//! Whether a JWT is one of the authorization server's, for us and of now.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::signature_len;
use super::error::VerifyError;
use super::header::Header;
use super::key_set::KeySet;
use super::limits::{MAX_HEADER, MAX_JWT, MAX_PRESENTED, MAX_TRIED, MAX_TRIED_PRESENTED};
use crate::json::{self, Value};
use crate::jwt::{self, JwtError, Kind};
use crate::members;
use crate::raw_json;
use crate::record::UnixMillis;

/// What a JWT must say.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Its `iss`, byte by byte; `None`: any, or none.
    pub issuer: Option<&'a [u8]>,
    /// Its `aud` has one of these; empty: any, or none.
    pub audiences: &'a [&'a [u8]],
    /// How far `nbf` and `iat` may be in the future, in milliseconds; a negative one counts as 0.
    pub leeway: i64,
}

/// Verifies a JWT of that kind (RFC 7515 section 5.2, RFC 7519 section 7.2, RFC 8725).
///
/// `exp` has no leeway. Of an envelope (RFC 9701) the times outside are its own, and `nbf` and `iat` inside
/// count as well; `exp` inside is the token's, for whoever judges that. What a client presents must have an `exp`,
/// and no `events` (RFC 8417, OpenID Connect Back-Channel Logout section 2.4): their `typ` may be left out.
///
/// # Errors
/// [`VerifyError`]. [`VerifyError::Expired`] is the last thing to be looked at: all else is right.
pub fn verify(
    jwt: &[u8],
    kind: Kind,
    keys: &KeySet,
    expect: &Expect<'_>,
    now: UnixMillis,
) -> Result<(), VerifyError> {
    let signed =
        jwt.iter().rposition(|&byte| byte == b'.').and_then(|end| jwt.split_at_checked(end));
    let (message, signature) = signed.unwrap_or((jwt, &[]));
    let header_len = jwt.iter().position(|&byte| byte == b'.').unwrap_or(0);
    let (longest, tried) = match kind {
        Kind::Presented => (MAX_PRESENTED, MAX_TRIED_PRESENTED),
        Kind::AccessToken | Kind::Envelope => (MAX_JWT, MAX_TRIED),
    };
    if jwt.len() > longest || header_len > MAX_HEADER {
        return Err(VerifyError::TooLarge);
    }
    // Its shape, its kind and its `alg`, with all that these are refused for.
    let mut scratch = vec![0; jwt.len()];
    let payload = jwt::payload(jwt, kind, &mut scratch)?;

    let encoding = |_| VerifyError::Jwt(JwtError::Encoding);
    let header = jwt.get(..header_len).unwrap_or_default();
    let header = Header::read(&URL_SAFE_NO_PAD.decode(header).map_err(encoding)?)?;
    let longest = signature_len(header.algorithm);
    // Without the dot.
    let signature = signature.get(1..).unwrap_or_default();
    if signature.len() > longest.div_ceil(3) * 4 {
        return Err(VerifyError::TooLarge);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(encoding)?;
    check_signature(&header, message, &signature, keys, tried)?;
    check_claims(payload, kind, expect, now)
}

fn check_signature(
    header: &Header,
    message: &[u8],
    signature: &Vec<u8>,
    keys: &KeySet,
    tried: usize,
) -> Result<(), VerifyError> {
    let kid = header.kid.as_deref();
    let unusable = kid.and_then(|kid| keys.fault_of(kid)).map(VerifyError::UnusableKey);
    if kid.is_some() && keys.of_kid(kid).next().is_none() {
        return Err(unusable.unwrap_or(VerifyError::UnknownKid));
    }
    let mut fault = unusable.unwrap_or(VerifyError::NoKey);
    let fitting = keys.of_kid(kid).filter_map(|key| key.verifier(header.algorithm));
    for verifier in fitting.take(tried) {
        if verifier.verify(message, signature).is_ok() {
            return Ok(());
        }
        fault = if kid.is_some() { VerifyError::NamedKey } else { VerifyError::Signature };
    }
    Err(fault)
}

/// The claims that count here.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Name {
    Iss,
    Aud,
    Exp,
    Nbf,
    Iat,
    Inside,
    /// Counts in what a client presents, and is no claim of any answer.
    Events,
}

impl Name {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "iss" => Self::Iss,
            "aud" => Self::Aud,
            "exp" => Self::Exp,
            "nbf" => Self::Nbf,
            "iat" => Self::Iat,
            "token_introspection" => Self::Inside,
            _ => return None,
        })
    }
}

/// What they say.
#[derive(Default)]
struct Claims {
    is_issuer: bool,
    expires: Option<UnixMillis>,
    /// The later of `nbf` and `iat`.
    begins: Option<UnixMillis>,
    is_dated: bool,
    unreadable_date: bool,
    repeated: bool,
    seen: u8,
}

impl Claims {
    fn read(object: &[u8], issuer: Option<&[u8]>) -> Result<Self, VerifyError> {
        let mut claims = Self::default();
        json::object(object, Name::of, |name, value| claims.note(name, &value, issuer))
            .map_err(|_| VerifyError::Payload)?;
        if claims.repeated {
            return Err(VerifyError::Repeated);
        }
        if claims.unreadable_date {
            return Err(VerifyError::Date);
        }
        Ok(claims)
    }

    fn note(&mut self, name: Name, value: &Value<'_, '_>, issuer: Option<&[u8]>) {
        let bit = 1 << (name as u8);
        self.repeated |= self.seen & bit != 0;
        self.seen |= bit;
        match name {
            Name::Iss => self.is_issuer = value.text().map(str::as_bytes) == issuer,
            Name::Exp => match members::instant(value) {
                Ok(expires) => self.expires = expires,
                Err(_) => self.unreadable_date = true,
            },
            Name::Nbf | Name::Iat => {
                // Neither end of a JWT's life is moved outwards by cutting a fraction off.
                let begins = match value {
                    Value::Float(seconds) => members::instant(&Value::Float(seconds.ceil())),
                    whole => members::instant(whole),
                };
                match begins {
                    Ok(begins) => {
                        self.is_dated |= matches!(name, Name::Iat) && begins.is_some();
                        self.begins = self.begins.max(begins);
                    }
                    Err(_) => self.unreadable_date = true,
                }
            }
            Name::Aud | Name::Inside | Name::Events => {}
        }
    }

    fn begins_after(&self, latest: UnixMillis) -> bool {
        self.begins.is_some_and(|begins| begins > latest)
    }
}

fn check_claims(
    payload: &[u8],
    kind: Kind,
    expect: &Expect<'_>,
    now: UnixMillis,
) -> Result<(), VerifyError> {
    let claims = Claims::read(payload, expect.issuer)?;
    if expect.issuer.is_some() && !claims.is_issuer {
        return Err(VerifyError::Issuer);
    }
    // Each is there once at most, as was seen above.
    let mut audience = None;
    let mut inside = None;
    let mut is_event = false;
    let name = |name: raw_json::Text<'_, '_>| match name.as_str() {
        "events" => Some(Name::Events),
        name => Name::of(name),
    };
    raw_json::members(payload, name, |name, value| match name {
        Some(Name::Aud) => audience = Some(value),
        Some(Name::Inside) => inside = Some(value),
        Some(Name::Events) => is_event = true,
        _ => {}
    })
    .map_err(|_| VerifyError::Payload)?;
    if !expect.audiences.is_empty()
        && !audience.is_some_and(|audience| is_meant(audience, expect.audiences))
    {
        return Err(VerifyError::Audience);
    }
    let latest = now.saturating_add(expect.leeway.max(0));
    let mut begins_late = claims.begins_after(latest);
    match kind {
        Kind::Envelope => {
            let inside = inside.filter(|_| claims.is_dated).ok_or(VerifyError::Payload)?;
            begins_late |= Claims::read(inside.as_bytes(), None)?.begins_after(latest);
        }
        // An answer about some token is none itself, whatever its `typ` leaves out.
        Kind::AccessToken | Kind::Presented if inside.is_some() => {
            return Err(JwtError::Envelope.into());
        }
        Kind::AccessToken => {}
        Kind::Presented if is_event => return Err(VerifyError::OtherKind),
        Kind::Presented if claims.expires.is_none() => return Err(VerifyError::NoExpiry),
        Kind::Presented => {}
    }
    if begins_late {
        return Err(VerifyError::NotYet);
    }
    match claims.expires {
        Some(expires) if now >= expires => Err(VerifyError::Expired),
        _ => Ok(()),
    }
}

/// Whether this `aud`, a string or an array of strings (RFC 7519 section 4.1.3), has one of those.
fn is_meant(audience: &str, expected: &[&[u8]]) -> bool {
    let is_expected = |text: &str| {
        raw_json::string(text, |text| expected.contains(&text.as_str().as_bytes())).ok()
    };
    if !audience.starts_with('[') {
        return is_expected(audience).unwrap_or(false);
    }
    let mut found = false;
    let mut sound = true;
    let read = raw_json::elements(audience, |element| match is_expected(element) {
        Some(is_expected) => found |= is_expected,
        None => sound = false,
    });
    read.is_ok() && sound && found
}
