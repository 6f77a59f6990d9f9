//! The phase between access and content: last touches before a location answers.
//!
//! Requests that got past the access phase without a verdict lose what only a verdict may carry.
//! `satisfy any` lets a request pass when another method allows it, and NGINX runs no access phase at
//! all for subrequests (SSI, mirror, auth_request). In a location that is on, neither takes bearer
//! credentials or an asserted header upstream. This runs before try_files and mirror, so that what they
//! start from is clean.

use nginx_sys::{ngx_http_request_t, ngx_int_t};

use crate::code::DECLINED;
use crate::context::{Context, Outcome, Stage};
use crate::guard::guard;
use crate::question;
use crate::request::Request;
use crate::upstream;

const FAULT: ngx_int_t = nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The handler of the precontent phase.
pub(crate) unsafe extern "C" fn handler(request: *mut ngx_http_request_t) -> ngx_int_t {
    guard(FAULT, || {
        // SAFETY: NGINX runs phases for live requests.
        let request = unsafe { Request::from_ptr(request) };
        if is_question(request) {
            question::watch_content(request);
            return DECLINED;
        }
        let location = request.location();
        if !location.is_on() || has_verdict(request.main()) {
            return DECLINED;
        }
        if request.is_main() && Context::of(request).or_else(|| Context::create(request)).is_none()
        {
            // The context keeps the credentials for a location that a redirect may lead to.
            return FAULT;
        }
        match upstream::strip(request, location) {
            Some(()) => DECLINED,
            None => FAULT,
        }
    })
}

/// Whether this is the module's own subrequest, whose credentials are ours. It alone of all subrequests
/// has this module's slot filled.
fn is_question(request: Request<'_>) -> bool {
    !request.is_main() && !request.slot().is_null()
}

/// Whether the JWT is in the token's place.
fn has_verdict(main: Request<'_>) -> bool {
    Context::of(main).is_some_and(|context| {
        // SAFETY: the context lives in the pool of the main request, and nobody changes it meanwhile.
        let context = unsafe { context.as_ref() };
        context.stage == Stage::Applied
            && context.reason.is_none()
            && matches!(context.outcome, Some(Outcome::Active { .. }))
    })
}
