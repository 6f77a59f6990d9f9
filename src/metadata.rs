//! The content handler that answers with the metadata of a protected resource (RFC 9728 section 3).
//!
//! A document lies ready since the configuration was read, and anybody may read it, from any origin.

use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_OPTIONS, ngx_buf_t, ngx_chain_t,
    ngx_http_discard_request_body, ngx_http_output_filter, ngx_http_request_t,
    ngx_http_send_header, ngx_int_t, ngx_table_elt_t,
};

use crate::code::{ERROR, OK};
use crate::guard::guard;
use crate::headers::{self, Name};
use crate::log::{Shown, log};
use crate::nginx::bits;
use crate::pool::string_over;
use crate::request::Request;

const FAULT: ngx_int_t = nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
const NO_CONTENT: ngx_int_t = nginx_sys::NGX_HTTP_NO_CONTENT as ngx_int_t;
const NOT_ALLOWED: ngx_int_t = nginx_sys::NGX_HTTP_NOT_ALLOWED as ngx_int_t;
const NOT_FOUND: ngx_int_t = nginx_sys::NGX_HTTP_NOT_FOUND as ngx_int_t;

/// A response header: its name, the name in lower case, its value.
type Header = (&'static [u8], &'static [u8], &'static [u8]);

/// Without credentials, which nobody needs here, "*" is all that browsers ask for.
const ALLOW_ORIGIN: Header = (b"Access-Control-Allow-Origin", b"access-control-allow-origin", b"*");

/// What a script may send. Some send a header with each request of theirs, such as
/// MCP-Protocol-Version; "*" does not stand for Authorization.
const PREFLIGHT: [Header; 3] = [
    (b"Access-Control-Allow-Methods", b"access-control-allow-methods", b"GET, HEAD"),
    (b"Access-Control-Allow-Headers", b"access-control-allow-headers", b"*, Authorization"),
    (b"Access-Control-Max-Age", b"access-control-max-age", b"3600"),
];

const ALLOW: Header = (b"Allow", b"allow", b"GET, HEAD, OPTIONS");

/// An hour (RFC 9728 section 7.10): a document changes when the configuration does.
const CACHE_CONTROL: Header = (b"Cache-Control", b"cache-control", b"public, max-age=3600");

const CONTENT_TYPE: &[u8] = b"application/json";

/// The handler of a location with `phantom_token_resource_metadata`.
pub(crate) unsafe extern "C" fn handler(request: *mut ngx_http_request_t) -> ngx_int_t {
    guard(FAULT, || {
        // SAFETY: NGINX calls content handlers with live requests.
        let request = unsafe { Request::from_ptr(request) };
        respond(request).unwrap_or(FAULT)
    })
}

/// `None`: no memory.
fn respond(request: Request<'_>) -> Option<ngx_int_t> {
    // With all that follows, so that a script can tell a 404 from a failed network.
    set(request, ALLOW_ORIGIN)?;
    match request.method() as u32 {
        NGX_HTTP_GET | NGX_HTTP_HEAD => {}
        NGX_HTTP_OPTIONS => {
            set(request, ALLOW)?;
            for header in PREFLIGHT {
                set(request, header)?;
            }
            return Some(NO_CONTENT);
        }
        _ => {
            set(request, ALLOW)?;
            return Some(NOT_ALLOWED);
        }
    }
    // SAFETY: the request is live.
    let discarded = unsafe { ngx_http_discard_request_body(request.as_ptr()) };
    if discarded != OK {
        return Some(discarded);
    }
    let Some(document) = request.server().published.document(request.path(), request.args()) else {
        log!(
            NGX_LOG_INFO,
            request.log(),
            "phantom_token: no resource of this server block has its metadata at \"{}\"",
            Shown(request.path())
        );
        return Some(NOT_FOUND);
    };
    send(request, document)
}

/// Sends a document that lies in the cycle's memory.
fn send(request: Request<'_>, document: &[u8]) -> Option<ngx_int_t> {
    let cache_control = set(request, CACHE_CONTROL)?;
    // SAFETY: the request is live. NGINX only reads what the buffer points to, which lives as long as
    // the cycle, hence longer than the request.
    unsafe {
        let r = request.as_ptr();
        keep_cache_control(request, cache_control)?;
        (*r).headers_out.status = nginx_sys::NGX_HTTP_OK as usize;
        (*r).headers_out.content_length_n = document.len() as nginx_sys::off_t;
        (*r).headers_out.content_type = string_over(CONTENT_TYPE);
        (*r).headers_out.content_type_len = CONTENT_TYPE.len();
        (*r).headers_out.content_type_lowcase = ptr::null_mut();
        let sent = ngx_http_send_header(r);
        if sent == ERROR || sent > OK || bits::request::HEADER_ONLY.is_set(r) {
            return Some(sent);
        }
        let buffer = request.pool().zeroed::<ngx_buf_t>()?.as_ptr();
        let bytes = document.as_ptr_range();
        (*buffer).pos = bytes.start.cast_mut();
        (*buffer).last = bytes.end.cast_mut();
        (*buffer).start = (*buffer).pos;
        (*buffer).end = (*buffer).last;
        bits::buf::MEMORY.set(buffer, 1);
        bits::buf::LAST_BUF.set(buffer, u32::from(request.is_main()));
        bits::buf::LAST_IN_CHAIN.set(buffer, 1);
        let mut chain = ngx_chain_t { buf: buffer, next: ptr::null_mut() };
        Some(ngx_http_output_filter(r, &raw mut chain))
    }
}

/// Sets a header of the response, in the place of one of that name that an earlier location left.
fn set(request: Request<'_>, header: Header) -> Option<NonNull<ngx_table_elt_t>> {
    let (name, lowcase, value) = header;
    // SAFETY: the request is live, and the strings are static.
    unsafe {
        let headers = &raw mut (*request.as_ptr()).headers_out.headers;
        headers::leave_out(headers, name);
        headers::push(headers, Name::fixed(name, lowcase), string_over(value))
    }
}

/// Tells NGINX of our `Cache-Control`, which `expires` replaces.
fn keep_cache_control(request: Request<'_>, header: NonNull<ngx_table_elt_t>) -> Option<()> {
    // SAFETY: the request is live, and the header is in its list.
    unsafe {
        let known = &raw mut (*request.as_ptr()).headers_out.cache_control;
        #[cfg(nginx1_23_0)]
        {
            *known = header.as_ptr();
        }
        #[cfg(not(nginx1_23_0))]
        {
            let size = size_of::<*mut ngx_table_elt_t>();
            let array = nginx_sys::ngx_array_create(request.pool().as_ptr(), 1, size);
            known.write(*array.as_ref()?);
            crate::pool::push::<*mut ngx_table_elt_t>(known, header.as_ptr())?;
        }
    }
    Some(())
}
