//! The phase between access and content: last touches before a location answers.
//!
//! Requests that got past the access phase without a verdict lose what only a verdict may carry.
//! `satisfy any` lets a request pass when another method allows it, and NGINX runs no access phase at
//! all for subrequests (SSI, mirror, auth_request). In a location that is on, neither takes bearer
//! credentials or an asserted header upstream. This runs before try_files and mirror, so that what they
//! start from is clean.

use core::ptr::{self, NonNull};

use nginx_sys::{ngx_http_request_t, ngx_int_t};

use crate::binding;
use crate::code::DECLINED;
use crate::conf::LocationConf;
use crate::context::{Context, Outcome, Stage};
use crate::entry;
use crate::guard::guard;
use crate::policy;
use crate::question;
use crate::request::Request;
use crate::upstream;

const FAULT: ngx_int_t = nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The handler of the precontent phase.
pub(crate) unsafe extern "C" fn handler(request: *mut ngx_http_request_t) -> ngx_int_t {
    guard(FAULT, || {
        // SAFETY: NGINX runs phases for live requests.
        let request = unsafe { Request::from_ptr(request) };
        if request.is_question() {
            question::watch_content(request);
            return DECLINED;
        }
        let location = request.location();
        let known = Context::of(request.main());
        if !location.is_on() {
            return leave(request, location, known);
        }
        let holding = known
            .as_ref()
            // SAFETY: the context lives in the pool of the main request.
            .map(|context| unsafe { context.as_ref() })
            .filter(|context| holds(request, context, location));
        if let Some(context) = holding {
            // There is none for this location's own headers where another one has applied it.
            return match context.forwarded_by() {
                Some(earlier) if ptr::eq(earlier, location) => DECLINED,
                earlier => verdict(upstream::strip_asserted(request, location, earlier)),
            };
        }
        if !request.is_main() {
            // SAFETY: as above.
            let known = known.as_ref().map(|context| unsafe { context.as_ref() });
            let earlier = known.and_then(Context::forwarded_by);
            return verdict(upstream::strip(request, location, earlier));
        }
        // The context keeps the credentials for a location that a redirect may lead to.
        let Some(context) = known.or_else(|| Context::create(request)) else { return FAULT };
        // SAFETY: as above.
        let context = unsafe { context.as_ref() };
        context.location.set(ptr::null());
        let earlier = context.forwarded_by();
        context.forwarded_by.set(ptr::null());
        verdict(upstream::strip(request, location, earlier))
    })
}

/// Whether the verdict of the main request is one for this location: there, what it has been checked by was
/// this location's binding and policy, and elsewhere it is checked now.
fn holds(request: Request<'_>, context: &Context, location: &LocationConf) -> bool {
    context.has_verdict_for(location)
        && ((request.is_main() && ptr::eq(context.location.get(), location))
            || match context.outcome() {
                Some(Outcome::Active { carried, record }) => {
                    binding::objection(request, context, location, &record, carried).is_none()
                        && policy::objection(request, context, location, carried).is_none()
                }
                _ => false,
            })
}

fn verdict(done: Option<()>) -> ngx_int_t {
    if done.is_some() { DECLINED } else { FAULT }
}

/// A location that is off has nothing to remove but what clients send under the names of its own headers, and from a
/// request that NGINX took out of a location that is on before it was decided there (post_action, error_page), and from
/// subrequests of such a one.
fn leave(
    request: Request<'_>,
    location: &LocationConf,
    known: Option<NonNull<Context>>,
) -> ngx_int_t {
    if !location.set_headers.is_null() {
        // SAFETY: the context lives in the pool of the main request.
        let earlier = known.as_ref().and_then(|known| unsafe { known.as_ref() }.forwarded_by());
        if upstream::strip_asserted(request, location, earlier).is_none() {
            return FAULT;
        }
    }
    let main = request.main();
    let from = match known {
        // SAFETY: the context lives in the pool of the main request.
        Some(context) => unsafe {
            let context = context.as_ref();
            if context.stage.get() == Stage::Applied {
                return DECLINED;
            }
            if request.is_main() {
                question::stop_waiting(context);
            }
            // The location where the request waited is the cycle's; null: it has been stripped before.
            context.location.get().as_ref()
        },
        None if main.is_internal() || !request.is_main() => entry::location_of(main),
        None => None,
    };
    from.map_or(DECLINED, |location| verdict(upstream::strip(request, location, None)))
}
