//! A request that does not pass: its status, its headers and its line in the log.

use core::fmt;

use nginx_sys::{ngx_int_t, ngx_str_t};
use phantom_token_core::binding::BindingError;
use phantom_token_core::key;
use phantom_token_core::reason::Reason;

use crate::code::ERROR;
use crate::conf::LocationConf;
use crate::conf::choice::binding;
use crate::context::Context;
use crate::headers::{self, Name};
use crate::log::{Shown, log};
use crate::pool::{bytes_of, string_over};
use crate::request::Request;
use crate::upstream;

/// What a client is told to wait when too much goes on here, in seconds.
const OVERLOAD_RETRY_AFTER: &[u8] = b"1";

/// The fingerprint of a token, for log lines.
pub(crate) struct Fingerprint<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        write!(f, "{}", Shown(&key::fingerprint(self.0)))
    }
}

/// What else a log line has to say.
struct Detail(Option<BindingError>);

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |error| write!(f, ": {error}"))
    }
}

/// Prepares the response of a refused request, and gives the status that NGINX shall make it with:
/// `error_page`, `satisfy`, `auth_delay` and `HEAD` keep their meaning.
pub(crate) fn refuse(
    request: Request<'_>,
    context: &Context,
    reason: Reason,
    retry_after: ngx_str_t,
) -> ngx_int_t {
    let location = request.location();
    context.reason.set(Some(reason));
    // A later refusal of the request, in another location, is about something else.
    let binding_error = context.binding_error.take().filter(|&error| match reason {
        Reason::Binding => true,
        Reason::Overload => error == BindingError::NoRoom,
        _ => false,
    });
    // SAFETY: the token is in the request's memory.
    let token = unsafe { bytes_of(&context.token.get()) };
    if !context.trouble_logged.take() {
        log!(
            NGX_LOG_INFO,
            request.log(),
            "phantom_token: {}, request refused with {}, location \"{}\", fingerprint {}{}",
            reason.slug(),
            reason.status(),
            Shown(request.location_name()),
            Fingerprint(token),
            Detail(binding_error)
        );
    }

    if upstream::strip(request, location, context.forwarded_by()).is_none() {
        return ERROR;
    }
    if reason.is_clients() {
        let [value, second] = challenges(context, location, reason, binding_error);
        if challenge(request, context, value, second).is_none() {
            return ERROR;
        }
    }
    let retry_after =
        if reason == Reason::Overload { string_over(OVERLOAD_RETRY_AFTER) } else { retry_after };
    if retry_after.len != 0 {
        let name = Name::fixed(b"Retry-After", b"retry-after");
        // SAFETY: the request is live, and the value in its memory or static.
        let header = unsafe {
            headers::push(&raw mut (*request.as_ptr()).headers_out.headers, name, retry_after)
        };
        if header.is_none() {
            return ERROR;
        }
    }
    reason.status() as ngx_int_t
}

/// The challenges of the scheme that the client has used, and of the other one, where it would help; empty: none.
/// Whoever has nothing to do with DPoP sees nothing of it.
fn challenges(
    context: &Context,
    location: &LocationConf,
    reason: Reason,
    binding_error: Option<BindingError>,
) -> [ngx_str_t; 2] {
    if context.is_dpop.get() && binding_error != Some(BindingError::NoKey) {
        let error = binding_error.and_then(BindingError::challenge_error);
        let error = error.or_else(|| reason.challenge_error());
        return [location.dpop_challenge(error), ngx_str_t::empty()];
    }
    let is_wanted = location.binding == binding::REQUIRED
        || context.is_dpop.get()
        || binding_error == Some(BindingError::Scheme);
    let second = if is_wanted { location.dpop_challenge(None) } else { ngx_str_t::empty() };
    [location.challenge(reason), second]
}

/// Takes back what an earlier refusal of the same request put into its response: `error_page` has led it
/// to a location that decides anew.
pub(crate) fn take_back(request: Request<'_>, context: &Context) {
    if context.reason.take().is_none() {
        return;
    }
    // SAFETY: the request is live. NGINX leaves headers out whose hash is 0.
    unsafe {
        let headers_out = &raw mut (*request.as_ptr()).headers_out;
        if !context.challenge.get().is_null()
            && (*headers_out).www_authenticate == context.challenge.get()
        {
            (*context.challenge.get()).hash = 0;
            if let Some(second) = context.dpop_challenge.get().as_mut() {
                second.hash = 0;
            }
        }
        headers::leave_out(&raw mut (*headers_out).headers, b"Retry-After");
    }
}

/// Sets `WWW-Authenticate`, in two lines where there are two values. NGINX takes it back by this pointer, where
/// `satisfy any` lets another method pass: before 1.23.0 one line only, which has both then.
fn challenge(
    request: Request<'_>,
    context: &Context,
    value: ngx_str_t,
    second: ngx_str_t,
) -> Option<()> {
    let name = Name::fixed(b"WWW-Authenticate", b"www-authenticate");
    #[cfg(not(nginx1_23_0))]
    let value = both(request, value, second)?;
    // SAFETY: the request is live; the elements made by an earlier refusal are still in its list.
    unsafe {
        let headers_out = &raw mut (*request.as_ptr()).headers_out;
        if !context.challenge.get().is_null()
            && (*headers_out).www_authenticate == context.challenge.get()
        {
            (*context.challenge.get()).value = value;
            (*context.challenge.get()).hash = name.hash;
        } else {
            let header = headers::push(&raw mut (*headers_out).headers, name, value)?.as_ptr();
            #[cfg(nginx1_23_0)]
            {
                // auth_basic's, where both refuse.
                (*header).next = (*headers_out).www_authenticate;
            }
            #[cfg(not(nginx1_23_0))]
            if let Some(earlier) = (*headers_out).www_authenticate.as_mut() {
                // NGINX would not take it back together with ours.
                earlier.hash = 0;
            }
            (*headers_out).www_authenticate = header;
            context.challenge.set(header);
            context.dpop_challenge.set(core::ptr::null_mut());
        }
        #[cfg(nginx1_23_0)]
        if let Some(known) = context.dpop_challenge.get().as_mut() {
            known.value = second;
            known.hash = if second.len == 0 { 0 } else { name.hash };
        } else if second.len != 0 {
            let first = context.challenge.get();
            let header = headers::push(&raw mut (*headers_out).headers, name, second)?.as_ptr();
            (*header).next = (*first).next;
            (*first).next = header;
            context.dpop_challenge.set(header);
        }
    }
    Some(())
}

/// Two challenges in one value (RFC 9110 section 11.6.1); `None`: no memory.
#[cfg(not(nginx1_23_0))]
fn both(request: Request<'_>, first: ngx_str_t, second: ngx_str_t) -> Option<ngx_str_t> {
    if second.len == 0 {
        return Some(first);
    }
    // SAFETY: the challenges are the cycle's.
    let (first, second) = unsafe { (bytes_of(&first), bytes_of(&second)) };
    let room = request.pool().bytes(first.len() + 2 + second.len())?;
    let bytes = first.iter().chain(b", ").chain(second);
    room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Some(string_over(room))
}
