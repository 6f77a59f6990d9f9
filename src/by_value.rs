//! JWTs that clients present as tokens (`phantom_token_accept_jwt verify`): told from opaque tokens, verified here,
//! and never asked about.

use phantom_token_core::answer::Verification;
use phantom_token_core::cache::Body;
use phantom_token_core::jose::VerifyError;
use phantom_token_core::reason::Reason;
use phantom_token_core::record::{Document, State};
use phantom_token_core::{by_value, facts, jwt};

use crate::answer;
use crate::conf::LocationConf;
use crate::conf::choice::{accept_jwt, forward};
use crate::context::{CacheStatus, Carried, Context, Doubt, Outcome};
use crate::key_sets::{self, Place};
use crate::log::{Shown, log};
use crate::question;
use crate::refusal::Fingerprint;
use crate::request::{self, Request};

/// Whether a token is a JWT that is to be verified here. `Err`: it is one, and cannot be.
pub(crate) fn is_presented(
    request: Request<'_>,
    location: &LocationConf,
    token: &[u8],
) -> Result<bool, Reason> {
    if location.accept_jwt != accept_jwt::VERIFY {
        return Ok(false);
    }
    let Some(header) = jwt::header(token) else { return Ok(false) };
    let scratch = request.pool().bytes(header.len()).ok_or(Reason::Internal)?;
    match jwt::is_header(header, scratch) {
        true if !location.verifies_presented => Err(Reason::Internal),
        is_header => Ok(is_header),
    }
}

/// Verifies a JWT, and keeps what comes of it under the key that the context has. `None`: the keys are being
/// fetched, and the request waits for them.
///
/// A refusal is not kept, but that a JWT is over: who has no signature of the server's would fill the cache with
/// forgeries, which are as many as anybody likes, and push out what protects the server from junk tokens. What a
/// forgery costs is bounded instead.
pub(crate) fn verify(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    token: &[u8],
) -> Option<Outcome> {
    match question::fetch_keys(request, context) {
        Ok(true) => return None,
        Ok(false) => {}
        Err(reason) => return Some(Outcome::refused(reason)),
    }
    question::stop_waiting(context);
    context.cache_status.set(match location.shared_cache() {
        Some(_) => CacheStatus::Miss,
        None => CacheStatus::Bypass,
    });
    let error = match judge(request, context, location, token) {
        Ok(outcome) => return Some(outcome),
        Err(error) => error,
    };
    if error.is_about_absent_key()
        && let Some(place) = Place::of(location, request.server())
        && !place.is_of_now(request::now())
    {
        // Keys that were fetched long ago do not tell. Newer ones are asked for once, and not more often than any other
        // request may.
        if context.doubt.get() != Doubt::None || place.is_recent(request::now()) {
            return Some(Outcome::refused(Reason::ServerUnreachable));
        }
        context.doubt.set(Doubt::Raised);
        return verify(request, context, location, token);
    }
    log_refusal(request, context, token, error);
    Some(Outcome::refused(Reason::Signature))
}

fn judge(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    token: &[u8],
) -> Result<Outcome, VerifyError> {
    let pool = request.pool();
    let keys = key_sets::at_hand(location, request.server(), request::now());
    let Some((keys, scratch)) = keys.zip(pool.bytes(token.len())) else {
        return Ok(Outcome::refused(Reason::Internal));
    };
    let Verification { keys, expect, .. } = location.verification(&keys);
    let document = match location.forward {
        forward::CLAIMS => Document::ClaimsJwt,
        _ => Document::Jwt,
    };
    let record = by_value::judge(token, document, keys, &expect, request::now(), scratch)?;
    if record.state != State::Active {
        answer::keep(request, context, location, &record, Body::default());
        return Ok(Outcome::refused(Reason::Expired));
    }
    let mut room = [0; facts::MAX_LEN];
    let facts = by_value::facts(token, location.facts_key(), scratch, &mut room);
    answer::keep(request, context, location, &record, Body { document: token, facts });
    Ok(match Carried::copy(pool, token, facts) {
        Some(carried) => Outcome::Active { carried, record },
        None => Outcome::refused(Reason::Internal),
    })
}

/// The line of a refusal, and what is wrong with the JWT.
fn log_refusal(request: Request<'_>, context: &Context, token: &[u8], error: VerifyError) {
    let reason = Reason::Signature;
    log!(
        NGX_LOG_INFO,
        request.log(),
        "phantom_token: {}, request refused with {}, the JWT that the client presents does not verify: {error}, \
         location \"{}\", fingerprint {}",
        reason.slug(),
        reason.status(),
        Shown(request.location_name()),
        Fingerprint(token)
    );
    context.trouble_logged.set(true);
}
