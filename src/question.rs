//! The question to the authorization server: who asks it, and who waits for another's.

mod background;
mod form;
mod shared;
mod subrequest;

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use nginx_sys::ngx_http_cleanup_add;
use phantom_token_core::key::TokenKey;
use phantom_token_core::reason::Reason;

use crate::answer;
use crate::context::{CacheStatus, Context, Stage};
use crate::flight;
use crate::guard::guard;
use crate::request::{self, Request};
use background::Background;
use shared::Turn;

pub(crate) use subrequest::{nudge, watch_content};

/// Asks the authorization server about the token, or waits for the answer if that is being asked
/// already. `Err`: nothing was asked, and the request is refused.
pub(crate) fn ask_or_wait(
    request: Request<'_>,
    context: &Context,
    token: &[u8],
    key: TokenKey,
) -> Result<(), Reason> {
    let location = request.location();
    if context.asking.get() || !context.flight.get().is_null() {
        return Err(Reason::Internal);
    }
    // A verdict that may not be kept serves one worker: who followed it in vain would do so again and again where
    // another worker has more requests with the token.
    let follows = !context.followed.get();
    let waited = stop_waiting(context);
    context.location.set(location);
    watch_end(request, context).ok_or(Reason::Internal)?;
    // SAFETY: NGINX has set its clock.
    let now = unsafe { nginx_sys::ngx_current_msec };
    if !waited {
        context.asked_at.set(now);
        context.wait_until.set(now.saturating_add(location.lock_timeout));
    }
    context.asked.set(request::now());

    let flight = match flight::find(&key).filter(|&flight| !shared::has_failed(flight)) {
        Some(flight) => flight,
        None => {
            context.server.set(shared::server_of(request, location));
            let turn = shared::take_turn(location, key, context.server.get(), follows);
            location.tell_emptied(request.log());
            match turn? {
                Turn::Follow(flight) => flight,
                Turn::Ask(ticket) => {
                    context.ticket.set(ticket);
                    return ask(request, context, token, key).ok_or_else(|| {
                        answer::abandon(context);
                        Reason::Internal
                    });
                }
            }
        }
    };
    let left = context.wait_until.get().saturating_sub(now);
    if left == 0 {
        return Err(Reason::Overload);
    }
    // SAFETY: in the table; `ended` leaves the wait when the request ends.
    let waiter = unsafe { flight::wait(flight, request, left) };
    context.waiter.set(waiter.ok_or(Reason::Internal)?.as_ptr());
    context.cache_status.set(CacheStatus::Wait);
    context.stage.set(Stage::Waiting);
    Ok(())
}

fn ask(request: Request<'_>, context: &Context, token: &[u8], key: TokenKey) -> Option<()> {
    let composed = subrequest::compose(request, request.pool(), token)?;
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
    if flight::find(&key).is_some() {
        return;
    }
    let location = request.location();
    if request::monotonic() < location.confirms_from.get() as u64 {
        return;
    }
    if !Background::has_room() {
        // Before a turn is taken: it may be the one that finds out whether a server answers again.
        return;
    }
    let server = shared::server_of(request, location);
    // Another worker's question does as well, and where none may be asked now the verdict has its time.
    let turn = shared::take_turn_alone(location, key, server);
    location.tell_emptied(request.log());
    let Some(ticket) = turn else { return };
    let Some(background) = Background::create(request) else {
        shared::give_back(ticket);
        answer::pause_confirming(location);
        return;
    };
    match ask_alone(request, background.request(), token, key, (ticket, server)) {
        Some(()) => background.start(),
        None => background.end(),
    }
}

fn ask_alone(
    client: Request<'_>,
    asker: Request<'_>,
    token: &[u8],
    key: TokenKey,
    (ticket, server): (shared::ZoneTicket, u64),
) -> Option<()> {
    let pool = asker.pool();
    // SAFETY: the context lives in the pool of the asker.
    let Some(context) = Context::create(asker).map(|context| unsafe { context.as_ref() }) else {
        shared::give_back(ticket);
        return None;
    };
    if watch_end(asker, context).is_none() {
        shared::give_back(ticket);
        return None;
    }
    // From here on the end of the request gives it back.
    context.ticket.set(Some(ticket));
    context.server.set(server);
    context.background.set(true);
    context.token.set(pool.string(token)?);
    context.key.set(Some(key));
    context.keyed_in.set(asker.location());
    context.location.set(asker.location());
    context.stage.set(Stage::Waiting);
    context.asked.set(request::now());
    let composed = subrequest::compose(client, pool, token)?;
    subrequest::send(asker, context, composed)?;
    let flight = flight::start(pool, key, asker.location().lock_timeout);
    context.flight.set(flight.map_or(ptr::null_mut(), NonNull::as_ptr));
    Some(())
}

/// Ends the wait that the request may still be in. Says whether it has waited.
pub(crate) fn stop_waiting(context: &Context) -> bool {
    let Some(waiter) = NonNull::new(context.waiter.get()) else { return false };
    // SAFETY: the waiter lies in the pool of the request, as the context does.
    unsafe { flight::leave(waiter) };
    context.waiter.set(ptr::null_mut());
    context.followed.set(false);
    true
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
