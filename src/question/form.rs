//! The body of the question: what is asked about the token.

use nginx_sys::ngx_http_complex_value_t;
use phantom_token_core::form::{self, FormWriter};

use crate::conf::LocationConf;
use crate::pool::{Pool, bytes_of};
use crate::request::Request;

/// The form with the token in it. `None`: no memory, or a variable could not be evaluated.
pub(super) fn body<'p>(
    request: Request<'_>,
    location: &LocationConf,
    token: &[u8],
    pool: Pool<'p>,
) -> Option<&'p mut [u8]> {
    let mut len = 0;
    fields(request, location, token, |name, value| {
        len += form::pair_len(name, value);
        Some(())
    })?;
    let room = pool.bytes(len)?;
    let mut writer = FormWriter::new(room);
    fields(request, location, token, |name, value| writer.pair(name, value).ok())?;
    let len = writer.written().len();
    room.get_mut(..len)
}

/// Hands each field to `each`, in the order of the form.
fn fields(
    request: Request<'_>,
    location: &LocationConf,
    token: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Option<()> {
    let evaluate = |value: &ngx_http_complex_value_t| {
        // SAFETY: compiled for this configuration, and not changed by NGINX.
        unsafe { request.evaluate(core::ptr::from_ref(value).cast_mut()) }
    };
    // SAFETY: the names are the cycle's.
    let names =
        || location.parameters().iter().map(|parameter| unsafe { bytes_of(&parameter.name) });
    match location.exchange() {
        None => each(b"token", token)?,
        Some(exchange) => {
            each(b"grant_type", b"urn:ietf:params:oauth:grant-type:token-exchange")?;
            each(b"subject_token", token)?;
            // RFC 8693 section 3. An operator's own value takes the place of either.
            for (name, value) in [
                (&b"subject_token_type"[..], &b"urn:ietf:params:oauth:token-type:access_token"[..]),
                (b"requested_token_type", b"urn:ietf:params:oauth:token-type:jwt"),
            ] {
                if !names().any(|own| own == name) {
                    each(name, value)?;
                }
            }
            for (name, value) in exchange.fields() {
                let value = evaluate(value)?;
                if !value.is_empty() {
                    each(name, value)?;
                }
            }
        }
    }
    for parameter in location.parameters() {
        // SAFETY: the name is the cycle's.
        each(unsafe { bytes_of(&parameter.name) }, evaluate(&parameter.value)?)?;
    }
    Some(())
}
