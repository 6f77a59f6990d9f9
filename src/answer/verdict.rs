//! The answer about a token: read, judged, and kept for others.

use core::fmt;

use nginx_sys::{ngx_int_t, ngx_str_t};
use phantom_token_core::answer::{self, Answer, Reading, Said, Verdict};
use phantom_token_core::cache::{Body, Stored};
use phantom_token_core::cache_control;
use phantom_token_core::facts;
use phantom_token_core::freshness::Age;
use phantom_token_core::reason::Reason;
use phantom_token_core::record::Record;

use super::asked::{asked_in, peer_and_status, uri};
use super::concluded::Concluded;
use super::received::{Trouble, content_type, is_encoded, receive, retry_after, values};
use crate::conf::LocationConf;
use crate::context::{Carried, Context, Doubt, Outcome};
use crate::key_sets::{self, Place};
use crate::log::{Shown, log};
use crate::pool::bytes_of;
use crate::refusal::Fingerprint;
use crate::request::{self, Request};

/// How long the log is silent after it has said that a verdict is too large, in milliseconds.
const SILENCE: u64 = 60_000;

/// Reads and judges the answer, keeps it for others, and logs what is wrong with it.
pub(super) fn conclude(question: Request<'_>, context: &Context, rc: ngx_int_t) -> Concluded {
    match judge(question, context, rc) {
        Ok(outcome) => Concluded::Outcome(outcome),
        Err(trouble) if is_doubtful(question, context, &trouble) => Concluded::Doubtful,
        Err(trouble) => {
            log_trouble(question, context, rc, &trouble);
            let reason = trouble.reason();
            let retry_after = match reason {
                Reason::ServerBusy => retry_after(question),
                _ => ngx_str_t::empty(),
            };
            Concluded::Outcome(Outcome::Refused { reason, retry_after })
        }
    }
}

/// Whether the trouble may be gone with keys that the server has had since. It is asked for them once for a request,
/// and not again just after it has given some.
fn is_doubtful(question: Request<'_>, context: &Context, trouble: &Trouble) -> bool {
    let is_about_keys = match trouble {
        Trouble::NoKeys => true,
        Trouble::Answer(error) => error.is_about_keys(),
        _ => false,
    };
    if !is_about_keys || context.doubt.get() != Doubt::None {
        return false;
    }
    let Some(place) = Place::of(asked_in(question, context), question.server()) else {
        return false;
    };
    if context.background.get() {
        // Nobody waits: the next request that asks, or confirms, has them fetched.
        place.doubt();
        return false;
    }
    matches!(trouble, Trouble::NoKeys) || !place.is_recent(request::now())
}

fn judge(question: Request<'_>, context: &Context, rc: ngx_int_t) -> Result<Outcome, Trouble> {
    let answer = received(question, context, rc)?;
    let pool = question.pool();
    let scratch = pool.bytes(answer::scratch_len(answer.body.len())).ok_or(Trouble::NoMemory)?;
    let memory = scratch.as_mut_ptr();
    let outcome = judge_answer(question, context, &answer, scratch);
    // The request may go on for hours.
    // SAFETY: what the outcome has of it was copied.
    unsafe { pool.release(memory) };
    outcome
}

fn judge_answer(
    question: Request<'_>,
    context: &Context,
    answer: &Answer<'_>,
    scratch: &mut [u8],
) -> Result<Outcome, Trouble> {
    let location = asked_in(question, context);
    let now = request::now();
    let keys = key_sets::at_hand(location, question.server(), now);
    if keys.is_none() && location.keys().is_some() {
        return Err(Trouble::NoKeys);
    }
    let reading = Reading {
        mode: location.mode,
        verification: keys.as_deref().map(|keys| location.verification(keys)),
        unverified_envelopes: location.takes_unverified_envelopes(),
        members: location.members(),
        asked: context.asked.get(),
        now,
    };
    match answer::judge(answer, &reading, scratch)? {
        Verdict::Active { document, claims, record } => {
            let key = context.keyed_in().unwrap_or(location).facts_key();
            let mut room = [0; facts::MAX_LEN];
            let facts = answer::facts(answer, record.document, claims, key, &mut room);
            keep(question, context, location, &record, Body { document, facts });
            let carried =
                Carried::copy(question.pool(), document, facts).ok_or(Trouble::NoMemory)?;
            Ok(Outcome::Active { carried, record })
        }
        Verdict::Inactive(record) => {
            keep(question, context, location, &record, Body::default());
            Ok(Outcome::refused(Reason::Inactive))
        }
        Verdict::Expired(record) => {
            keep(question, context, location, &record, Body::default());
            Ok(Outcome::refused(Reason::Expired))
        }
    }
}

fn received<'r>(
    question: Request<'r>,
    context: &Context,
    rc: ngx_int_t,
) -> Result<Answer<'r>, Trouble> {
    let (status, body) = receive(question, context, rc)?;
    Ok(Answer {
        status,
        content_type: content_type(question),
        encoded: is_encoded(question),
        directives: cache_control::parse(values(question, b"cache-control")),
        body,
    })
}

/// Stores a verdict, as far as the rules of the location that asks let it be used again.
pub(crate) fn keep(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    record: &Record,
    body: Body<'_>,
) {
    let (Some(cache), Some(key)) = (location.shared_cache(), context.key.get()) else { return };
    let now = request::now();
    if location.freshness.age(record, now) == Age::Over {
        // An older verdict must not outlive this one in a location with longer times.
        cache.remove_older(&key, record.confirmed, now);
        return;
    }
    if cache.store(&key, record, body, now) == Stored::TooLarge {
        tell_too_large(request, location, body.document.len());
    }
}

/// Says at most once in a while that a verdict cannot be kept: whoever has such a token causes a question with
/// each request.
fn tell_too_large(request: Request<'_>, location: &LocationConf, len: usize) {
    let now = request::monotonic();
    if now < location.too_large_silent_until.get() as u64 {
        return;
    }
    let until = now.saturating_add(SILENCE);
    location.too_large_silent_until.set(usize::try_from(until).unwrap_or(usize::MAX));
    log!(
        NGX_LOG_ERR,
        request.log(),
        "phantom_token: {len} bytes are too large for the cache zone, so that each request with such a token is a \
         question: make the zone larger, location \"{}\"",
        Shown(request.main().location_name())
    );
}

/// One line for the person who is paged.
fn log_trouble(question: Request<'_>, context: &Context, rc: ngx_int_t, trouble: &Trouble) {
    let (peer, status) = peer_and_status(question, rc);
    // SAFETY: the token is in the request's memory, and the credential in that of the cycle.
    let (token, credential) = unsafe {
        (bytes_of(&context.token.get()), bytes_of(&asked_in(question, context).credential))
    };
    let refused =
        matches!(trouble, Trouble::Answer(_)).then(|| received(question, context, rc).ok());
    let said = refused.flatten().filter(|answer| answer.status == 400);
    let said = WhatItSays(said.and_then(|answer| Said::read(&answer, token, credential)));
    log!(
        NGX_LOG_ERR,
        question.log(),
        "phantom_token: {}, {trouble}{said}, location \"{}\", endpoint \"{}\", \
         upstream {}, status {status}, fingerprint {}",
        trouble.reason().slug(),
        Shown(question.main().location_name()),
        Shown(uri(question)),
        Shown(peer),
        Fingerprint(token)
    );
}

/// What a server says of a question that it refuses, for the line.
struct WhatItSays(Option<Said>);

impl fmt::Display for WhatItSays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |said| write!(f, ", it says {said}"))
    }
}
