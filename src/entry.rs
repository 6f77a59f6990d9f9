//! Which requests have been in a location that is on, for those that leave it before the access phase is over.
//!
//! `limit_req` or `deny` may end a request before the module has seen it, and then `error_page` or `post_action` takes
//! it to a location that is off, with all that it came with. A handler in the rewrite phase, behind NGINX's own, notes
//! where it was. It is there only where a location that is on has one of the two.

use core::ffi::c_void;
use core::ptr;

use nginx_sys::{ngx_http_request_t, ngx_int_t, ngx_pool_cleanup_t};

use crate::code::DECLINED;
use crate::conf::LocationConf;
use crate::context::Context;
use crate::guard::guard;
use crate::request::Request;

const FAULT: ngx_int_t = nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The handler of the rewrite phase.
pub(crate) unsafe extern "C" fn handler(request: *mut ngx_http_request_t) -> ngx_int_t {
    guard(FAULT, || {
        // SAFETY: NGINX runs phases for live requests.
        let request = unsafe { Request::from_ptr(request) };
        let location = request.location();
        // What `rewrite` sends elsewhere has not been here.
        if !location.is_on()
            || !request.is_main()
            || request.is_rewritten()
            || Context::of(request).is_some()
        {
            return DECLINED;
        }
        match note(request, location) {
            Some(()) => DECLINED,
            None => FAULT,
        }
    })
}

fn note(request: Request<'_>, location: &LocationConf) -> Option<()> {
    let pool = request.pool();
    let cleanup = pool.place(ngx_pool_cleanup_t {
        handler: Some(marker),
        data: ptr::from_ref(location).cast_mut().cast(),
        next: ptr::null_mut(),
    })?;
    // SAFETY: the pool is live, and what was placed there is ours.
    unsafe {
        (*cleanup.as_ptr()).next = (*pool.as_ptr()).cleanup;
        (*pool.as_ptr()).cleanup = cleanup.as_ptr();
    }
    Some(())
}

/// The location that is on and that a main request was in last, if nothing came of it there.
pub(crate) fn location_of<'r>(request: Request<'r>) -> Option<&'r LocationConf> {
    if !request.main_conf().can_be_led_away.get() {
        return None;
    }
    let location = request.pool().marked(marker)?.cast::<LocationConf>();
    // SAFETY: the location is the cycle's, which lives as long as the request.
    Some(unsafe { location.as_ref() })
}

/// Nothing to clean up: the address of this function marks a cleanup whose data is a [`LocationConf`].
// One address, and no other function's: neither copied nor merged.
#[inline(never)]
unsafe extern "C" fn marker(data: *mut c_void) {
    core::hint::black_box(data);
}
