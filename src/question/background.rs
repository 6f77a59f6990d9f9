//! A request that no client has sent: it asks while hits go on, and holds nobody's connection.
//!
//! NGINX's subrequests need a main request and that a connection. Both are made here; the descriptor of the
//! connection is an eventfd, on which nothing ever arrives.

use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_atomic_uint_t, ngx_buf_t, ngx_close_connection, ngx_connection_local_sockaddr,
    ngx_connection_t, ngx_connection_tcp_nodelay_e_NGX_TCP_NODELAY_DISABLED,
    ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_DISABLED, ngx_create_pool, ngx_cycle,
    ngx_destroy_pool, ngx_event_t, ngx_get_connection, ngx_http_conf_ctx_t, ngx_http_connection_t,
    ngx_http_create_request, ngx_http_finalize_request, ngx_http_free_request, ngx_http_log_ctx_t,
    ngx_http_request_t, ngx_http_run_posted_requests, ngx_log_t, ngx_pool_t, ngx_post_event,
    ngx_posted_events, ngx_str_t, sockaddr, socklen_t,
};

use super::subrequest;
use crate::code::{ERROR, OK};
use crate::context::Context;
use crate::guard::guard;
use crate::pool::{Pool, bytes_of};
use crate::request::Request;

/// What part of all connections must be free.
const SPARE_PART: usize = 8;
/// Enough for what belongs to the connection.
const POOL_SIZE: usize = 1024;

/// A request that nobody waits for, in the location of `client`'s request. It ends when its subrequest does,
/// or by [`Background::end`].
pub(super) struct Background(NonNull<ngx_http_request_t>);

impl Background {
    /// `None`: no memory, no connection or no descriptor is left.
    pub(super) fn create(client: Request<'_>) -> Option<Self> {
        // SAFETY: the cycle of a running worker lives, and so does its log.
        let (log, free, all) = unsafe {
            ((*ngx_cycle).log, (*ngx_cycle).free_connection_n, (*ngx_cycle).connection_n)
        };
        if free <= all / SPARE_PART {
            // Connections are for clients first: NGINX would close idle ones to make room.
            return None;
        }
        // SAFETY: creates a descriptor, which the connection owns from then on.
        let connection = unsafe {
            let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
            if fd == -1 {
                return None;
            }
            let Some(connection) = NonNull::new(ngx_get_connection(fd, log)) else {
                libc::close(fd);
                return None;
            };
            connection.as_ptr()
        };
        // SAFETY: the connection is fresh; `furnish` leaves it as `close` expects it.
        unsafe {
            (*connection).pool = ngx_create_pool(POOL_SIZE, log);
            let request = NonNull::new((*connection).pool)
                .and_then(|pool| furnish(connection, pool, client))
                .and_then(|()| NonNull::new(ngx_http_create_request(connection)));
            let Some(request) = request else {
                close(connection);
                return None;
            };
            let raw = request.as_ptr();
            (*connection).data = raw.cast();
            (*raw).write_event_handler = Some(finish);
            // It is no request of a client's, and has no place in the access log.
            (*raw).set_logged(1);
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
            let event = (*(*self.0.as_ptr()).connection).write;
            ngx_post_event(event, &raw mut ngx_posted_events);
        }
    }

    /// Ends a request that has no subrequest.
    pub(super) fn end(self) {
        // SAFETY: the request lives, and nothing of it was posted.
        unsafe { free(self.0.as_ptr()) }
    }
}

/// Gives the connection what requests read of theirs: a copy of the client's, which may go before.
///
/// # Safety
/// `connection` is fresh from `ngx_get_connection`, and `pool` its own.
unsafe fn furnish(
    connection: *mut ngx_connection_t,
    pool: NonNull<ngx_pool_t>,
    client: Request<'_>,
) -> Option<()> {
    // SAFETY: the caller says so; the client's request and connection are live. All zeroes is a valid value
    // of every structure that is made here.
    unsafe {
        let pool = Pool::from_ptr(pool.as_ptr());
        let theirs = client.connection();
        (*connection).listening = (*theirs).listening;
        (*connection).type_ = (*theirs).type_;
        ((*connection).sockaddr, (*connection).socklen) =
            copy_address(pool, (*theirs).sockaddr, (*theirs).socklen)?;
        // The address that the client has reached: of a socket that listens on all, only the system knows it.
        if ngx_connection_local_sockaddr(theirs, ptr::null_mut(), 0) != OK {
            return None;
        }
        ((*connection).local_sockaddr, (*connection).local_socklen) =
            copy_address(pool, (*theirs).local_sockaddr, (*theirs).local_socklen)?;
        (*connection).addr_text = pool.string(bytes_of(&(*theirs).addr_text))?;

        let counter = nginx_sys::ngx_connection_counter;
        let number = core::sync::atomic::AtomicUsize::from_ptr(counter.cast())
            .fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        (*connection).number = number as ngx_atomic_uint_t;

        let context = pool.zeroed::<ngx_http_log_ctx_t>()?.as_ptr();
        (*context).connection = connection;
        let log = pool.zeroed::<ngx_log_t>()?.as_ptr();
        log.copy_from_nonoverlapping((*connection).log, 1);
        (*log).connection = number as ngx_atomic_uint_t;
        (*log).data = context.cast();
        (*log).handler = None;
        (*connection).log = log;
        (*(*connection).read).log = log;
        (*(*connection).write).log = log;
        (*(*connection).read).handler = Some(hang_up);
        (*(*connection).write).handler = Some(run);

        // No options of TCP are tried on it.
        (*connection).set_tcp_nodelay(ngx_connection_tcp_nodelay_e_NGX_TCP_NODELAY_DISABLED);
        (*connection).set_tcp_nopush(ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_DISABLED);

        // NGINX looks for bytes that it has read beyond a request.
        (*connection).buffer = pool.zeroed::<ngx_buf_t>()?.as_ptr();

        let request = client.as_ptr();
        let levels = pool.place(ngx_http_conf_ctx_t {
            main_conf: (*request).main_conf,
            srv_conf: (*request).srv_conf,
            loc_conf: (*request).loc_conf,
        })?;
        let http = pool.zeroed::<ngx_http_connection_t>()?.as_ptr();
        (*http).addr_conf = (*(*request).http_connection).addr_conf;
        (*http).conf_ctx = levels.as_ptr();
        (*connection).data = http.cast();
    }
    Some(())
}

/// A copy of a socket's address, or none where there is none.
///
/// # Safety
/// `address` is null, or has `len` bytes.
unsafe fn copy_address(
    pool: Pool<'_>,
    address: *const sockaddr,
    len: socklen_t,
) -> Option<(*mut sockaddr, socklen_t)> {
    if address.is_null() {
        return Some((ptr::null_mut(), 0));
    }
    let string = ngx_str_t { len: len as usize, data: address.cast_mut().cast() };
    // SAFETY: the caller says so. An address may need more alignment than bytes do, and NGINX reads no more of
    // it than `len`, but reads it as the family says.
    unsafe {
        let room = pool.zeroed::<libc::sockaddr_storage>()?.cast::<u8>();
        let bytes = bytes_of(&string);
        let len = bytes.len().min(size_of::<libc::sockaddr_storage>());
        room.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len);
        Some((room.as_ptr().cast(), len as socklen_t))
    }
}

/// Runs the subrequest, and what NGINX posts for it.
unsafe extern "C" fn run(event: *mut ngx_event_t) {
    guard((), || {
        // SAFETY: NGINX calls with the write event of our connection, whose data is our request, with its
        // context in the slot.
        unsafe {
            let connection = (*event).data.cast::<ngx_connection_t>();
            let request = Request::from_ptr((*connection).data.cast());
            if (*event).timedout() != 0 {
                // As NGINX does for a client's request that limit_req has delayed.
                (*event).set_timedout(0);
                (*event).set_delayed(0);
                if let Some(context) = request.slot().cast::<Context>().as_ref() {
                    subrequest::nudge(context);
                }
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
            if (*connection).close() == 0 {
                return;
            }
            let request = (*connection).data.cast::<ngx_http_request_t>();
            // Nobody wants its post_action.
            (*request).set_post_action(1);
            (*request).set_uri_changes(0);
            (*request).set_count((*request).count() + 1);
            ngx_http_finalize_request(request, ERROR);
            (*request).write_event_handler = Some(terminated);
            ngx_http_run_posted_requests(connection);
        }
    });
}

/// NGINX has terminated the request, and its subrequest with it.
unsafe extern "C" fn terminated(request: *mut ngx_http_request_t) {
    // SAFETY: NGINX resumes the live request once, after the cleanup of what it did.
    guard((), || unsafe { free(request) });
}

/// The answer is there: the request has done its work.
unsafe extern "C" fn finish(request: *mut ngx_http_request_t) {
    guard((), || {
        // SAFETY: NGINX resumes the live request, after its only subrequest was finalised.
        unsafe {
            if (*request).count() == 1 {
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
        close(connection);
    }
}

/// # Safety
/// The connection was made by [`Background::create`] and has no request.
unsafe fn close(connection: *mut ngx_connection_t) {
    // SAFETY: as the caller says. As NGINX does it, but for the count of clients' connections.
    unsafe {
        let pool = (*connection).pool;
        (*connection).set_destroyed(1);
        ngx_close_connection(connection);
        if !pool.is_null() {
            ngx_destroy_pool(pool);
        }
    }
}
