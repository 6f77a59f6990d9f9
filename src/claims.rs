//! The claims of a request's verdict: read from its document once, when somebody asks for one.

use core::ptr::NonNull;

use nginx_sys::{ngx_array_create, ngx_array_t, ngx_str_t};
use phantom_token_core::claims::{self, Claim, ClaimError};
use phantom_token_core::record::Document;

use crate::context::{Carried, Context, Outcome};
use crate::log::{Shown, log};
use crate::pool::{bytes_of, push};
use crate::request::Request;

/// The text of one claim; `None` where there is no such claim, or none that a header can carry.
pub(crate) fn text(request: Request<'_>, context: &Context, name: &[u8]) -> Option<ngx_str_t> {
    let Some(Outcome::Active { carried, record }) = context.outcome() else { return None };
    match find(request, context, carried, record.document, name) {
        Ok(text) => text,
        Err(error) => {
            // Once for a request, however often it asks: the name lies where the variable's does.
            let bit = 1 << (name.as_ptr().addr() / 16 % 64);
            let logged = context.faulty_claims.get();
            if logged & bit != 0 {
                return None;
            }
            context.faulty_claims.set(logged | bit);
            log!(
                NGX_LOG_ERR,
                request.log(),
                "phantom_token: the claim \"{}\" {error}: its variable is empty",
                Shown(name)
            );
            None
        }
    }
}

fn find(
    request: Request<'_>,
    context: &Context,
    carried: Carried,
    document: Document,
    name: &[u8],
) -> Result<Option<ngx_str_t>, ClaimError> {
    let pool = request.pool();
    let known = match NonNull::new(context.claims.get()) {
        Some(known) => known,
        None => {
            let known = read(request, carried, document)?;
            context.claims.set(known.as_ptr());
            known
        }
    };
    // SAFETY: `read` made the array, for claims whose text is in the memory of the request.
    let known = unsafe { known.as_ref().as_slice::<Claim<'_>>() };
    let Some(claim) = claims::find(known, name)? else { return Ok(None) };
    let room = pool.bytes(claim.room()).ok_or(ClaimError::NoRoom)?;
    let len = claim.text(room)?;
    Ok(Some(ngx_str_t { len, data: room.as_mut_ptr() }))
}

/// Reads all claims of the document.
fn read(
    request: Request<'_>,
    carried: Carried,
    document: Document,
) -> Result<NonNull<ngx_array_t>, ClaimError> {
    let pool = request.pool();
    // SAFETY: the document is in the memory of the request.
    let bytes = unsafe { bytes_of(&carried.bare()) };
    let scratch = pool.bytes(bytes.len()).ok_or(ClaimError::NoRoom)?;
    let object = claims::object(document, bytes, scratch)?;
    let names = pool.bytes(object.len()).ok_or(ClaimError::NoRoom)?;
    // SAFETY: the pool is live.
    let array = unsafe { ngx_array_create(pool.as_ptr(), 16, size_of::<Claim<'_>>()) };
    let array = NonNull::new(array).ok_or(ClaimError::NoRoom)?;
    let mut has_room = true;
    claims::each(object, names, |claim| {
        // SAFETY: the array was made for claims.
        has_room &= unsafe { push::<Claim<'_>>(array.as_ptr(), claim) }.is_some();
    })?;
    if has_room { Ok(array) } else { Err(ClaimError::NoRoom) }
}
