//! What goes upstream: the JWT in the token's place, or the verdict alone; never the token.

use core::ptr;

use nginx_sys::{ngx_list_part_t, ngx_str_t, ngx_table_elt_t};
use phantom_token_core::credentials::{self, Credentials};
use phantom_token_core::record::Document;

use crate::conf::choice::forward;
use crate::conf::{Carrier, LocationConf};
use crate::context::{Carried, Context};
use crate::headers::{self, Proof};
use crate::log::{Shown, log};
use crate::pool::{bytes_of, string_over};
use crate::request::Request;

/// Puts what the verdict carries where the location wants it, and takes away all that carried the token.
/// `None`: no memory, and the request must not go on.
pub(crate) fn forward(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    carried: Carried,
    document: Document,
) -> Option<()> {
    if let Some(earlier) = context.forwarded_by() {
        take_back(request, earlier, location)?;
    }
    remove_carrier(request, location)?;
    if context.several.get() {
        take_out(request, |name| name.eq_ignore_ascii_case(b"authorization"))?;
    }
    if document.is_access_token() && location.forward == forward::JWT {
        put_jwt(request, location, carried)?;
    } else {
        // SAFETY: the name is the cycle's.
        let asserted = unsafe { bytes_of(&location.header) };
        take_out(request, |name| {
            name.eq_ignore_ascii_case(b"authorization") || headers::same_name(name, asserted)
        })?;
    }
    if !matches!(context.proof.get(), Proof::None) {
        // It is for this request alone, and says nothing to whoever gets the JWT.
        take_out(request, headers::is_dpop)?;
    }
    if location.envelope_header.len != 0 {
        // SAFETY: the name is the cycle's.
        let asserted = unsafe { bytes_of(&location.envelope_header) };
        take_out(request, |name| headers::same_name(name, asserted))?;
        if document == Document::Envelope {
            // SAFETY: the request is live, and its list of headers is its own.
            unsafe {
                let list = &raw mut (*request.as_ptr()).headers_in.headers;
                headers::push(list, location.envelope_name, carried.bare())?;
            }
        }
    }
    set_headers(request, location)?;
    context.forwarded_by.set(location);
    forget_variables(request, location);
    Some(())
}

/// Puts the headers that the gateway asserts in the place of those that the client has sent under their names.
#[inline]
fn set_headers(request: Request<'_>, location: &LocationConf) -> Option<()> {
    if location.set_headers.is_null() {
        return Some(());
    }
    put_headers(request, location)
}

#[cold]
fn put_headers(request: Request<'_>, location: &LocationConf) -> Option<()> {
    strip_asserted(request, location, None)?;
    for header in location.set_headers() {
        // SAFETY: compiled for this configuration; the header's name is the cycle's.
        let (value, name) = unsafe {
            let value = request.evaluate((&raw const header.value).cast_mut())?;
            (value, bytes_of(&header.name.text))
        };
        if value.iter().any(|byte| byte.is_ascii_control()) {
            log!(
                NGX_LOG_ERR,
                request.log(),
                "phantom_token: the value of the header \"{}\" has a control character: it does not go upstream, \
                 location \"{}\"",
                Shown(name),
                Shown(request.location_name())
            );
        } else if !value.is_empty() {
            // SAFETY: the request is live, and its list of headers is its own. The value is in its memory.
            unsafe {
                let list = &raw mut (*request.as_ptr()).headers_in.headers;
                headers::push(list, header.name, string_over(value))?;
            }
        }
        request.forget_variable(header.variable);
    }
    Some(())
}

/// Takes out what a client sent under the names of the location's headers, but where `ours` has set them: a location
/// whose verdict the request brings along. `None`: no memory, and the request must not go on.
pub(crate) fn strip_asserted(
    request: Request<'_>,
    location: &LocationConf,
    ours: Option<&LocationConf>,
) -> Option<()> {
    let is_ours = |name: &[u8]| ours.is_some_and(|ours| ours.sets(name));
    if location.set_headers.is_null() {
        return Some(());
    }
    take_out(request, |name| location.sets(name) && !is_ours(name))?;
    for header in location.set_headers() {
        request.forget_variable(header.variable);
    }
    Some(())
}

fn put_jwt(request: Request<'_>, location: &LocationConf, jwt: Carried) -> Option<()> {
    if location.forwards_authorization {
        match request.authorization() {
            // SAFETY: the element is in the request's list of headers, the value in its pool.
            Some(header) => unsafe { (*header.as_ptr()).value = jwt.with_scheme() },
            // SAFETY: the request is live, and its list of headers is its own.
            None => unsafe {
                let headers_in = &raw mut (*request.as_ptr()).headers_in;
                let list = &raw mut (*headers_in).headers;
                let header = headers::push(list, location.header_name, jwt.with_scheme())?;
                (*headers_in).authorization = header.as_ptr();
            },
        }
    } else {
        // SAFETY: the name is the cycle's.
        let asserted = unsafe { bytes_of(&location.header) };
        take_out(request, |name| {
            headers::same_name(name, asserted) || name.eq_ignore_ascii_case(b"authorization")
        })?;
        // SAFETY: as above.
        unsafe {
            let list = &raw mut (*request.as_ptr()).headers_in.headers;
            headers::push(list, location.header_name, jwt.bare())?;
        }
    }
    Some(())
}

/// Takes out what a location set that an internal redirect came from, where this one uses other headers.
fn take_back(request: Request<'_>, earlier: &LocationConf, location: &LocationConf) -> Option<()> {
    for (earlier, own) in
        [(earlier.header, location.header), (earlier.envelope_header, location.envelope_header)]
    {
        // SAFETY: the names are the cycle's.
        let (earlier, own) = unsafe { (bytes_of(&earlier), bytes_of(&own)) };
        if !earlier.is_empty() && !headers::same_name(earlier, own) {
            take_out(request, |name| headers::same_name(name, earlier))?;
        }
    }
    strip_asserted(request, earlier, None)
}

/// Takes away all that carried the token or asserts what only the gateway may: for a request that has no
/// verdict. Credentials of another scheme stay. `earlier` is a location that has set headers of its own.
/// `None`: no memory, and the request must not go on.
pub(crate) fn strip(
    request: Request<'_>,
    location: &LocationConf,
    earlier: Option<&LocationConf>,
) -> Option<()> {
    // SAFETY: the request is live, and nobody changes its headers meanwhile.
    let (token_in_authorization, proof) = unsafe {
        let list = &raw const (*request.as_ptr()).headers_in.headers;
        let has_token = headers::iterate(list).any(|(name, value)| {
            name.eq_ignore_ascii_case(b"authorization")
                && (!matches!(credentials::authorization(value), Credentials::None)
                    || !matches!(credentials::dpop(value), Credentials::None))
        });
        (has_token, headers::proof(list))
    };
    let earlier = earlier.unwrap_or(location);
    let asserted =
        [&location.header, &location.envelope_header, &earlier.header, &earlier.envelope_header]
            // SAFETY: the names are the cycle's.
            .map(|name| unsafe { bytes_of(name) })
            // Who may be in Authorization is looked at apart.
            .map(|name| if name.eq_ignore_ascii_case(b"authorization") { b"" } else { name });
    let unwanted = |name: &[u8]| {
        (token_in_authorization && name.eq_ignore_ascii_case(b"authorization"))
            || headers::is_dpop(name)
            || asserted.iter().any(|asserted| headers::same_name(name, asserted))
    };
    if token_in_authorization
        || !matches!(proof, Proof::None)
        || asserted.iter().any(|name| !name.is_empty())
    {
        take_out(request, unwanted)?;
    }
    strip_asserted(request, location, None)?;
    strip_asserted(request, earlier, None)?;
    remove_carrier(request, location)?;
    if !request.is_main() {
        // What it finds gone is there for its parent.
        request.own_variables()?;
    }
    forget_variables(request, location);
    Some(())
}

/// Removes the header or cookie that `token=` names.
#[inline]
fn remove_carrier(request: Request<'_>, location: &LocationConf) -> Option<()> {
    // SAFETY: the source, null or not, is the cycle's.
    match unsafe { location.token_source.as_ref() } {
        Some(source) => remove_from(request, source.carrier),
        None => Some(()),
    }
}

fn remove_from(request: Request<'_>, carrier: Carrier) -> Option<()> {
    match carrier {
        Carrier::Header(name) => {
            // SAFETY: the name is the cycle's.
            let carrier = unsafe { bytes_of(&name) };
            take_out(request, |name| headers::same_name(name, carrier))
        }
        Carrier::Cookie(name) => {
            // SAFETY: the name is the cycle's.
            remove_cookie(request, unsafe { bytes_of(&name) })
        }
        Carrier::Other => Some(()),
    }
}

/// Takes headers out of the request, leaving a subrequest's parent what it has.
fn take_out(request: Request<'_>, unwanted: impl Fn(&[u8]) -> bool) -> Option<()> {
    // SAFETY: the request is live. The names that callers pass are `Authorization` and such as the
    // configuration accepts, which are none of those that NGINX keeps pointers to.
    unsafe {
        if request.is_main() {
            headers::remove(request.as_ptr(), request.pool(), unwanted)
        } else {
            headers::copy_without(request.as_ptr(), request.pool(), unwanted)
        }
    }
}

/// Rewrites the Cookie headers without one cookie.
fn remove_cookie(request: Request<'_>, cookie: &[u8]) -> Option<()> {
    if !request.is_main() {
        // Its own list first: the values below are the parent's otherwise.
        take_out(request, |_| false)?;
        // Nor do `$http_cookie` and its like read the parent's.
        forget_cookies(request);
    }
    // SAFETY: the list of headers is the request's own; a value is replaced by another one of its pool.
    unsafe {
        let mut part: *const ngx_list_part_t =
            &raw const (*request.as_ptr()).headers_in.headers.part;
        while !part.is_null() {
            for index in 0..(*part).nelts {
                let header = (*part).elts.cast::<ngx_table_elt_t>().add(index);
                if !bytes_of(&(*header).key).eq_ignore_ascii_case(b"cookie") {
                    continue;
                }
                let value = bytes_of(&(*header).value);
                let room = request.pool().bytes(value.len() + 1)?;
                if let Some(len) = credentials::without_cookie(value, cookie, room) {
                    *room.get_mut(len)? = 0;
                    (*header).value = ngx_str_t { len, data: room.as_mut_ptr() };
                }
            }
            part = (*part).next;
        }
    }
    take_out_empty_cookies(request)
}

/// Has NGINX find no cookies.
fn forget_cookies(request: Request<'_>) {
    // SAFETY: the request is live, and the field its own.
    unsafe {
        let headers_in = &raw mut (*request.as_ptr()).headers_in;
        #[cfg(nginx1_23_0)]
        {
            (*headers_in).cookie = ptr::null_mut();
        }
        #[cfg(not(nginx1_23_0))]
        {
            (*headers_in).cookies.nelts = 0;
        }
    }
}

/// A Cookie header of which nothing is left does not go upstream.
fn take_out_empty_cookies(request: Request<'_>) -> Option<()> {
    // SAFETY: as of `take_out`. NGINX's pointers to Cookie headers go before these do.
    unsafe {
        let headers_in = ptr::from_ref(&(*request.as_ptr()).headers_in);
        let mut part: *const ngx_list_part_t = &raw const (*headers_in).headers.part;
        let (mut empty, mut other) = (false, false);
        while !part.is_null() {
            for index in 0..(*part).nelts {
                let header = (*part).elts.cast::<ngx_table_elt_t>().add(index);
                if bytes_of(&(*header).key).eq_ignore_ascii_case(b"cookie") {
                    empty |= (*header).value.len == 0;
                    other |= (*header).value.len != 0;
                }
            }
            part = (*part).next;
        }
        if empty && !other {
            forget_cookies(request);
            return take_out(request, |name| name.eq_ignore_ascii_case(b"cookie"));
        }
    }
    Some(())
}

/// NGINX may have evaluated `$http_authorization` (in a `map`, an `if`) before the header was changed.
fn forget_variables(request: Request<'_>, location: &LocationConf) {
    for index in location.variables {
        request.forget_variable(index);
    }
}
