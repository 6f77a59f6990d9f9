//! The answer of the authorization server arrives: read, judged, cached, and shared with all who wait.
//!
//! All of it happens inside NGINX's completion handler, because a request that asked may be terminated
//! right after it; the requests themselves go on later, from `access`.

mod asked;
mod concluded;
mod keys;
mod received;
mod verdict;

use core::ffi::{CStr, c_void};
use core::ptr::{self, NonNull};

use nginx_sys::{ngx_http_post_request, ngx_http_request_t, ngx_int_t};
use phantom_token_core::flights::{End, Noted};
use phantom_token_core::reason::Reason;

use crate::code::{AGAIN, ERROR, OK};
use crate::conf::LocationConf;
use crate::context::{Carried, Context, Doubt, Outcome, Stage};
use crate::flight;
use crate::guard::guard;
use crate::log::{Shown, log};
use crate::nginx::bits;
use crate::pool::{bytes_of, string_over};
use crate::request::{self, Request};
use asked::{asked_in, status_of_server, uri};
use concluded::Concluded;

pub(crate) use verdict::keep;

const CLIENT_CLOSED: ngx_int_t = nginx_sys::NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t;
/// For how long a location confirms nothing in the background after it could not, in milliseconds.
const CONFIRM_PAUSE: u64 = 1_000;
const REQUEST_TIME_OUT: ngx_int_t = nginx_sys::NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t;

/// The completion handler of questions.
pub(crate) const ARRIVED: unsafe extern "C" fn(
    *mut ngx_http_request_t,
    *mut c_void,
    ngx_int_t,
) -> ngx_int_t = arrived;

/// NGINX finalises the question; the result takes the place of `rc`.
///
/// # Safety
/// Called by NGINX with a live subrequest and the context of its parent.
// `filter` compares its address: with one.
#[inline(never)]
unsafe extern "C" fn arrived(
    question: *mut ngx_http_request_t,
    data: *mut c_void,
    rc: ngx_int_t,
) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with what `question` gave it; the parent is the request that asks, and
        // lives at least as long as its subrequest. So does its context.
        let (question, context) =
            unsafe { (Request::from_ptr(question), &*data.cast::<Context>()) };
        if !context.asking.get() {
            // NGINX finalises a second time what failed on the first.
            return OK;
        }
        // Where the client is gone, NGINX would take the question to post_action's location, with all that is
        // in it: not so a request that comes from there and may go nowhere else. Before any way out of here.
        // SAFETY: the subrequest is live, and has found its location.
        unsafe {
            bits::request::POST_ACTION.set(question.as_ptr(), 1);
            bits::request::URI_CHANGES.set(question.as_ptr(), 0);
        }
        let failed = rc == ERROR || context.answer_failed.get();
        // SAFETY: the subrequest is live.
        let is_buffered = unsafe { bits::request::BUFFERED.is_set(question.as_ptr()) };
        if !failed && (rc == AGAIN || is_buffered) {
            // A file is still being read (proxy_cache with aio).
            return rc;
        }
        if failed {
            // What a filter still has of the answer would keep the question from its end.
            // SAFETY: as above.
            unsafe { bits::request::BUFFERED.set(question.as_ptr(), 0) };
        }
        context.asking.set(false);
        let parent = question.main();
        // SAFETY: the parent's connection is live.
        let client_gone = unsafe { bits::connection::ERROR.is_set(parent.connection()) };
        if client_gone && (rc == CLIENT_CLOSED || rc == REQUEST_TIME_OUT) {
            // NGINX ends the question with the parent.
            abandon(context);
            return rc;
        }

        // What NGINX's upstream module says it does ends with it: "while sending to client" would
        // mislead.
        // SAFETY: the log of a live connection is writable, and the text static.
        unsafe { (*question.log()).action = action(context).as_ptr().cast_mut() };
        let fault = Concluded::Outcome(Outcome::refused(Reason::Internal));
        let concluded = guard(fault, || {
            if context.for_keys.get() {
                keys::conclude(question, context, rc)
            } else {
                verdict::conclude(question, context, rc)
            }
        });
        // SAFETY: as above. What the outcome has of the answer was copied.
        unsafe {
            (*question.log()).action = ptr::null_mut();
            received::forget(question);
        }
        match &concluded {
            Concluded::Outcome(outcome) => {
                context.set_outcome(Some(*outcome));
                context.stage.set(Stage::Answered);
                context.trouble_logged.set(matches!(
                    outcome,
                    Outcome::Refused { reason, .. } if !reason.is_clients()
                ));
            }
            Concluded::Keys(_) => context.stage.set(Stage::Open),
            Concluded::Doubtful => doubt(context),
        }
        end(question, context, &concluded);
        let location = asked_in(question, context);
        location.tell_emptied(question.log());
        if context.background.get() && context.trouble_logged.get() {
            // Every hit would try again, and log that it could not.
            pause_confirming(location);
        }
        if let Some(flight) = NonNull::new(context.flight.get()) {
            context.flight.set(ptr::null_mut());
            // SAFETY: a flight that the context has is in the table.
            unsafe {
                flight::land(flight, |waiting| match &concluded {
                    Concluded::Outcome(outcome) => tell(waiting, outcome),
                    Concluded::Keys(_) => reopen(waiting),
                    Concluded::Doubtful => {
                        if let Some(context) = Context::of(waiting) {
                            doubt(context.as_ref());
                        }
                    }
                });
            }
        }

        if client_gone {
            return rc;
        }
        // SAFETY: the parent is live.
        if unsafe { ngx_http_post_request(parent.as_ptr(), ptr::null_mut()) } != OK {
            return ERROR;
        }
        // Whatever it was, the client's request decides about its response, not the question.
        OK
    })
}

/// What the log says that NGINX is doing.
fn action(context: &Context) -> &'static CStr {
    if context.for_keys.get() { c"fetching keys" } else { c"introspecting a token" }
}

/// A request looks up again, and before it asks has the keys fetched anew, once.
fn doubt(context: &Context) {
    if context.doubt.get() == Doubt::None {
        context.doubt.set(Doubt::Raised);
    }
    context.stage.set(Stage::Open);
}

/// Has a location confirm nothing for a while.
pub(crate) fn pause_confirming(location: &LocationConf) {
    let from = request::monotonic().saturating_add(CONFIRM_PAUSE);
    location.confirms_from.set(usize::try_from(from).unwrap_or(usize::MAX));
}

/// Tells other workers how the question ended, and notes how the server does.
fn end(question: Request<'_>, context: &Context, concluded: &Concluded) {
    let Some((zone, ticket)) = context.ticket.take() else { return };
    // SAFETY: the zone lives as long as the cycle of the request.
    let Some(flights) = (unsafe { (*zone).flights() }) else { return };
    let now = request::monotonic();
    let failure = match *concluded {
        Concluded::Outcome(Outcome::Refused { reason, retry_after }) if !reason.is_clients() => {
            // SAFETY: the string is in the memory of the request.
            let retry_after = unsafe { bytes_of(&retry_after) };
            flights.finish(ticket, End::Failed { reason, retry_after }, now);
            Some(reason).filter(|reason| reason.is_outage())
        }
        Concluded::Outcome(_) => {
            flights.finish(ticket, End::Answered, now);
            None
        }
        Concluded::Keys(failure) => {
            flights.finish(ticket, End::Answered, now);
            failure.filter(|reason| reason.is_outage())
        }
        Concluded::Doubtful => {
            flights.abandon(ticket);
            None
        }
    };
    let noted = match status_of_server(question) {
        // The location has answered by itself: nothing is known of the server.
        None => return,
        // What fails over one token may do so over that token alone, and whoever sends it must not be able to
        // hold back the questions of others. That the server is silent or busy is about all.
        Some(0 | 429 | 503) => flights.note(context.server.get(), failure, now),
        Some(_) => flights.note(context.server.get(), None, now),
    };
    match noted {
        Noted::Nothing => {}
        Noted::Began => log!(
            NGX_LOG_ERR,
            question.log(),
            "phantom_token: {}, the authorization server has failed many times in a row: it is asked now and \
             then only, endpoint \"{}\"",
            failure.map_or("", Reason::slug),
            Shown(uri(question))
        ),
        Noted::Ended => log!(
            NGX_LOG_ERR,
            question.log(),
            "phantom_token: the authorization server answers again, endpoint \"{}\"",
            Shown(uri(question))
        ),
    }
}

/// There will be no answer: those who wait for it look up again, and one of them asks.
pub(crate) fn abandon(context: &Context) {
    if let Some((zone, ticket)) = context.ticket.take() {
        // SAFETY: the zone lives as long as the cycle of the request.
        if let Some(flights) = unsafe { (*zone).flights() } {
            flights.abandon(ticket);
        }
    }
    let Some(flight) = NonNull::new(context.flight.get()) else { return };
    context.flight.set(ptr::null_mut());
    // SAFETY: a flight that a context has is in the table. The contexts of those who wait live in the
    // pools of their requests.
    unsafe {
        flight::land(flight, reopen);
    }
}

/// A request that waits looks up again.
pub(crate) fn reopen(waiting: Request<'_>) {
    if let Some(context) = Context::of(waiting) {
        // SAFETY: the context lives in the pool of the waiting request.
        unsafe { context.as_ref() }.stage.set(Stage::Open);
    }
}

/// A request that waits looks up the verdict that another worker's question has brought.
pub(crate) fn look_up(waiting: Request<'_>) {
    if let Some(context) = Context::of(waiting) {
        // SAFETY: the context lives in the pool of the waiting request.
        unsafe { context.as_ref() }.followed.set(true);
    }
    reopen(waiting);
}

/// A request that waits learns that another worker's question has failed. That worker had no keys to go on with; this
/// one may have.
pub(crate) fn fail(waiting: Request<'_>, reason: Reason, retry_after: &[u8]) {
    if keys::go_on(waiting) {
        reopen(waiting);
        return;
    }
    tell(waiting, &Outcome::Refused { reason, retry_after: string_over(retry_after) });
}

/// Hands the outcome to a request that waits for it, in memory of its own.
fn tell(waiting: Request<'_>, outcome: &Outcome) {
    let Some(context) = Context::of(waiting) else { return };
    let pool = waiting.pool();
    let copy = match *outcome {
        Outcome::Active { carried, record } => {
            // SAFETY: the strings live in the pool of the request that asked, which is live.
            Carried::copy(pool, unsafe { bytes_of(&carried.bare()) }, carried.facts())
                .map(|carried| Outcome::Active { carried, record })
        }
        // SAFETY: as above.
        Outcome::Refused { reason, retry_after } => pool
            .string(unsafe { bytes_of(&retry_after) })
            .map(|retry_after| Outcome::Refused { reason, retry_after }),
    };
    // SAFETY: the context lives in the pool of the waiting request.
    unsafe {
        (*context.as_ptr())
            .set_outcome(Some(copy.unwrap_or_else(|| Outcome::refused(Reason::Internal))));
        (*context.as_ptr()).stage.set(Stage::Answered);
    }
}
