//! One request's way through the module, from its token to the verdict.
//!
//! NGINX calls [`handler`] in the access phase, after allow/deny and auth_basic. A hit is decided in the
//! one call. On a miss the handler gives NGX_AGAIN, and is called again when the answer is there; an
//! internal redirect brings the request back a third time, in another location.

use nginx_sys::{ngx_http_request_t, ngx_int_t, ngx_str_t};
use phantom_token_core::cache::LookUp;
use phantom_token_core::credentials::{self, Credentials};
use phantom_token_core::freshness::{Age, Freshness};
use phantom_token_core::key::TokenKey;
use phantom_token_core::reason::Reason;

use core::ptr::NonNull;

use crate::binding as sender;
use crate::by_value;
use crate::code::{AGAIN, DECLINED, OK};
use crate::conf::choice::{binding, forward, preflight};
use crate::conf::{Carrier, LocationConf, TokenSource};
use crate::context::{CacheStatus, Carried, Context, Doubt, Outcome, Stage};
use crate::flight;
use crate::guard::guard;
use crate::policy;
use crate::pool::{bytes_of, string_over};
use crate::question;
use crate::realm;
use crate::refusal::{refuse, take_back};
use crate::request::{self, Request};
use crate::stale;
use crate::upstream;

const NO_CONTENT: ngx_int_t = nginx_sys::NGX_HTTP_NO_CONTENT as ngx_int_t;
const FAULT: ngx_int_t = nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The handler of the access phase.
pub(crate) unsafe extern "C" fn handler(request: *mut ngx_http_request_t) -> ngx_int_t {
    guard(FAULT, || {
        // SAFETY: NGINX runs phases for live requests.
        let request = unsafe { Request::from_ptr(request) };
        let location = request.location();
        if !location.is_on() {
            return DECLINED;
        }
        if location.preflight != preflight::CHECK && request.is_preflight() {
            // Browsers send no credentials with it; what comes with it all the same goes nowhere.
            return if location.preflight == preflight::PASS { OK } else { NO_CONTENT };
        }
        let Some(context) = Context::of(request).or_else(|| Context::create(request)) else {
            return FAULT;
        };
        // SAFETY: the context lives in the request's pool.
        let context = unsafe { context.as_ref() };
        if matches!(context.stage.get(), Stage::Waiting | Stage::Answered)
            && !core::ptr::eq(context.location.get(), request.location())
        {
            // NGINX took the request elsewhere while it waited (post_action): the answer is not for here.
            if context.asking.get() {
                return FAULT;
            }
            question::stop_waiting(context);
            context.stage.set(Stage::Open);
            context.set_outcome(None);
        }
        match context.stage.get() {
            Stage::Open | Stage::Applied => decide(request, context),
            Stage::Waiting if !context.asking.get() && context.waiter.get().is_null() => {
                // NGINX took it away from its wait (post_action), and brought it back.
                context.stage.set(Stage::Open);
                decide(request, context)
            }
            Stage::Waiting if wait_is_over(context) => {
                context.took.set(Some(elapsed(context)));
                give_up(request, context)
            }
            Stage::Waiting => {
                question::nudge(context);
                AGAIN
            }
            Stage::Answered => {
                context.took.set(Some(elapsed(context)));
                // What it may wait for in another location is another question.
                question::stop_waiting(context);
                let outcome = context.outcome().unwrap_or(Outcome::refused(Reason::Internal));
                conclude(request, context, outcome)
            }
        }
    })
}

/// The request's first visit, or its first one after an internal redirect.
fn decide(request: Request<'_>, context: &Context) -> ngx_int_t {
    let location = request.location();
    let was_refused = context.reason.get().is_some();
    take_back(request, context);
    let outcome = |reason| Outcome::refused(reason);

    if location.question_uri().is_null() {
        // An internal or named location that inherited `on` without one: the verdict of the location
        // before counts, or none; and none where a JWT is to go upstream and that verdict has none.
        let known = context.outcome().filter(|known| match known {
            Outcome::Active { record, .. } => {
                !was_refused
                    && context.keyed_in().is_some_and(|earlier| location.trusts(earlier))
                    && (location.forward == forward::CLAIMS || record.document.is_access_token())
            }
            Outcome::Refused { .. } => false,
        });
        return apply(request, context, known.unwrap_or(outcome(Reason::Internal)));
    }
    let token = match presented(request, context, location) {
        Ok(token) => token,
        Err(reason) => return apply(request, context, outcome(reason)),
    };
    let by_value = match by_value::is_presented(request, location, token) {
        Ok(by_value) => by_value,
        Err(reason) => return apply(request, context, outcome(reason)),
    };
    let key = match by_value {
        true => Some(realm::by_value_key(request, token)),
        false => realm::token_key(request, token),
    };
    let Some(key) = key else { return apply(request, context, outcome(Reason::Internal)) };
    if context.key.get() == Some(key)
        && let Some(known) = context.outcome()
        && context.is_usable_in(location)
    {
        // Translated before the redirect, and nothing that shapes the verdict has changed.
        return apply(request, context, known);
    }
    context.key.set(Some(key));
    if !core::ptr::eq(context.keyed_in.replace(location), location) {
        // Newer keys of another location's are none for this one.
        context.doubt.set(Doubt::None);
    }
    context.set_outcome(None);
    // What another location would have used is not for this one.
    context.set_stale(request.pool(), None);

    if by_value {
        // Nobody is asked, and so nothing ages: when its time is over, it is verified anew.
        let rules = location.freshness.without_server();
        let known = look_up(request, context, location, &rules, &key).map(|(known, _)| known);
        return match known.or_else(|| by_value::verify(request, context, location, token)) {
            Some(outcome) => {
                question::stop_waiting(context);
                apply(request, context, outcome)
            }
            None => AGAIN,
        };
    }
    match look_up(request, context, location, &location.freshness, &key) {
        Some((known, age)) if age != Age::Stale => {
            if age == Age::Aging {
                question::confirm(request, token, key);
            }
            if question::stop_waiting(context) {
                // Another worker's question has brought it.
                context.cache_status.set(CacheStatus::Wait);
                context.took.set(Some(elapsed(context)));
            }
            apply(request, context, known)
        }
        stale => {
            context.set_stale(request.pool(), stale.map(|(known, _)| known));
            match question::ask_or_wait(request, context, token, key) {
                Ok(()) => AGAIN,
                Err(reason) => conclude(request, context, outcome(reason)),
            }
        }
    }
}

/// The token of the request (RFC 6750 section 2), as the client sent it.
fn presented<'r>(
    request: Request<'r>,
    context: &Context,
    location: &LocationConf,
) -> Result<&'r [u8], Reason> {
    context.is_dpop.set(false);
    // SAFETY: the source, null or not, is the cycle's.
    let credentials = match unsafe { location.token_source.as_ref() } {
        None => {
            if context.several.get() {
                return Err(Reason::SeveralTokens);
            }
            if request.args().len() > 12 && credentials::in_query(request.args()) {
                // SAFETY: the value is in the request's memory.
                let value = unsafe { bytes_of(&context.authorization.get()) };
                if credentials::authorization(value) != Credentials::None
                    || (location.binding != binding::OFF
                        && credentials::dpop(value) != Credentials::None)
                {
                    return Err(Reason::SeveralTokens);
                }
            }
            // SAFETY: as above.
            let value = unsafe { bytes_of(&context.authorization.get()) };
            match credentials::authorization(value) {
                Credentials::None if location.binding != binding::OFF => {
                    let credentials = credentials::dpop(value);
                    context.is_dpop.set(credentials != Credentials::None);
                    credentials
                }
                credentials => credentials,
            }
        }
        Some(source) if is_known(request, source, context) => {
            // The first visit removed what carried it, or the variable has not been set since.
            // SAFETY: as above.
            credentials::bare(unsafe { bytes_of(&context.token.get()) })
        }
        Some(source) => {
            // SAFETY: the variable was compiled for this configuration.
            credentials::bare(unsafe { request.evaluate(source.value) }.ok_or(Reason::Internal)?)
        }
    };
    context.token_source.set(location.token_source);
    context.token.set(ngx_str_t::empty());
    match credentials {
        Credentials::Bearer(token) => {
            context.token.set(string_over(token));
            Ok(token)
        }
        Credentials::Malformed => Err(Reason::Malformed),
        Credentials::None => Err(Reason::NoCredentials),
    }
}

/// Whether the token is the one that was read from this variable on an earlier visit.
fn is_known(request: Request<'_>, source: &TokenSource, context: &Context) -> bool {
    // SAFETY: sources and their names are the cycle's.
    let known = unsafe { context.token_source.get().as_ref() }
        // SAFETY: as above.
        .filter(|known| unsafe { bytes_of(&known.name) == bytes_of(&source.name) })
        .is_some_and(|known| known.carrier.is(source.carrier));
    let is_read_from_it = !source.is_carrier_named && !matches!(source.carrier, Carrier::Other);
    if !known || is_read_from_it || !request.has_variable(source.index) {
        return known;
    }
    // `set` may have made another one of it for this location.
    // SAFETY: the variable was compiled for this configuration.
    match unsafe { request.evaluate(source.value) } {
        // What it was made of may be what is gone.
        Some(b"") => source.is_carrier_named,
        Some(value) => match context.outcome() {
            // Or it is made of what has taken the token's place.
            // SAFETY: the document is in the request's memory.
            Some(Outcome::Active { carried, .. }) => unsafe { value == bytes_of(&carried.bare()) },
            _ => false,
        },
        None => false,
    }
}

/// What the cache knows; `None`: it has to be asked.
fn look_up(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    rules: &Freshness,
    key: &TokenKey,
) -> Option<(Outcome, Age)> {
    let cache = location.shared_cache()?;
    let mut room = None;
    let found = cache.look_up(key, request::now(), rules, |len| {
        let (carried, place) = Carried::room(request.pool(), len)?;
        room = Some(carried);
        Some(place)
    });
    let (status, outcome, age) = match found {
        LookUp::Miss => {
            location.tell_emptied(request.log());
            // What another location has found is not for this one.
            context.cache_status.set(CacheStatus::None);
            return None;
        }
        LookUp::Active { facts, record, age, .. } => {
            let carried = room.map(|carried| carried.with_facts(facts.len()));
            let outcome = carried.map(|carried| Outcome::Active { carried, record });
            (CacheStatus::Hit, outcome, age)
        }
        LookUp::Inactive(_) => {
            (CacheStatus::Negative, Some(Outcome::refused(Reason::Inactive)), Age::Fresh)
        }
        LookUp::Expired(_) => {
            (CacheStatus::Expired, Some(Outcome::refused(Reason::Expired)), Age::Fresh)
        }
        LookUp::NoRoom => (CacheStatus::None, None, Age::Fresh),
    };
    context.cache_status.set(status);
    Some((outcome.unwrap_or(Outcome::refused(Reason::Internal)), age))
}

/// Applies what came of a question, or a verdict past its time where the server cannot be asked.
fn conclude(request: Request<'_>, context: &Context, outcome: Outcome) -> ngx_int_t {
    let location = request.location();
    let stale = context.take_stale();
    let Outcome::Refused { reason, .. } = outcome else {
        stale::ended(request, location);
        return apply(request, context, outcome);
    };
    if !reason.is_outage() {
        if reason.is_clients() {
            stale::ended(request, location);
        }
        return apply(request, context, outcome);
    }
    match stale {
        Some(Outcome::Active { carried, record })
            if location.freshness.age(&record, request::now()) != Age::Over =>
        {
            stale::began(request, location, reason);
            context.cache_status.set(CacheStatus::Stale);
            context.trouble_logged.set(false);
            apply(request, context, Outcome::Active { carried, record })
        }
        _ => apply(request, context, outcome),
    }
}

/// Lets the request pass with its JWT, if the location's rules agree, or refuses it.
fn apply(request: Request<'_>, context: &Context, outcome: Outcome) -> ngx_int_t {
    context.stage.set(Stage::Applied);
    context.set_outcome(Some(outcome));
    let location = request.location();
    match outcome {
        Outcome::Active { carried, record } => {
            let objection = location
                .objection(&record, request::now())
                .or_else(|| sender::objection(request, context, location, &record, carried))
                .or_else(|| policy::objection(request, context, location, carried));
            if let Some(reason) = objection {
                return refuse(request, context, reason, ngx_str_t::empty());
            }
            context.reason.set(None);
            context.location.set(location);
            match upstream::forward(request, context, location, carried, record.document) {
                Some(()) => OK,
                None => {
                    // The token may still be where it was.
                    context.stage.set(Stage::Open);
                    FAULT
                }
            }
        }
        Outcome::Refused { reason, retry_after } => refuse(request, context, reason, retry_after),
    }
}

/// The wait was too long. The question may be stuck, and another worker may have asked since.
fn give_up(request: Request<'_>, context: &Context) -> ngx_int_t {
    let location = request.location();
    if question::goes_on_with_last_keys(request, context) {
        return decide(request, context);
    }
    let rules = &location.freshness;
    let known = context.key.get().and_then(|key| look_up(request, context, location, rules, &key));
    context.cache_status.set(CacheStatus::Wait);
    match known {
        Some((known, age)) if age != Age::Stale => {
            question::stop_waiting(context);
            apply(request, context, known)
        }
        _ => conclude(request, context, Outcome::refused(Reason::Overload)),
    }
}

/// Whether a wait for another request's question has lasted as long as it may.
fn wait_is_over(context: &Context) -> bool {
    // SAFETY: the waiter lies in the request's pool.
    NonNull::new(context.waiter.get()).is_some_and(|waiter| unsafe { flight::timed_out(waiter) })
}

/// How long the request has waited, in milliseconds.
fn elapsed(context: &Context) -> usize {
    // SAFETY: NGINX has set its clock.
    unsafe { nginx_sys::ngx_current_msec }.wrapping_sub(context.asked_at.get())
}
