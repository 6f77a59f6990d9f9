//! What a verdict belongs to: everything that shapes it, turned into the key of the token.

use core::cell::Cell;
use core::iter;

use phantom_token_core::answer::Mode;
use phantom_token_core::key::{RealmKey, TokenKey};

use crate::conf::LocationConf;
use crate::pool::bytes_of;
use crate::request::Request;

/// The key of `token` in the request's location. `None`: a variable could not be evaluated.
pub(crate) fn token_key(request: Request<'_>, token: &[u8]) -> Option<TokenKey> {
    let location = request.location();
    let kept = match location.realm_key.get() {
        Some(key) => key,
        None => make(request, location)?,
    };
    if location.fixed_realm {
        return Some(kept.token(token));
    }
    Some(varying_part(request, location, kept)?.token(token))
}

/// The key of a JWT that a client presents. No question shapes its verdict, and no variable: what it is verified
/// by does, the leeway included.
pub(crate) fn by_value_key(request: Request<'_>, jwt: &[u8]) -> TokenKey {
    let location = request.location();
    let make = || {
        let identity = request.server().identity.get();
        // SAFETY: the string is the cycle's.
        let issuer = unsafe { bytes_of(&location.issuer) };
        let kind = if location.mode == Mode::Claims { &b"claims"[..] } else { b"jwt" };
        let keys = location.keys().map_or(&[][..], |keys| keys.identity());
        let leeway = location.leeway.to_le_bytes();
        RealmKey::new(
            location.secret(),
            [b"by value", kind, &identity[..], keys, issuer, &leeway[..]]
                .into_iter()
                .chain(location.audiences().iter().copied()),
        )
    };
    location.by_value_key.get_or_init(make).token(jwt)
}

/// Derives what is the same for all requests of a location, for all that come later.
#[cold]
fn make<'l>(request: Request<'_>, location: &'l LocationConf) -> Option<&'l RealmKey> {
    let mut key = fixed_part(request, location);
    if location.fixed_realm {
        key = varying_part(request, location, &key)?;
    }
    Some(location.realm_key.get_or_init(|| key))
}

/// The part that is the same for all requests of a location.
fn fixed_part(request: Request<'_>, location: &LocationConf) -> RealmKey {
    let identity = request.server().identity.get();
    let members = location.members();
    let count = [u8::try_from(members.len()).unwrap_or(u8::MAX)];
    // SAFETY: the strings are the cycle's.
    let (accept, client_id) =
        unsafe { (bytes_of(&location.accepted), bytes_of(&location.client_id)) };
    let names =
        // SAFETY: as above.
        location.parameters().iter().map(|parameter| unsafe { bytes_of(&parameter.name) });
    // The parameters are as many as the names before them; how many follow tells the rest apart.
    let parameters = [u8::try_from(location.parameters().len()).unwrap_or(u8::MAX)];
    let exchanged = location
        .exchange()
        .into_iter()
        .flat_map(|exchange| exchange.fields().map(|(name, _)| name));
    // SAFETY: as above.
    let issuer = unsafe { bytes_of(&location.issuer) };
    let keys = location.keys().map_or(&[][..], |keys| keys.identity());
    let audiences = location.audiences();
    let audience_count = audiences.len().to_le_bytes();
    let leeway = location.jwt_leeway().to_le_bytes();
    RealmKey::new(
        location.secret(),
        [mode(location), &identity[..], accept, client_id, &count[..], &parameters[..]]
            .into_iter()
            .chain([keys, issuer, &leeway[..], &audience_count[..]])
            .chain(audiences.iter().copied())
            .chain(members.iter().copied())
            .chain(names)
            .chain(exchanged),
    )
}

/// What is asked for, and what counts as an answer.
fn mode(location: &LocationConf) -> &'static [u8] {
    match location.mode {
        Mode::Jwt => b"introspection, jwt",
        Mode::Claims if location.takes_unverified_envelopes() => {
            b"introspection, claims, unverified"
        }
        Mode::Claims => b"introspection, claims",
        Mode::Exchange => b"exchange",
    }
}

/// The part that variables may change: the endpoint, the values of the form fields, and what
/// `phantom_token_cache_key` adds.
fn varying_part(
    request: Request<'_>,
    location: &LocationConf,
    fixed: &RealmKey,
) -> Option<RealmKey> {
    let failed = Cell::new(false);
    let evaluate = |value| {
        // SAFETY: the values were compiled for this configuration.
        unsafe { request.evaluate(value) }.unwrap_or_else(|| {
            failed.set(true);
            &[]
        })
    };
    // An empty addition is none: the parts before it are as many in every key of this realm.
    let cache_key = iter::once(location.cache_key)
        .filter(|value| !value.is_null())
        .map(evaluate)
        .filter(|value| !value.is_empty());
    let parameters =
        location.parameters().iter().map(|parameter| (&raw const parameter.value).cast_mut());
    let exchanged = location.exchange().into_iter().flat_map(|exchange| {
        exchange.fields().map(|(_, value)| core::ptr::from_ref(value).cast_mut())
    });
    let values = iter::once(location.question_uri())
        .chain(parameters)
        .chain(exchanged)
        .map(evaluate)
        .chain(cache_key);
    let key = fixed.and(values);
    if failed.get() { None } else { Some(key) }
}
