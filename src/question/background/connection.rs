//! The connection of a request that no client has sent: its descriptor is an eventfd, on which nothing ever
//! arrives, and what requests read of their connection is a copy of a client's.

use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_atomic_uint_t, ngx_buf_t, ngx_close_connection, ngx_connection_local_sockaddr,
    ngx_connection_t, ngx_connection_tcp_nodelay_e_NGX_TCP_NODELAY_DISABLED,
    ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_DISABLED, ngx_create_pool, ngx_cycle,
    ngx_destroy_pool, ngx_event_t, ngx_get_connection, ngx_http_conf_ctx_t, ngx_http_connection_t,
    ngx_http_log_ctx_t, ngx_log_t, ngx_pool_t, ngx_proxy_protocol_t, ngx_str_t, sockaddr,
    socklen_t,
};

use crate::code::OK;
#[cfg(ngx_feature = "http_ssl")]
use crate::log::log;
use crate::nginx::bits;
use crate::pool::{Pool, bytes_of};
use crate::request::Request;

/// Enough for what belongs to the connection.
const POOL_SIZE: usize = 1024;

/// A handler of the connection's events.
pub(super) type Handler = unsafe extern "C" fn(*mut ngx_event_t);

/// Opens a connection that tells what `client`'s does. Its data is what `ngx_http_create_request` expects.
/// `None`: no memory, no connection or no descriptor is left.
///
/// # Safety
/// The handlers are fit for events whose data is this connection.
pub(super) unsafe fn open(
    client: Request<'_>,
    on_write: Handler,
    on_read: Handler,
) -> Option<NonNull<ngx_connection_t>> {
    // SAFETY: the cycle of a running worker lives, and so does its log. The descriptor is the connection's
    // once there is one. What `furnish` leaves undone, `close` does not look for.
    unsafe {
        let log = (*ngx_cycle).log;
        let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
        if fd == -1 {
            return None;
        }
        let Some(connection) = NonNull::new(ngx_get_connection(fd, log)) else {
            libc::close(fd);
            return None;
        };
        let raw = connection.as_ptr();
        (*raw).pool = ngx_create_pool(POOL_SIZE, log);
        let furnished = NonNull::new((*raw).pool)
            .and_then(|pool| furnish(raw, pool, client, on_write, on_read));
        if furnished.is_none() {
            close(raw);
            return None;
        }
        Some(connection)
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
    on_write: Handler,
    on_read: Handler,
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
        // NGINX's for requests: it names client, server and upstream, by the data above.
        (*log).handler = (*(*theirs).log).handler;
        (*connection).log = log;
        (*(*connection).read).log = log;
        (*(*connection).write).log = log;
        (*(*connection).read).handler = Some(on_read);
        (*(*connection).write).handler = Some(on_write);

        (*connection).start_time = (*theirs).start_time;
        (*connection).proxy_protocol = copy_proxy_protocol(pool, (*theirs).proxy_protocol)?;
        secure(connection, pool, client)?;

        // No options of TCP are tried on it.
        bits::connection::TCP_NODELAY
            .set(connection, ngx_connection_tcp_nodelay_e_NGX_TCP_NODELAY_DISABLED);
        bits::connection::TCP_NOPUSH
            .set(connection, ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_DISABLED);

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

/// A copy of what a PROXY protocol header has said, or none where there was none.
///
/// # Safety
/// `header` is null or live.
unsafe fn copy_proxy_protocol(
    pool: Pool<'_>,
    header: *const ngx_proxy_protocol_t,
) -> Option<*mut ngx_proxy_protocol_t> {
    // SAFETY: the caller says so; the strings of the header live as long as it.
    unsafe {
        let Some(header) = header.as_ref() else { return Some(ptr::null_mut()) };
        let copy = pool.zeroed::<ngx_proxy_protocol_t>()?.as_ptr();
        copy.copy_from_nonoverlapping(header, 1);
        (*copy).src_addr = pool.string(bytes_of(&header.src_addr))?;
        (*copy).dst_addr = pool.string(bytes_of(&header.dst_addr))?;
        #[cfg(nginx1_23_2)]
        {
            (*copy).tlvs = pool.string(bytes_of(&header.tlvs))?;
        }
        Some(copy)
    }
}

/// Makes the connection one of TLS where the client's is, by the client's own session: all that NGINX's variables
/// tell of it holds here, too, whichever server block has made the handshake. Of a session that never began, not all
/// can be read (`$ssl_curve`).
///
/// The session lives until both connections are closed; nothing is sent by way of this one.
///
/// # Safety
/// The connection has a pool; the client's request is live.
#[cfg(ngx_feature = "http_ssl")]
unsafe fn secure(
    connection: *mut ngx_connection_t,
    pool: Pool<'_>,
    client: Request<'_>,
) -> Option<()> {
    use core::ffi::c_int;

    use nginx_sys::{SSL, ngx_ssl_connection_t};

    type UpRef = unsafe extern "C" fn(*mut SSL) -> c_int;

    // SAFETY: the caller says so. A function of this name has this type in all libraries that have it (OpenSSL,
    // LibreSSL). All zeroes is a valid value of NGINX's structure, of which variables read the session alone.
    unsafe {
        let Some(theirs) = (*client.connection()).ssl.as_ref() else { return Some(()) };
        let up_ref = libc::dlsym(libc::RTLD_DEFAULT, c"SSL_up_ref".as_ptr());
        let Some(up_ref) = core::mem::transmute::<*mut libc::c_void, Option<UpRef>>(up_ref) else {
            log!(
                NGX_LOG_WARN,
                client.log(),
                "phantom_token: nothing can be asked in the background for clients that use TLS: this nginx has a TLS \
                 library without SSL_up_ref, set \"phantom_token_cache_refresh off\""
            );
            return None;
        };
        let ours = pool.zeroed::<ngx_ssl_connection_t>()?.as_ptr();
        if up_ref(theirs.connection) != 1 {
            return None;
        }
        (*ours).connection = theirs.connection;
        (*connection).ssl = ours;
        Some(())
    }
}

#[cfg(not(ngx_feature = "http_ssl"))]
unsafe fn secure(
    _connection: *mut ngx_connection_t,
    _pool: Pool<'_>,
    _client: Request<'_>,
) -> Option<()> {
    Some(())
}

/// Closes a connection that has no request.
///
/// # Safety
/// The connection was made by [`open`].
pub(super) unsafe fn close(connection: *mut ngx_connection_t) {
    // SAFETY: as the caller says. As NGINX does it, but for the count of clients' connections.
    unsafe {
        #[cfg(ngx_feature = "http_ssl")]
        if let Some(ssl) = (*connection).ssl.as_ref() {
            // Ends our part in the session, and says nothing to the client.
            nginx_sys::SSL_free(ssl.connection);
            (*connection).ssl = ptr::null_mut();
        }
        let pool = (*connection).pool;
        bits::connection::DESTROYED.set(connection, 1);
        ngx_close_connection(connection);
        if !pool.is_null() {
            ngx_destroy_pool(pool);
        }
    }
}
