//! Whether the client of a request has shown what its token is bound to: the same on a hit and on a miss.
//!
//! A certificate is looked at only for a token that is bound to one. That of a TLS connection never changes, so
//! that its thumbprint is kept with the connection, whatever requests and streams there are on it.

use core::ffi::c_void;

use nginx_sys::ngx_connection_t;
use phantom_token_core::binding::{BindingError, Certificate, check};
use phantom_token_core::certificate::thumbprint;
use phantom_token_core::facts::Facts;
use phantom_token_core::reason::Reason;
use phantom_token_core::record::Record;

use crate::conf::LocationConf;
use crate::conf::choice::binding;
use crate::context::{Carried, Context};
use crate::proof;
use crate::request::Request;

/// Why `location` refuses the request whose outcome is this; `None`: it does not.
// A call would take longer than what most requests need of it.
#[inline(always)]
pub(crate) fn objection(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    record: &Record,
    carried: Carried,
) -> Option<Reason> {
    match (record.bound, location.binding) {
        (false, binding::REQUIRED) => refused(context, BindingError::NotBound),
        (_, binding::OFF) => None,
        (false, _) if context.is_dpop.get() => refused(context, BindingError::NoKey),
        (false, _) => None,
        (true, _) => objection_of(request, context, location, carried),
    }
}

fn objection_of(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    carried: Carried,
) -> Option<Reason> {
    let facts = Facts::read(carried.facts());
    if context.is_dpop.get() && facts.key.is_none() && !facts.other_binding {
        return refused(context, BindingError::NoKey);
    }
    let certificate = || certificate(request, location);
    match check(&facts, certificate, |key| proof::check(request, context, location, key)) {
        None => Some(Reason::Internal),
        Some(Ok(())) => None,
        Some(Err(error)) => refused(context, error),
    }
}

fn refused(context: &Context, error: BindingError) -> Option<Reason> {
    context.binding_error.set(Some(error));
    Some(if error == BindingError::NoRoom { Reason::Overload } else { Reason::Binding })
}

/// The client's certificate; `None`: no memory.
fn certificate(request: Request<'_>, location: &LocationConf) -> Option<Certificate> {
    if location.client_certificate.is_null() {
        return of_connection(request);
    }
    // SAFETY: the value was compiled for this configuration.
    Some(match unsafe { request.evaluate(location.client_certificate) }? {
        b"" => Err(BindingError::NoCertificate),
        value => thumbprint(value).map_err(BindingError::from),
    })
}

/// That of the TLS connection. Whether it was verified, and whether one without a known issuer may be shown at all,
/// is up to `ssl_verify_client`: the handshake has proven that the client has its key.
#[cfg(ngx_feature = "http_ssl")]
fn of_connection(request: Request<'_>) -> Option<Certificate> {
    use core::ptr::NonNull;

    use nginx_sys::{ngx_pool_cleanup_add, ngx_ssl_get_raw_certificate, ngx_str_t};

    use crate::code::OK;
    use crate::pool::{Pool, bytes_of};

    let connection = request.connection();
    // SAFETY: the request's connection is live, and so is the one beneath it, with its pool. What is marked there
    // is what was written below. NGINX gives PEM in the memory of the request.
    unsafe {
        if (*connection).ssl.is_null() {
            return Some(Err(BindingError::NoCertificate));
        }
        let pool = Pool::from_ptr((*transport(connection)).pool);
        if let Some(known) = pool.marked(marker) {
            return Some(*known.cast::<Certificate>().as_ref());
        }
        let mut pem = ngx_str_t::empty();
        if ngx_ssl_get_raw_certificate(connection, request.pool().as_ptr(), &raw mut pem) != OK {
            return None;
        }
        let shown = match bytes_of(&pem) {
            b"" => Err(BindingError::NoCertificate),
            pem => thumbprint(pem).map_err(BindingError::from),
        };
        const { assert!(align_of::<Certificate>() <= nginx_sys::NGX_ALIGNMENT) };
        let cleanup = ngx_pool_cleanup_add(pool.as_ptr(), size_of::<Certificate>());
        let cleanup = NonNull::new(cleanup)?.as_ptr();
        (*cleanup).data.cast::<Certificate>().write(shown);
        (*cleanup).handler = Some(marker);
        Some(shown)
    }
}

/// This NGINX has no TLS.
#[cfg(not(ngx_feature = "http_ssl"))]
fn of_connection(_request: Request<'_>) -> Option<Certificate> {
    Some(Err(BindingError::NoCertificate))
}

/// The connection that has the TLS session: of HTTP/3, a stream has a pool of its own, and of HTTP/2 it has the
/// connection's.
///
/// # Safety
/// `connection` is that of a live request.
#[cfg(ngx_feature = "http_ssl")]
unsafe fn transport(connection: *mut ngx_connection_t) -> *mut ngx_connection_t {
    #[cfg(ngx_feature = "quic")]
    // SAFETY: the caller says so. NGINX ends all streams before the connection that they are part of.
    if let Some(stream) = unsafe { (*connection).quic.as_ref() } {
        return stream.parent;
    }
    connection
}

/// Nothing to clean up: the address of this function marks a cleanup whose data is a [`Certificate`]. It may be that
/// of the function that marks contexts, too; those lie in the pools of requests.
// As that one: with one address.
#[cfg(ngx_feature = "http_ssl")]
#[inline(never)]
unsafe extern "C" fn marker(_data: *mut c_void) {}
