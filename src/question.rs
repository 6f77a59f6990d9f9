//! The question to the authorization server: who asks it, and who waits for another's.

mod background;
mod form;
mod shared;
mod subrequest;
mod what;

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use nginx_sys::ngx_http_cleanup_add;
use phantom_token_core::jose::SetAge;
use phantom_token_core::key::TokenKey;
use phantom_token_core::reason::Reason;
use phantom_token_core::record::UnixMillis;

use crate::answer;
use crate::context::{CacheStatus, Context, Doubt, Stage};
use crate::flight;
use crate::guard::guard;
use crate::key_sets::Place;
use crate::keys::{Keys, Source};
use crate::request::{self, Request};
use background::Background;
use shared::Turn;
use what::What;

pub(crate) use subrequest::{nudge, watch_content};

/// Asks the authorization server about the token, or waits for the answer if that is being asked
/// already; for the keys before, where they are to be fetched. `Err`: nothing was asked, and the request is refused.
pub(crate) fn ask_or_wait(
    request: Request<'_>,
    context: &Context,
    token: &[u8],
    key: TokenKey,
) -> Result<(), Reason> {
    if fetch_keys(request, context)? {
        return Ok(());
    }
    begin(request, context, What::Token(token), key, || false)?;
    // Behind the question that somebody waits for: there may be room for one alone.
    refresh_keys(request);
    Ok(())
}

/// Fetches the keys of the request's location, or waits for them, if it has none that can be used, or if those are
/// doubted. Says whether the request has to wait: it then is to look up again.
///
/// The last good ones go on while there are no others.
pub(crate) fn fetch_keys(request: Request<'_>, context: &Context) -> Result<bool, Reason> {
    let location = request.location();
    let Some(Keys::Uri(source)) = location.keys() else { return Ok(false) };
    let place = Place::of(location, request.server()).ok_or(Reason::Internal)?;
    let now = request::now();
    let doubted = context.doubt.get() == Doubt::Raised;
    if doubted {
        context.doubt.set(Doubt::Settled);
    }
    let found = place.find(now).map(|(_, age)| age);
    let waits = match found {
        Some(SetAge::Fresh | SetAge::Aging) if !doubted => false,
        Some(_) if place.is_recent(now) => false,
        _ => {
            if !context.for_keys.get() {
                // What was followed was about the token.
                context.followed.set(false);
            }
            // Another worker may have fetched them since.
            let is_there = || place.is_recent(now) && place.find(now).is_some();
            match begin(request, context, What::Keys(source), place.key, is_there) {
                Err(reason) if found.is_none() || doubted || !reason.is_outage() => {
                    return Err(reason);
                }
                Err(_) => {
                    place.pause(now);
                    false
                }
                Ok(waits) => waits,
            }
        }
    };
    if !waits && context.for_keys.take() {
        // What was followed was about the keys.
        context.followed.set(false);
    }
    Ok(waits)
}

/// The wait was for keys, and too long. The last good ones go on, if there are any, and for a while nobody here
/// asks for others.
pub(crate) fn goes_on_with_last_keys(request: Request<'_>, context: &Context) -> bool {
    let now = request::now();
    let place = Place::of(request.location(), request.server());
    let Some(place) = place.filter(|place| context.for_keys.get() && place.find(now).is_some())
    else {
        return false;
    };
    place.pause(now);
    stop_waiting(context);
    context.stage.set(Stage::Open);
    true
}

/// Asks, or waits for another request's question; says `false` where a turn to ask was had and the answer `is_there`.
fn begin(
    request: Request<'_>,
    context: &Context,
    what: What<'_>,
    key: TokenKey,
    is_there: impl FnOnce() -> bool,
) -> Result<bool, Reason> {
    let location = request.location();
    if context.asking.get() || !context.flight.get().is_null() {
        return Err(Reason::Internal);
    }
    // A verdict that may not be kept serves one worker: who followed it in vain would do so again and again where
    // another worker has more requests with the token.
    let follows = !context.followed.get();
    stop_waiting(context);
    // SAFETY: NGINX has set its clock.
    let now = unsafe { nginx_sys::ngx_current_msec };
    let goes_on = context.stage.get() == Stage::Open && ptr::eq(context.asked_in.get(), location);
    if !goes_on {
        context.asked_at.set(now);
        context.wait_left.set(location.lock_timeout);
    }
    context.location.set(location);
    context.asked_in.set(location);
    watch_end(request, context).ok_or(Reason::Internal)?;
    context.asked.set(request::now());
    context.for_keys.set(matches!(what, What::Keys(_)));

    let flight = match flight::find(&key).filter(|&flight| !shared::has_failed(flight)) {
        Some(flight) => flight,
        None => {
            context.server.set(shared::server_of(request, location, what));
            let turn = shared::take_turn(location, key, context.server.get(), follows);
            location.tell_emptied(request.log());
            match turn? {
                Turn::Follow(flight) => flight,
                Turn::Ask(ticket) if is_there() => {
                    give_back(ticket);
                    return Ok(false);
                }
                Turn::Ask(ticket) => {
                    context.ticket.set(ticket);
                    let asked = ask(request, context, what, key).ok_or_else(|| {
                        answer::abandon(context);
                        Reason::Internal
                    });
                    return asked.map(|()| true);
                }
            }
        }
    };
    let left = context.wait_left.get();
    if left == 0 {
        return Err(Reason::Overload);
    }
    context.waits_since.set(now);
    // SAFETY: in the table; `ended` leaves the wait when the request ends.
    let waiter = unsafe { flight::wait(flight, request, left) };
    context.waiter.set(waiter.ok_or(Reason::Internal)?.as_ptr());
    context.cache_status.set(CacheStatus::Wait);
    context.stage.set(Stage::Waiting);
    Ok(true)
}

fn ask(request: Request<'_>, context: &Context, what: What<'_>, key: TokenKey) -> Option<()> {
    let composed = subrequest::compose(request, request.pool(), what)?;
    subrequest::send(request, context, composed)?;
    // After the subrequest is made: whoever finds the flight may rely on its answer.
    let flight = flight::start(request.pool(), key, request.location().lock_timeout);
    context.flight.set(flight.map_or(ptr::null_mut(), NonNull::as_ptr));
    context.cache_status.set(if request.location().shared_cache().is_some() {
        CacheStatus::Miss
    } else {
        CacheStatus::Bypass
    });
    context.stage.set(Stage::Waiting);
    Some(())
}

/// Has the authorization server confirm, in the background, what is known of the token. Not being able to is no
/// fault: the verdict is asked about again when its time is up.
pub(crate) fn confirm(request: Request<'_>, token: &[u8], key: TokenKey) {
    let location = request.location();
    if flight::find(&key).is_some()
        || request::monotonic() < location.confirms_from.get() as u64
        || !refresh_keys(request)
    {
        return;
    }
    if ask_alone(request, What::Token(token), key, || false).is_err() {
        answer::pause_confirming(location);
    }
}

/// Fetches keys in the background that are not there or grow old. Says whether an answer can be verified meanwhile, as
/// far as it must be.
fn refresh_keys(request: Request<'_>) -> bool {
    let location = request.location();
    let Some(Keys::Uri(source)) = location.keys() else { return true };
    let Some(place) = Place::of(location, request.server()) else { return false };
    let now = request::now();
    let found = place.find(now).map(|(_, age)| age);
    if found != Some(SetAge::Fresh) {
        fetch_alone(request, source, &place, now);
    }
    found.is_some()
}

/// Fetches keys in the background, unless that was tried just now.
fn fetch_alone(request: Request<'_>, source: &Source, place: &Place<'_>, now: UnixMillis) {
    if flight::find(&place.key).is_some() || place.is_recent(now) {
        return;
    }
    let is_there = || place.is_recent(now);
    if ask_alone(request, What::Keys(source), place.key, is_there).is_err() {
        place.pause(now);
    }
}

/// No connection could be had to ask in the background.
struct NoConnection;

/// Asks in the background, if nobody else does and the answer is not there: without a request that waits.
fn ask_alone(
    request: Request<'_>,
    what: What<'_>,
    key: TokenKey,
    is_there: impl FnOnce() -> bool,
) -> Result<(), NoConnection> {
    let location = request.location();
    if !Background::has_room() {
        // Before a turn is taken: it may be the one that finds out whether a server answers again.
        return Ok(());
    }
    let server = shared::server_of(request, location, what);
    // Another worker's question does as well, and where none may be asked now what is known has its time.
    let turn = shared::take_turn_alone(location, key, server);
    location.tell_emptied(request.log());
    let Some(ticket) = turn else { return Ok(()) };
    if is_there() {
        give_back(ticket);
        return Ok(());
    }
    let Some(background) = Background::create(request) else {
        give_back(ticket);
        return Err(NoConnection);
    };
    match send_alone(request, background.request(), what, key, (ticket, server)) {
        Some(()) => background.start(),
        None => background.end(),
    }
    Ok(())
}

fn send_alone(
    client: Request<'_>,
    asker: Request<'_>,
    what: What<'_>,
    key: TokenKey,
    (ticket, server): (Option<shared::ZoneTicket>, u64),
) -> Option<()> {
    let pool = asker.pool();
    // SAFETY: the context lives in the pool of the asker.
    let Some(context) = Context::create(asker).map(|context| unsafe { context.as_ref() }) else {
        give_back(ticket);
        return None;
    };
    if watch_end(asker, context).is_none() {
        give_back(ticket);
        return None;
    }
    // From here on the end of the request gives it back.
    context.ticket.set(ticket);
    context.server.set(server);
    context.background.set(true);
    match what {
        What::Token(token) => {
            context.token.set(pool.string(token)?);
            context.key.set(Some(key));
            context.keyed_in.set(asker.location());
        }
        What::Keys(_) => context.for_keys.set(true),
    }
    context.location.set(asker.location());
    context.asked_in.set(asker.location());
    context.stage.set(Stage::Waiting);
    context.asked.set(request::now());
    let composed = subrequest::compose(client, pool, what)?;
    subrequest::send(asker, context, composed)?;
    let flight = flight::start(pool, key, asker.location().lock_timeout);
    context.flight.set(flight.map_or(ptr::null_mut(), NonNull::as_ptr));
    Some(())
}

/// Gives back a turn that was not used.
fn give_back(ticket: Option<shared::ZoneTicket>) {
    if let Some(ticket) = ticket {
        shared::give_back(ticket);
    }
}

/// Ends the wait that the request may still be in. Says whether it has waited.
// A call would take longer than finding that there is nothing to end.
#[inline(always)]
pub(crate) fn stop_waiting(context: &Context) -> bool {
    let Some(waiter) = NonNull::new(context.waiter.get()) else { return false };
    end_wait(context, waiter);
    true
}

fn end_wait(context: &Context, waiter: NonNull<flight::Waiter>) {
    // SAFETY: the waiter lies in the pool of the request, as the context does. NGINX has set its clock.
    let now = unsafe {
        flight::leave(waiter);
        nginx_sys::ngx_current_msec
    };
    context.waiter.set(ptr::null_mut());
    let waited = now.wrapping_sub(context.waits_since.get());
    context.wait_left.set(context.wait_left.get().saturating_sub(waited));
    context.followed.set(false);
}

/// Has NGINX say when the request ends, however it does.
fn watch_end(request: Request<'_>, context: &Context) -> Option<()> {
    if context.watched.get() {
        return Some(());
    }
    // SAFETY: the request is live, and its context lives in its pool.
    unsafe {
        let cleanup = NonNull::new(ngx_http_cleanup_add(request.as_ptr(), 0))?.as_ptr();
        (*cleanup).handler = Some(ended);
        (*cleanup).data = ptr::from_ref(context).cast_mut().cast();
    }
    context.watched.set(true);
    Some(())
}

/// The request ends. If it waits, it waits no longer; if it asks, those who wait look again.
unsafe extern "C" fn ended(data: *mut c_void) {
    guard((), || {
        // SAFETY: the pool of the request, where the context lives, goes after the cleanups. The flight
        // is in the table as long as the context has it.
        unsafe {
            let context = &*data.cast::<Context>();
            context.asking.set(false);
            stop_waiting(context);
            answer::abandon(context);
        }
    });
}
