//! The configuration that NGINX's upstream module goes by for our own requests in a location.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_cycle, ngx_http_request_t, ngx_http_upstream_conf_t, ngx_http_upstream_t, ngx_int_t,
};

use super::bits;
use crate::guard::guard;
use crate::pool::Pool;

/// X-Accel-Redirect leads nowhere.
const IGNORE_REDIRECT: usize = nginx_sys::NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT as usize;

/// `finalize_request` of an upstream.
type Finalize = Option<unsafe extern "C" fn(*mut ngx_http_request_t, ngx_int_t)>;

/// What a location's upstream configuration becomes for our own requests: a worker makes it for the first of
/// them and keeps it for the others.
pub(crate) struct OwnUpstreamConf(Cell<*mut Own>);

/// A copy of a location's upstream configuration in which the server's X-Accel-Redirect and X-Accel-Buffering
/// do not count, with what it takes to put the original back.
#[repr(C)]
struct Own {
    /// First: an upstream's `conf` points here.
    conf: ngx_http_upstream_conf_t,
    original: *mut ngx_http_upstream_conf_t,
    finalize: Finalize,
}

const _: () = assert!(offset_of!(Own, conf) == 0);

impl OwnUpstreamConf {
    /// Nothing is copied yet.
    pub(crate) const fn new() -> Self {
        Self(Cell::new(ptr::null_mut()))
    }

    /// Has an upstream go by the copy until it is finalised, when a connection is kept or closed: NGINX 1.29.7 and
    /// later find a kept connection by the address of the configuration, as it is when the content handler chooses a
    /// peer. Where that comes later (a second try, the lock of `proxy_cache`), a new connection is made. Without memory
    /// nothing is changed; says whether it was.
    ///
    /// # Safety
    /// `upstream` is that of a live request, which its content handler has just made.
    pub(crate) unsafe fn use_for(
        &self,
        upstream: *mut ngx_http_upstream_t,
        pool: Pool<'_>,
    ) -> bool {
        // SAFETY: the caller says so. What was copied before lives as long as the cycle, and so does the original.
        unsafe {
            let Some(original) = NonNull::new((*upstream).conf) else { return false };
            let finalize = (*upstream).finalize_request;
            let own = match self.0.get().as_mut() {
                Some(own) if is_of(own, original, finalize) => Some(NonNull::from(own)),
                // Of another handler in the same location: for this request alone.
                Some(_) => copy(original, finalize, pool),
                None => {
                    let own = copy(original, finalize, Pool::from_ptr((*ngx_cycle).pool));
                    self.0.set(own.map_or(ptr::null_mut(), NonNull::as_ptr));
                    own
                }
            };
            let Some(own) = own else { return false };
            (*upstream).conf = own.as_ptr().cast();
            (*upstream).finalize_request = Some(finalized);
            true
        }
    }

    /// Runs a content handler that may answer from NGINX's cache before there is an upstream whose configuration
    /// could be replaced: for as long, the location itself follows no X-Accel-Redirect, if it is known.
    ///
    /// # Safety
    /// The location of `self` is live.
    pub(crate) unsafe fn without_redirects<T>(&self, handler: impl FnOnce() -> T) -> T {
        // SAFETY: the original lives as long as the location. Nobody else reads it meanwhile: a worker has one thread
        // that handles requests.
        unsafe {
            let Some(own) = self.0.get().as_ref() else { return handler() };
            let ignored = &raw mut (*own.original).ignore_headers;
            let before = *ignored;
            *ignored |= IGNORE_REDIRECT;
            let result = handler();
            *ignored = before;
            result
        }
    }
}

fn is_of(own: &Own, original: NonNull<ngx_http_upstream_conf_t>, finalize: Finalize) -> bool {
    ptr::eq(own.original, original.as_ptr())
        && match (own.finalize, finalize) {
            (Some(one), Some(other)) => ptr::fn_addr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
}

/// # Safety
/// `original` is the live configuration of a location, whose content handler has run: that of `proxy_http_version 2`
/// still writes to it.
unsafe fn copy(
    original: NonNull<ngx_http_upstream_conf_t>,
    finalize: Finalize,
    pool: Pool<'_>,
) -> Option<NonNull<Own>> {
    // SAFETY: the caller says so; the structure is plain data, and all zeroes are a valid value of each field.
    unsafe {
        let own = pool.zeroed::<Own>()?;
        let conf = &raw mut (*own.as_ptr()).conf;
        conf.copy_from_nonoverlapping(original.as_ptr(), 1);
        (*conf).ignore_headers |= IGNORE_REDIRECT;
        bits::upstream_conf::CHANGE_BUFFERING.set(conf, 0);
        (*own.as_ptr()).original = original.as_ptr();
        (*own.as_ptr()).finalize = finalize;
        Some(own)
    }
}

/// In the place of an upstream's `finalize_request`: NGINX calls it before it keeps or closes the connection.
unsafe extern "C" fn finalized(request: *mut ngx_http_request_t, rc: ngx_int_t) {
    guard((), || {
        // SAFETY: NGINX calls it for the upstream that `use_for` has changed, and once: what is put back here calls
        // nothing of this module.
        unsafe {
            let upstream = (*request).upstream;
            let own = (*upstream).conf.cast::<Own>();
            (*upstream).conf = (*own).original;
            (*upstream).finalize_request = (*own).finalize;
            if let Some(finalize) = (*own).finalize {
                finalize(request, rc);
            }
        }
    });
}
