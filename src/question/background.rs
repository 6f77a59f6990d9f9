//! A request that no client has sent: it asks while hits go on, and holds nobody's connection.
//!
//! NGINX's subrequests need a main request, and that a connection: both are made, and end with the question.

mod connection;

use core::ptr::NonNull;

use nginx_sys::{
    ngx_connection_t, ngx_cycle, ngx_event_t, ngx_http_create_request, ngx_http_finalize_request,
    ngx_http_free_request, ngx_http_request_t, ngx_http_run_posted_requests,
};

use super::subrequest;
use crate::code::ERROR;
use crate::context::Context;
use crate::guard::guard;
use crate::nginx::{bits, event};
use crate::pool::{Pool, bytes_of};
use crate::request::Request;

/// What part of all connections must be free.
const SPARE_PART: usize = 8;

/// A request that nobody waits for, in the location of `client`'s request. It ends when its subrequest does,
/// or by [`Background::end`].
pub(super) struct Background(NonNull<ngx_http_request_t>);

impl Background {
    /// Whether there are connections enough. They are for clients first: NGINX would close idle ones to make room.
    pub(super) fn has_room() -> bool {
        // SAFETY: the cycle of a running worker lives.
        let (free, all) = unsafe { ((*ngx_cycle).free_connection_n, (*ngx_cycle).connection_n) };
        free > all / SPARE_PART
    }

    /// `None`: no memory, no connection or no descriptor is left.
    pub(super) fn create(client: Request<'_>) -> Option<Self> {
        // SAFETY: the connection is fresh, and `run` and `hang_up` are for requests as made here.
        unsafe {
            let connection = connection::open(client, run, hang_up)?.as_ptr();
            let request = NonNull::new(ngx_http_create_request(connection));
            let Some(request) = request else {
                connection::close(connection);
                return None;
            };
            let raw = request.as_ptr();
            (*connection).data = raw.cast();
            (*raw).write_event_handler = Some(finish);
            // It is no request of a client's, and has no place in the access log.
            bits::request::LOGGED.set(raw, 1);
            // The client's request is counted already, as it is for a subrequest of it.
            let counted = client.main().as_ptr();
            for status in [&bits::request::LIMIT_REQ_STATUS, &bits::request::LIMIT_CONN_STATUS] {
                status.set(raw, status.get(counted));
            }
            // What the introspection location may read of its parent.
            let pool = Pool::from_ptr((*raw).pool);
            let unparsed_uri = pool.string(bytes_of(&(*client.as_ptr()).unparsed_uri));
            let Some(unparsed_uri) = unparsed_uri else {
                Self(request).end();
                return None;
            };
            (*raw).unparsed_uri = unparsed_uri;
            (*raw).method = (*client.as_ptr()).method;
            (*raw).http_version = (*client.as_ptr()).http_version;
            let names = pool
                .string(bytes_of(&(*client.as_ptr()).method_name))
                .zip(pool.string(bytes_of(&(*client.as_ptr()).http_protocol)));
            let Some((method_name, http_protocol)) = names else {
                Self(request).end();
                return None;
            };
            (*raw).method_name = method_name;
            (*raw).http_protocol = http_protocol;
            Some(Self(request))
        }
    }

    /// The request, until it ends.
    pub(super) fn request(&self) -> Request<'_> {
        // SAFETY: it lives until NGINX runs what was posted, or `end`.
        unsafe { Request::from_ptr(self.0.as_ptr()) }
    }

    /// Has NGINX run the subrequest when the current event is done.
    pub(super) fn start(self) {
        // SAFETY: request and connection live.
        unsafe {
            event::post((*(*self.0.as_ptr()).connection).write);
        }
    }

    /// Ends a request that has no subrequest.
    pub(super) fn end(self) {
        // SAFETY: the request lives, and nothing of it was posted.
        unsafe { free(self.0.as_ptr()) }
    }
}

/// Runs the subrequest, and what NGINX posts for it. NGINX calls this as well when what a terminated request was
/// blocked by is over.
unsafe extern "C" fn run(event: *mut ngx_event_t) {
    guard((), || {
        // SAFETY: NGINX calls with the write event of our connection, whose data is our request, with its
        // context in the slot.
        unsafe {
            let connection = (*event).data.cast::<ngx_connection_t>();
            let request = Request::from_ptr((*connection).data.cast());
            if bits::event::TIMEDOUT.is_set(event) {
                // As NGINX does for a client's request that limit_req has delayed.
                bits::event::TIMEDOUT.set(event, 0);
                bits::event::DELAYED.set(event, 0);
                if let Some(context) = request.slot().cast::<Context>().as_ref() {
                    subrequest::nudge(context);
                }
            }
            if let Some(handler) = (*request.as_ptr()).write_event_handler {
                handler(request.as_ptr());
            }
            ngx_http_run_posted_requests(connection);
        }
    });
}

/// NGINX ends all connections when the time of a shutdown is up (worker_shutdown_timeout).
unsafe extern "C" fn hang_up(event: *mut ngx_event_t) {
    guard((), || {
        // SAFETY: NGINX calls with the read event of our connection, whose data is our live request.
        unsafe {
            let connection = (*event).data.cast::<ngx_connection_t>();
            if !bits::connection::CLOSE.is_set(connection) {
                return;
            }
            let request = (*connection).data.cast::<ngx_http_request_t>();
            // Nobody wants its post_action.
            bits::request::POST_ACTION.set(request, 1);
            bits::request::URI_CHANGES.set(request, 0);
            bits::request::COUNT.set(request, bits::request::COUNT.get(request) + 1);
            ngx_http_finalize_request(request, ERROR);
            (*request).write_event_handler = Some(terminated);
            ngx_http_run_posted_requests(connection);
        }
    });
}

/// NGINX has terminated the request, and its subrequest with it.
unsafe extern "C" fn terminated(request: *mut ngx_http_request_t) {
    guard((), || {
        // SAFETY: NGINX resumes the live request after the cleanup of what it did, and again if something (a thread,
        // the lock of proxy_cache) was still at work on it.
        unsafe {
            if !bits::request::BLOCKED.is_set(request) {
                free(request);
            }
        }
    });
}

/// The answer is there: the request has done its work.
unsafe extern "C" fn finish(request: *mut ngx_http_request_t) {
    guard((), || {
        // SAFETY: the request is live; it counts itself alone once its only subrequest was finalised.
        unsafe {
            if bits::request::COUNT.get(request) == 1 && !bits::request::BLOCKED.is_set(request) {
                free(request);
            }
        }
    });
}

/// # Safety
/// The request was made by [`Background::create`] and has no subrequest.
unsafe fn free(request: *mut ngx_http_request_t) {
    // SAFETY: as the caller says. The connection outlives the request's pool.
    unsafe {
        let connection = (*request).connection;
        ngx_http_free_request(request, 0);
        connection::close(connection);
    }
}
