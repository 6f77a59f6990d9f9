//! A request of NGINX's, with the parts of it that this module touches behind safe methods.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_connection_t, ngx_http_complex_value, ngx_http_complex_value_t, ngx_http_core_loc_conf_t,
    ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_core_srv_conf_t, ngx_http_request_t,
    ngx_log_t, ngx_str_t, ngx_table_elt_t, ngx_timeofday, ngx_variable_value_t,
};
use phantom_token_core::record::UnixMillis;

use crate::code::OK;
use crate::conf::{LocationConf, MainConf, ServerConf};
use crate::headers;
use crate::nginx::bits;
use crate::pool::{Pool, bytes_of};
use crate::slot::ctx_index;

/// A live request. `'r` is the callback in which NGINX handed it over; its pool, its configuration and
/// the strings in its headers live at least as long.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r>(NonNull<ngx_http_request_t>, PhantomData<&'r ngx_http_request_t>);

impl<'r> Request<'r> {
    /// Wraps NGINX's pointer.
    ///
    /// # Safety
    /// `request` is a live request, with its connection, pool and configuration, throughout `'r`.
    pub(crate) unsafe fn from_ptr(request: *mut ngx_http_request_t) -> Self {
        // SAFETY: the caller says that it is live, hence not null.
        Self(unsafe { NonNull::new_unchecked(request) }, PhantomData)
    }

    /// NGINX's pointer. What is read or written through it stays within one expression, so that no
    /// reference into the request lives across a call into NGINX.
    pub(crate) fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0.as_ptr()
    }

    /// Not a subrequest.
    pub(crate) fn is_main(self) -> bool {
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).main == self.as_ptr() }
    }

    /// The request of the client's that this one is part of, often itself.
    pub(crate) fn main(self) -> Self {
        // SAFETY: the main request lives as long as its subrequests.
        unsafe { Self::from_ptr((*self.as_ptr()).main) }
    }

    /// Came here by an internal redirect or as a subrequest: what NGINX knew of it per module is gone.
    pub(crate) fn is_internal(self) -> bool {
        // SAFETY: the request is live.
        unsafe { bits::request::INTERNAL.is_set(self.as_ptr()) }
    }

    /// `rewrite` has sent it on: what NGINX knows of a location is not where it goes.
    pub(crate) fn is_rewritten(self) -> bool {
        // SAFETY: the request is live.
        unsafe { bits::request::URI_CHANGED.is_set(self.as_ptr()) }
    }

    /// The pool of the request.
    pub(crate) fn pool(self) -> Pool<'r> {
        // SAFETY: a live request has a pool, which lives as long.
        unsafe { Pool::from_ptr((*self.as_ptr()).pool) }
    }

    /// The client's connection.
    pub(crate) fn connection(self) -> *mut ngx_connection_t {
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).connection }
    }

    /// The log of the client's connection.
    pub(crate) fn log(self) -> *mut ngx_log_t {
        // SAFETY: a live request has a connection, and that a log.
        unsafe { (*self.connection()).log }
    }

    /// This module's rules for the location that the request is in now.
    pub(crate) fn location(self) -> &'r LocationConf {
        // SAFETY: NGINX made a configuration for every location by our create_loc_conf, and keeps the
        // cycle that it belongs to until its last request is gone.
        unsafe { &*(*(*self.as_ptr()).loc_conf.add(ctx_index())).cast::<LocationConf>() }
    }

    /// This module's view of the server block.
    pub(crate) fn server(self) -> &'r ServerConf {
        // SAFETY: as of `location`, made by our create_srv_conf.
        unsafe { &*(*(*self.as_ptr()).srv_conf.add(ctx_index())).cast::<ServerConf>() }
    }

    /// The first name of the server block.
    pub(crate) fn server_name(self) -> &'r [u8] {
        // SAFETY: the core module has a configuration in every server block; the name is part of it.
        unsafe {
            let index = ngx_http_core_module.ctx_index;
            let core = (*(*self.as_ptr()).srv_conf.add(index)).cast::<ngx_http_core_srv_conf_t>();
            bytes_of(&(*core).server_name)
        }
    }

    /// This module's part of the `http` level.
    pub(crate) fn main_conf(self) -> &'r MainConf {
        // SAFETY: as of `location`, made by our create_main_conf.
        unsafe { &*(*(*self.as_ptr()).main_conf.add(ctx_index())).cast::<MainConf>() }
    }

    /// The location's name, as in the configuration.
    pub(crate) fn location_name(self) -> &'r [u8] {
        // SAFETY: the core module has a configuration in every location; the name is part of it.
        unsafe {
            let index = ngx_http_core_module.ctx_index;
            let core = (*(*self.as_ptr()).loc_conf.add(index)).cast::<ngx_http_core_loc_conf_t>();
            bytes_of(&(*core).name)
        }
    }

    /// What NGINX keeps for this module with the request; an internal redirect clears it.
    pub(crate) fn slot(self) -> *mut c_void {
        // SAFETY: NGINX gives every request a slot for every module.
        unsafe { *(*self.as_ptr()).ctx.add(ctx_index()) }
    }

    /// Whether this is the module's own subrequest, whose credentials are ours. It alone of all subrequests
    /// has this module's slot filled.
    pub(crate) fn is_question(self) -> bool {
        !self.is_main() && !self.slot().is_null()
    }

    /// Sets [`Request::slot`].
    pub(crate) fn set_slot(self, value: *mut c_void) {
        // SAFETY: as of `slot`.
        unsafe { *(*self.as_ptr()).ctx.add(ctx_index()) = value }
    }

    /// Whether a browser asks what it may send (the CORS protocol's preflight).
    pub(crate) fn is_preflight(self) -> bool {
        // SAFETY: the request is live, and nobody changes its headers meanwhile.
        let headers = unsafe {
            if (*self.as_ptr()).method != nginx_sys::NGX_HTTP_OPTIONS as usize {
                return false;
            }
            headers::iterate(&raw const (*self.as_ptr()).headers_in.headers)
        };
        let mut origin = false;
        let mut method = false;
        for (name, _) in headers {
            origin |= name.eq_ignore_ascii_case(b"origin");
            method |= name.eq_ignore_ascii_case(b"access-control-request-method");
        }
        origin && method
    }

    /// The `Authorization` header, as it is now.
    pub(crate) fn authorization(self) -> Option<NonNull<ngx_table_elt_t>> {
        // SAFETY: the request is live.
        NonNull::new(unsafe { (*self.as_ptr()).headers_in.authorization })
    }

    /// The value of the `Authorization` header, empty where there is none.
    pub(crate) fn authorization_value(self) -> &'r [u8] {
        // SAFETY: header values are in memory of the request and are not changed in place.
        self.authorization().map_or(&[], |header| unsafe { bytes_of(&(*header.as_ptr()).value) })
    }

    /// Whether there are several `Authorization` headers. NGINX refuses that, but with `error_page 400` the request
    /// goes on with all of them.
    pub(crate) fn has_several_authorizations(self) -> bool {
        // SAFETY: the request is live, and nobody changes its headers meanwhile.
        unsafe {
            let list = &raw const (*self.as_ptr()).headers_in.headers;
            headers::count(list, b"authorization") > 1
        }
    }

    /// The method, as one of `NGX_HTTP_GET` and its like.
    pub(crate) fn method(self) -> usize {
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).method }
    }

    /// The method that the client has sent: `error_page` and X-Accel-Redirect make a GET of it, as `$request_method` has
    /// it.
    pub(crate) fn sent_method(self) -> &'r [u8] {
        // SAFETY: the request is live, and the line in its memory. Of HTTP/2 and HTTP/3 requests NGINX makes one.
        let line = unsafe { bytes_of(&(*self.as_ptr()).request_line) };
        line.split(|&byte| byte == b' ').next().unwrap_or_default()
    }

    /// The target as `$request_uri` has it: as it was sent.
    pub(crate) fn target(self) -> &'r [u8] {
        // SAFETY: the request is live, and its target is in its memory.
        unsafe { bytes_of(&(*self.as_ptr()).unparsed_uri) }
    }

    /// The connection is one with TLS, or QUIC.
    pub(crate) fn is_tls(self) -> bool {
        #[cfg(ngx_feature = "http_ssl")]
        // SAFETY: the connection of a live request is live.
        return unsafe { !(*self.connection()).ssl.is_null() };
        #[cfg(not(ngx_feature = "http_ssl"))]
        false
    }

    /// The host that was asked, with the port that was sent: of `Host` or `:authority`, where NGINX has gone by it.
    pub(crate) fn authority(self) -> &'r [u8] {
        // SAFETY: the request is live, and its host in its memory; NGINX sets both ends or neither.
        unsafe {
            let request = self.as_ptr();
            let server = bytes_of(&(*request).headers_in.server);
            let sent = match (*request).headers_in.host.as_ref() {
                Some(header) => bytes_of(&header.value),
                None if !(*request).host_start.is_null() => {
                    let (start, end) = ((*request).host_start, (*request).host_end);
                    let len = usize::try_from(end.offset_from(start)).unwrap_or(0);
                    bytes_of(&ngx_str_t { len, data: start })
                }
                None => server,
            };
            // An absolute URL in the request line goes before the header. NGINX takes away a dot at the end of the host.
            let is_same = sent.split_at_checked(server.len()).is_some_and(|(host, rest)| {
                let port = rest.strip_prefix(b".").unwrap_or(rest);
                host.eq_ignore_ascii_case(server) && matches!(port, [] | [b':', ..])
            });
            if is_same { sent } else { server }
        }
    }

    /// The path as `$uri` has it: decoded and normalised.
    pub(crate) fn path(self) -> &'r [u8] {
        // SAFETY: the request is live, and its URI is in its memory.
        unsafe { bytes_of(&(*self.as_ptr()).uri) }
    }

    /// The raw query string.
    pub(crate) fn args(self) -> &'r [u8] {
        // SAFETY: the request is live, and its arguments are in its memory.
        unsafe { bytes_of(&(*self.as_ptr()).args) }
    }

    /// What a directive's value with variables comes to for this request.
    ///
    /// # Safety
    /// `value` was compiled by NGINX for this configuration.
    pub(crate) unsafe fn evaluate(self, value: *mut ngx_http_complex_value_t) -> Option<&'r [u8]> {
        let mut text = ngx_str_t::empty();
        // SAFETY: the request is live; the caller vouches for the value. The text is in the request's
        // or the configuration's memory.
        unsafe {
            if ngx_http_complex_value(self.as_ptr(), value, &raw mut text) != OK {
                return None;
            }
            Some(bytes_of(&text))
        }
    }

    /// Gives a subrequest variables of its own, with the values that its parent has now: NGINX has them share one
    /// array. `None`: no memory.
    pub(crate) fn own_variables(self) -> Option<()> {
        // SAFETY: the request is live, as is its parent, and an array of variables has a value for each that is indexed.
        unsafe {
            let request = self.as_ptr();
            let shared = (*request).variables;
            if (*request).parent.is_null() || (*(*request).parent).variables != shared {
                return Some(());
            }
            let index = ngx_http_core_module.ctx_index;
            let main = (*(*request).main_conf.add(index)).cast::<ngx_http_core_main_conf_t>();
            let count = (*main).variables.nelts;
            let own = self.pool().zeroed_array::<ngx_variable_value_t>(count)?.as_ptr();
            core::ptr::copy_nonoverlapping(shared, own, count);
            (*request).variables = own;
        }
        Some(())
    }

    /// Whether an indexed variable has a value since it was forgotten.
    pub(crate) fn has_variable(self, index: usize) -> bool {
        // SAFETY: as of `forget_variable`.
        unsafe { bits::variable_value::VALID.is_set((*self.as_ptr()).variables.add(index)) }
    }

    /// Forgets the cached value of an indexed variable, so that who asks next sees the header anew.
    pub(crate) fn forget_variable(self, index: usize) {
        // SAFETY: `index` was given by ngx_http_get_variable_index for this configuration, and every
        // request has a value for every indexed variable.
        unsafe {
            let value = (*self.as_ptr()).variables.add(index);
            bits::variable_value::VALID.set(value, 0);
            bits::variable_value::NOT_FOUND.set(value, 0);
        }
    }
}

/// NGINX's monotonic clock in milliseconds, which is one for all processes.
pub(crate) fn monotonic() -> u64 {
    // SAFETY: NGINX has set its clock.
    unsafe { nginx_sys::ngx_current_msec as u64 }
}

/// The wall clock as NGINX knows it: read once per turn of its event loop, without a system call.
pub(crate) fn now() -> UnixMillis {
    let time = ngx_timeofday();
    time.sec * 1000 + time.msec as UnixMillis
}
