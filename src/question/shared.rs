//! Single flight across workers: the table of questions in the zone, and following a question that another
//! worker asks.

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_alloc, ngx_connection_t, ngx_event_t, ngx_http_complex_value_t, ngx_msec_t, ngx_pid,
};
use phantom_token_core::flights::{Asker, Begin, Flights, Poll, Ticket};
use phantom_token_core::key::{self, TokenKey};
use phantom_token_core::reason::Reason;

use super::what::What;
use crate::answer;
use crate::cache_zone::Zone;
use crate::conf::LocationConf;
use crate::flight::{self, Flight};
use crate::guard::guard;
use crate::nginx::{bits, event};
use crate::request::{self, Request};

/// How often a question of another worker is looked at, in milliseconds: the first time, and at most.
const FIRST_LOOK: ngx_msec_t = 1;
const MAX_LOOK: ngx_msec_t = 8;

/// What part of the questions that are allowed is for requests that wait for the answer.
const WAITING_PART: usize = 4;

/// What a zone knows a question by.
pub(super) type ZoneTicket = (*const Zone, Ticket);

/// What a worker is to do about a token that nobody in it asks about.
pub(super) enum Turn {
    /// Ask; the zone, if there is one, knows the question by the ticket.
    Ask(Option<ZoneTicket>),
    /// Another worker asks.
    Follow(NonNull<Flight>),
}

/// Takes a turn, or finds that another worker has it, if the request `follows` others. `Err`: the question may not
/// be asked now.
pub(super) fn take_turn(
    location: &LocationConf,
    key: TokenKey,
    server: u64,
    follows: bool,
) -> Result<Turn, Reason> {
    let Some(flights) = location.flights() else { return Ok(Turn::Ask(None)) };
    let now = request::monotonic();
    match flights.begin(&key, asker(location, now, follows), now, limit(location), is_alive) {
        Begin::Ask(ticket) => {
            if let Some(reason) = flights.back_off(server, now) {
                flights.abandon(ticket);
                return Err(reason);
            }
            Ok(Turn::Ask(Some((location.zone, ticket))))
        }
        Begin::Follow(ticket) => {
            follow(location.zone, ticket, key).map(Turn::Follow).ok_or(Reason::Internal)
        }
        Begin::Full => Err(Reason::Overload),
    }
}

/// Takes a turn if nobody else has it and the question may be asked now. A quarter of the questions that are
/// allowed is for requests that wait: many verdicts may age at once. Without a zone there are no tickets.
pub(super) fn take_turn_alone(
    location: &LocationConf,
    key: TokenKey,
    server: u64,
) -> Option<Option<ZoneTicket>> {
    let Some(flights) = location.flights() else { return Some(None) };
    let now = request::monotonic();
    let limit = limit(location) - limit(location) / WAITING_PART;
    match flights.begin(&key, asker(location, now, true), now, limit, is_alive) {
        Begin::Ask(ticket) if flights.back_off(server, now).is_some() => {
            flights.abandon(ticket);
            None
        }
        Begin::Ask(ticket) => Some(Some((location.zone, ticket))),
        Begin::Follow(_) | Begin::Full => None,
    }
}

/// Gives back a turn that was not used.
pub(super) fn give_back((zone, ticket): ZoneTicket) {
    // SAFETY: a zone lives in the cycle's pool.
    if let Some(flights) = unsafe { (*zone).flights() } {
        flights.abandon(ticket);
    }
}

fn asker(location: &LocationConf, now: u64, follows: bool) -> Asker {
    // SAFETY: NGINX has set its process id.
    let pid = unsafe { ngx_pid };
    Asker { pid, deadline: now.saturating_add(location.lock_timeout as u64), follows }
}

fn limit(location: &LocationConf) -> usize {
    usize::try_from(location.max_introspections).unwrap_or(1)
}

/// The number of the server that is asked: where its keys are, or the endpoint of this server block, and what
/// `phantom_token_cache_key` says of a `proxy_pass` that varies. One server's outage is not another one's.
pub(super) fn server_of(request: Request<'_>, location: &LocationConf, what: What<'_>) -> u64 {
    if let What::Keys(source) = what {
        return key::server_number([&request.server().identity.get()[..], &source.identity()[..]]);
    }
    // Without variables in them they are the same for all requests of the location.
    match location.server_number.get() {
        Some(number) => *number,
        None if location.fixed_realm => {
            *location.server_number.get_or_init(|| make_server_number(request, location))
        }
        None => make_server_number(request, location),
    }
}

fn make_server_number(request: Request<'_>, location: &LocationConf) -> u64 {
    let evaluate = |value: *mut ngx_http_complex_value_t| {
        // SAFETY: compiled for this configuration, or null.
        NonNull::new(value).and_then(|value| unsafe { request.evaluate(value.as_ptr()) })
    };
    let block = request.server().identity.get();
    let endpoint = evaluate(location.question_uri());
    let tenant = evaluate(location.cache_key);
    key::server_number([&block[..], endpoint.unwrap_or_default(), tenant.unwrap_or_default()])
}

/// Whether a process lives. Workers run as one user, so that the answer is never "not allowed".
fn is_alive(pid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    pid > 0 && unsafe { libc::kill(pid, 0) } == 0
}

/// A flight of another worker's, as this one knows it.
#[repr(C)]
struct Followed {
    /// First: the table knows it by this address.
    flight: Flight,
    event: ngx_event_t,
    /// What NGINX's debug log shows of an event: no connection.
    nobody: ngx_connection_t,
    zone: *const Zone,
    ticket: Ticket,
    look: ngx_msec_t,
}

/// Has this worker look at a question of another one until it ends. `None`: no memory.
fn follow(zone: *const Zone, ticket: Ticket, key: TokenKey) -> Option<NonNull<Flight>> {
    // SAFETY: the log of the cycle lives. The room is for the structure, all of whose fields are written;
    // all zeroes is a valid event and a valid connection.
    unsafe {
        let room = ngx_alloc(size_of::<Followed>(), (*nginx_sys::ngx_cycle).log);
        let followed = NonNull::new(room)?.cast::<Followed>();
        let raw = followed.as_ptr();
        raw.write(Followed {
            flight: Flight::elsewhere(key),
            event: core::mem::zeroed(),
            nobody: core::mem::zeroed(),
            zone,
            ticket,
            look: FIRST_LOOK,
        });
        (*raw).nobody.fd = -1;
        (*raw).event.data = (&raw mut (*raw).nobody).cast::<c_void>();
        (*raw).event.log = (*nginx_sys::ngx_cycle).log;
        (*raw).event.handler = Some(look);
        // Those who wait have timers of their own, which keep a worker that is to end.
        bits::event::CANCELABLE.set(&raw mut (*raw).event, 1);
        flight::enter(followed.cast());
        event::add_timer(&raw mut (*raw).event, FIRST_LOOK);
        Some(followed.cast())
    }
}

/// Time to look whether the question has ended.
unsafe extern "C" fn look(event: *mut ngx_event_t) {
    guard((), || {
        // SAFETY: the event is part of a followed flight, which is in the table until it lands.
        unsafe {
            let raw = event.byte_sub(core::mem::offset_of!(Followed, event)).cast::<Followed>();
            let found = poll(raw);
            if found == Poll::Pending {
                (*raw).look = ((*raw).look * 2).min(MAX_LOOK);
                event::add_timer(event, (*raw).look);
                return;
            }
            land(raw, found);
        }
    });
}

/// Whether a question that is in flight here has ended in another worker, without a verdict, and this one has not
/// looked yet: who comes now has no part in that. Those who wait learn of it.
pub(super) fn has_failed(flight: NonNull<Flight>) -> bool {
    // SAFETY: the flight is in the table; if another worker asks, it is the first field of a followed one.
    unsafe {
        if !flight::is_elsewhere(flight) {
            return false;
        }
        let raw = flight.cast::<Followed>().as_ptr();
        match poll(raw) {
            Poll::Pending | Poll::Answered => false,
            end => {
                event::delete_timer(&raw mut (*raw).event);
                land(raw, end);
                true
            }
        }
    }
}

/// # Safety
/// The followed flight is in the table.
unsafe fn poll(followed: *mut Followed) -> Poll {
    // SAFETY: the caller says so. The zone lives as long as the requests that wait; if none does, it is not looked
    // at.
    unsafe {
        if !flight::is_awaited(NonNull::new_unchecked(followed).cast()) {
            return Poll::Gone;
        }
        (*(*followed).zone).flights().map_or(Poll::Gone, |flights: &Flights| {
            flights.poll((*followed).ticket, request::monotonic(), is_alive)
        })
    }
}

/// # Safety
/// The followed flight is in the table, and its timer is not set.
unsafe fn land(followed: *mut Followed, end: Poll) {
    // SAFETY: the caller says so; nobody knows the flight once it has landed.
    unsafe {
        flight::land(NonNull::new_unchecked(followed).cast(), |waiting| match &end {
            Poll::Failed(failure) => answer::fail(waiting, failure.reason, failure.retry_after()),
            Poll::Answered => answer::look_up(waiting),
            Poll::Gone | Poll::Pending => answer::reopen(waiting),
        });
        // NGINX allocates with malloc.
        libc::free(followed.cast());
    }
}
