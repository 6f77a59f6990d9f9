//! The DPoP proof of a request (RFC 9449): whether it is one for the key that the token is bound to, and is used
//! for the first time. It is checked once per request, however many locations an internal redirect leads it to.

use core::num::NonZeroUsize;

use phantom_token_core::binding::BindingError;
use phantom_token_core::dpop::{Base, Expect, Proofs, Target};
use phantom_token_core::replay::Use;

use crate::conf::LocationConf;
use crate::context::Context;
use crate::headers::Proof;
use crate::pool::{bytes_of, string_over};
use crate::request::{self, Request};

/// How many keys of clients a worker keeps in parsed form, about 1 KB each.
const KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Whether the request has shown that its client has the key with that thumbprint; `None`: a fault of ours.
pub(crate) fn check(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    thumbprint: &[u8; 32],
) -> Option<Result<(), BindingError>> {
    if !context.is_dpop.get() {
        return Some(Err(BindingError::Scheme));
    }
    // SAFETY: the token is in the request's memory, and so is the one that was proven.
    let token = unsafe { bytes_of(&context.token.get()) };
    if let Some((proven, key)) = context.proven.get()
        && key == *thumbprint
        // SAFETY: as above.
        && unsafe { bytes_of(&proven) } == token
    {
        return Some(Ok(()));
    }
    let proof = match context.proof.get() {
        Proof::None => return Some(Err(BindingError::NoProof)),
        Proof::Several => return Some(Err(BindingError::SeveralProofs)),
        Proof::One(value) => value,
    };

    let main = request.main_conf();
    let (replays, names) = main.proof_zone()?.replays()?;
    let request = request.main();
    let base =
        location.dpop_base.unwrap_or_else(|| Base::of_host(request.is_tls(), request.authority()));
    let expect = Expect {
        method: request.sent_method(),
        target: Target::new(base, request.target()),
        token,
        thumbprint,
        leeway: i64::try_from(location.leeway).unwrap_or(0),
    };
    let now = request::now();
    let checked = {
        let mut checker = main.proofs().try_borrow_mut().ok()?;
        let proofs = checker.get_or_insert_with(|| Proofs::new(KEYS));
        // SAFETY: the value is in the request's memory.
        proofs.check(unsafe { bytes_of(&proof) }, &expect, names, now)
    };
    let proof = match checked {
        Ok(proof) => proof,
        Err(error) => return Some(Err(error.into())),
    };
    Some(match replays.note(proof.name, proof.until, u64::try_from(now / 1_000).ok()?) {
        Use::First => {
            context.proven.set(Some((string_over(token), *thumbprint)));
            Ok(())
        }
        Use::Again => Err(BindingError::UsedProof),
        Use::Full => Err(BindingError::NoRoom),
    })
}
