//! Single flight within one worker: a question that is being asked, and the requests that wait for it.
//!
//! A flight lies in the pool of the request that asks, a waiter in that of the request that waits; both
//! leave the table and the queue before their pools go.

use core::cell::Cell;
use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_event_t, ngx_handle_read_event, ngx_http_block_reading, ngx_http_finalize_request,
    ngx_http_log_ctx_t, ngx_http_request_t, ngx_http_run_posted_requests, ngx_http_test_reading,
    ngx_msec_t, ngx_queue_init, ngx_queue_insert_before, ngx_queue_remove, ngx_queue_t,
};
use phantom_token_core::key::TokenKey;

use crate::code::OK;
use crate::guard::guard;
use crate::nginx::{bits, event};
use crate::pool::Pool;
use crate::request::{self, Request};

/// A question that is being asked.
pub(crate) struct Flight {
    key: TokenKey,
    /// Another worker asks.
    elsewhere: bool,
    /// From then on it is late, and another request may ask; on NGINX's monotonic clock.
    deadline: u64,
    /// The next flight of the same bucket.
    next: *mut Flight,
    /// [`Waiter::link`]s.
    waiters: ngx_queue_t,
}

/// A request that waits for another request's question.
#[repr(C)]
pub(crate) struct Waiter {
    /// Posted when the answer is there, and the timer of the wait. First: NGINX hands out its address.
    event: ngx_event_t,
    request: *mut ngx_http_request_t,
    link: ngx_queue_t,
    /// In a flight's queue.
    linked: bool,
    timed_out: bool,
}

/// The flights of this worker, by the first byte of their keys. What the keys are is decided by a keyed
/// hash, so nobody can crowd one bucket.
struct Table([Cell<*mut Flight>; 256]);

// SAFETY: a worker of NGINX runs requests in one thread, and each worker has a table of its own.
unsafe impl Sync for Table {}

static TABLE: Table = Table([const { Cell::new(ptr::null_mut()) }; 256]);

fn bucket(key: &TokenKey) -> &'static Cell<*mut Flight> {
    let Table(buckets) = &TABLE;
    let [first, ..] = buckets;
    buckets.get(usize::from(key.bucket())).unwrap_or(first)
}

/// The question about this key that is being asked in this worker, unless it is late.
pub(crate) fn find(key: &TokenKey) -> Option<NonNull<Flight>> {
    let now = request::monotonic();
    let mut flight = bucket(key).get();
    while let Some(found) = NonNull::new(flight) {
        // SAFETY: flights are in the table only while they live.
        unsafe {
            if (*flight).key == *key && now < (*flight).deadline {
                return Some(found);
            }
            flight = (*flight).next;
        }
    }
    None
}

impl Flight {
    /// A flight of another worker, not in the table yet. When it is late is known where it is followed.
    pub(crate) fn elsewhere(key: TokenKey) -> Self {
        Self { elsewhere: true, ..Self::new(key, u64::MAX) }
    }

    fn new(key: TokenKey, deadline: u64) -> Self {
        let waiters = ngx_queue_t { prev: ptr::null_mut(), next: ptr::null_mut() };
        Self { key, elsewhere: false, deadline, next: ptr::null_mut(), waiters }
    }
}

/// Notes that a question is being asked, and for how many milliseconds others may rely on it; the pool is that of
/// the request that asks.
pub(crate) fn start(pool: Pool<'_>, key: TokenKey, time: ngx_msec_t) -> Option<NonNull<Flight>> {
    let deadline = request::monotonic().saturating_add(time as u64);
    let flight = pool.place(Flight::new(key, deadline))?;
    // SAFETY: who asks ends the flight before its pool goes.
    unsafe { enter(flight) };
    Some(flight)
}

/// Puts a flight into the table.
///
/// # Safety
/// The flight stays where it is until [`land`].
pub(crate) unsafe fn enter(flight: NonNull<Flight>) {
    let flight = flight.as_ptr();
    // SAFETY: as the caller says.
    unsafe {
        ngx_queue_init(&raw mut (*flight).waiters);
        let head = bucket(&(*flight).key);
        (*flight).next = head.get();
        head.set(flight);
    }
}

/// Whether another worker asks.
///
/// # Safety
/// The flight is in the table.
pub(crate) unsafe fn is_elsewhere(flight: NonNull<Flight>) -> bool {
    // SAFETY: as the caller says.
    unsafe { (*flight.as_ptr()).elsewhere }
}

/// Whether anybody waits.
///
/// # Safety
/// The flight is in the table.
pub(crate) unsafe fn is_awaited(flight: NonNull<Flight>) -> bool {
    // SAFETY: the queue's head is part of the flight.
    unsafe {
        let head = &raw const (*flight.as_ptr()).waiters;
        !ptr::eq((*head).next, head)
    }
}

/// Ends a flight: takes it out of the table, tells `tell` of each request that waits, and has NGINX
/// resume them after the current event.
///
/// # Safety
/// The flight is in the table.
pub(crate) unsafe fn land(flight: NonNull<Flight>, mut tell: impl FnMut(Request<'_>)) {
    let flight = flight.as_ptr();
    // SAFETY: the flight lives, and so does every waiter in its queue: those whose requests end take
    // themselves out by `leave`.
    unsafe {
        let mut place = bucket(&(*flight).key).as_ptr();
        while !(*place).is_null() {
            if *place == flight {
                *place = (*flight).next;
                break;
            }
            place = &raw mut (**place).next;
        }

        let head = &raw mut (*flight).waiters;
        loop {
            let link = (*head).next;
            if link == head {
                break;
            }
            let waiter = link.byte_sub(core::mem::offset_of!(Waiter, link)).cast::<Waiter>();
            ngx_queue_remove(&raw mut (*waiter).link);
            (*waiter).linked = false;
            tell(Request::from_ptr((*waiter).request));
            event::post(&raw mut (*waiter).event);
        }
    }
}

/// Has a request wait for a flight, at most `timeout` milliseconds. `None`: no memory.
///
/// # Safety
/// The flight is in the table, and the request calls [`leave`] before it ends.
pub(crate) unsafe fn wait(
    flight: NonNull<Flight>,
    request: Request<'_>,
    timeout: ngx_msec_t,
) -> Option<NonNull<Waiter>> {
    // SAFETY: all zeroes is a valid event of NGINX's, and a valid waiter.
    let waiter = unsafe { request.pool().zeroed::<Waiter>() }?.as_ptr();
    let connection = request.connection();
    // SAFETY: the waiter is fresh; request and connection are live.
    unsafe {
        (*waiter).request = request.as_ptr();
        (*waiter).event.handler = Some(resume);
        // NGINX's debug log reads the descriptor of the connection there.
        (*waiter).event.data = connection.cast();
        (*waiter).event.log = request.log();
        ngx_queue_insert_before(&raw mut (*flight.as_ptr()).waiters, &raw mut (*waiter).link);
        (*waiter).linked = true;
        event::add_timer(&raw mut (*waiter).event, timeout);

        // As limit_req does for a delayed request: a client that gives up is noticed.
        let read = (*connection).read;
        if bits::event::READY.is_set(read) {
            event::post(read);
        } else if ngx_handle_read_event(read, 0) != OK {
            leave(NonNull::new(waiter)?);
            return None;
        }
        (*request.as_ptr()).read_event_handler = Some(ngx_http_test_reading);
    }
    NonNull::new(waiter)
}

/// Ends a wait, however far it is. Does nothing the second time.
///
/// # Safety
/// The waiter's request lives.
pub(crate) unsafe fn leave(waiter: NonNull<Waiter>) {
    let waiter = waiter.as_ptr();
    // SAFETY: the waiter lies in the request's pool.
    unsafe {
        if (*waiter).linked {
            ngx_queue_remove(&raw mut (*waiter).link);
            (*waiter).linked = false;
        }
        let event = &raw mut (*waiter).event;
        if bits::event::TIMER_SET.is_set(event) {
            event::delete_timer(event);
        }
        if bits::event::POSTED.is_set(event) {
            event::take_back(event);
        }
        // Whatever woke the request: what to do when the client goes is for others to say now (proxy_ignore_client_abort),
        // and where the request asks for those who wait, it is not for the client.
        let request = (*waiter).request;
        let test: unsafe extern "C" fn(*mut ngx_http_request_t) = ngx_http_test_reading;
        if (*request).read_event_handler.is_some_and(|handler| ptr::fn_addr_eq(handler, test)) {
            (*request).read_event_handler = Some(ngx_http_block_reading);
        }
    }
}

/// Whether the time of the wait was up before the answer was there.
///
/// # Safety
/// As of [`leave`].
pub(crate) unsafe fn timed_out(waiter: NonNull<Waiter>) -> bool {
    // SAFETY: the waiter lies in the request's pool.
    unsafe { (*waiter.as_ptr()).timed_out }
}

/// The answer is there, or the time is up: the request goes on where it stopped.
unsafe extern "C" fn resume(event: *mut ngx_event_t) {
    guard((), || {
        let waiter = event.cast::<Waiter>();
        // SAFETY: the event is the first field of a waiter, whose request lives: else `leave` had taken
        // the event back. The log's data is what NGINX's http module put there.
        unsafe {
            if bits::event::TIMEDOUT.is_set(event) {
                (*waiter).timed_out = true;
            }
            let Some(waiter) = NonNull::new(waiter) else { return };
            leave(waiter);

            let request = (*waiter.as_ptr()).request;
            let connection = (*request).connection;
            let log_context = (*(*connection).log).data.cast::<ngx_http_log_ctx_t>();
            (*log_context).current_request = request;

            if ngx_handle_read_event((*connection).read, 0) != OK {
                ngx_http_finalize_request(
                    request,
                    nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as nginx_sys::ngx_int_t,
                );
            } else {
                (*request).read_event_handler = Some(ngx_http_block_reading);
                if let Some(handler) = (*request).write_event_handler {
                    handler(request);
                }
            }
            ngx_http_run_posted_requests(connection);
        }
    });
}
