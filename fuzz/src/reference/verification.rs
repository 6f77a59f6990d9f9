//! What a JWT with a good EdDSA signature must say to be accepted.

use super::instant::{Seconds, seconds};
use super::json::{self, Object, Value, all};
use super::jwt::{self, Kind};

/// Whom a JWT must be by and for, the one name of a key, and the time in seconds.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
    pub kid: &'a str,
    pub now: i64,
    pub leeway: i64,
}

/// Whether it is accepted; `None` where a number was written so that its neighbour may be read.
pub fn accepts(jwt: &[u8], header: &[u8], kind: Kind, expected: &Expected<'_>) -> Option<bool> {
    let Some(payload) = jwt::payload(jwt, kind) else { return Some(false) };
    let Some(header) = json::object(header) else { return Some(false) };
    if !has_sound_header(&header, expected.kid) {
        return Some(false);
    }
    let is_issuer = |value: &Value| value.text() == Some(expected.issuer);
    let (Some([Some(issuer)]), Some([Some(audience)])) =
        (only(&payload, ["iss"]), only(&payload, ["aud"]))
    else {
        return Some(false);
    };
    if !is_issuer(issuer) || !is_meant(audience, expected.audience) {
        return Some(false);
    }
    let begins_by = expected.now + expected.leeway;
    let mut verdict = in_time(&payload, begins_by);
    let Some([inside, iat, exp]) = only(&payload, ["token_introspection", "iat", "exp"]) else {
        return Some(false);
    };
    if kind != Kind::Envelope && inside.is_some() {
        return Some(false);
    }
    if kind == Kind::Presented
        && (matches!(exp, None | Some(Value::Null)) || !all(&payload, "events").is_empty())
    {
        return Some(false);
    }
    if kind == Kind::Envelope {
        let Some(Value::Object(inside)) = inside else { return Some(false) };
        if matches!(iat, None | Some(Value::Null)) || only(inside, NAMES).is_none() {
            return Some(false);
        }
        verdict = and(verdict, in_time(inside, begins_by));
    }
    let lives = match exp.and_then(seconds) {
        None => Some(true),
        Some(exp) => compare(exp, expected.now).map(|after| after > 0),
    };
    and(verdict, lives)
}

const NAMES: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "token_introspection"];

fn has_sound_header(header: &Object, kid: &str) -> bool {
    all(header, "alg").iter().all(|alg| matches!(alg.text(), Some("EdDSA" | "Ed25519")))
        && all(header, "crit").is_empty()
        && matches!(all(header, "b64")[..], [] | [Value::Bool(true)])
        && match all(header, "kid")[..] {
            [] => true,
            [value] => value.text() == Some(kid),
            _ => false,
        }
}

/// The values of these names; `None` if one is there twice.
fn only<'o, const N: usize>(
    object: &'o Object,
    names: [&str; N],
) -> Option<[Option<&'o Value>; N]> {
    let values = names.map(|name| all(object, name));
    let sound = values.iter().all(|values| values.len() < 2);
    sound.then(|| values.map(|values| values.first().copied()))
}

fn is_meant(audience: &Value, expected: &str) -> bool {
    match audience {
        Value::Array(all) => {
            all.iter().all(|it| it.text().is_some())
                && all.iter().any(|it| it.text() == Some(expected))
        }
        one => one.text() == Some(expected),
    }
}

/// Whether all dates are dates, and those at which it begins are not to come.
fn in_time(object: &Object, begins_by: i64) -> Option<bool> {
    let Some(dates) = only(object, ["exp", "nbf", "iat"]) else { return Some(false) };
    let is_date = |value: &Value| matches!(value, Value::Null) || seconds(value).is_some();
    if !dates.into_iter().flatten().all(is_date) {
        return Some(false);
    }
    let [_, nbf, iat] = dates;
    let mut verdict = Some(true);
    for date in [nbf, iat].into_iter().flatten().filter_map(seconds) {
        verdict = and(verdict, compare(date, begins_by).map(|after| after <= 0));
    }
    verdict
}

/// A date beside an instant: before, at or after it.
fn compare(date: Seconds, instant: i64) -> Option<i64> {
    let off = date.whole.saturating_sub(instant);
    let near = 2 + date.whole.unsigned_abs() / (1 << 50);
    (date.is_plain || off.unsigned_abs() > near).then_some(off.signum())
}

fn and(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
