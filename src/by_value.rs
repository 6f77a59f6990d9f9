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
use crate::context::{CacheStatus, Carried, Context, Outcome};
use crate::log::{Shown, log};
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

/// Verifies a JWT, and keeps what comes of it under the key that the context has.
///
/// A refusal is not kept, but that a JWT is over: who has no signature of the server's would fill the cache with
/// forgeries, which are as many as anybody likes, and push out what protects the server from junk tokens. What a
/// forgery costs is bounded instead.
pub(crate) fn verify(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    token: &[u8],
) -> Outcome {
    context.cache_status.set(match location.shared_cache() {
        Some(_) => CacheStatus::Miss,
        None => CacheStatus::Bypass,
    });
    let pool = request.pool();
    // Keys that are yet to be had would have to be waited for here, and had anew for a `kid` that they lack.
    let known = location.verification().zip(pool.bytes(token.len()));
    let Some((Verification { keys, expect, .. }, scratch)) = known else {
        return Outcome::refused(Reason::Internal);
    };
    let document = match location.forward {
        forward::CLAIMS => Document::ClaimsJwt,
        _ => Document::Jwt,
    };
    let record = match by_value::judge(token, document, keys, &expect, request::now(), scratch) {
        Ok(record) => record,
        Err(error) => {
            log_refusal(request, context, token, error);
            return Outcome::refused(Reason::Signature);
        }
    };
    if record.state != State::Active {
        answer::keep(request, context, location, &record, Body::default());
        return Outcome::refused(Reason::Expired);
    }
    let mut room = [0; facts::MAX_LEN];
    let facts = by_value::facts(token, location.facts_key(), scratch, &mut room);
    answer::keep(request, context, location, &record, Body { document: token, facts });
    match Carried::copy(pool, token, facts) {
        Some(carried) => Outcome::Active { carried, record },
        None => Outcome::refused(Reason::Internal),
    }
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
