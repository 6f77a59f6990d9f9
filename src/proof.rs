//! The DPoP proof of a request (RFC 9449): whether it is one for the key that the token is bound to, and is used
//! for the first time. It is checked once per request, however many locations an internal redirect leads it to.

use core::num::NonZeroUsize;
use core::ptr;

use phantom_token_core::binding::BindingError;
use phantom_token_core::dpop::{Base, Expect, NONCE_LEN, Nonces, ProofError, Proofs, Target};
use phantom_token_core::replay::Use;

use crate::conf::LocationConf;
use crate::context::{Context, Proven};
use crate::headers::{self, Name, Proof};
use crate::pool::{bytes_of, string_over};
use crate::request::{self, Request};

/// How many keys of clients a worker keeps in parsed form, about 1 KB each.
const KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// By its address a line is known as ours.
static NO_STORE: &[u8] = b"no-store";

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
    // SAFETY: the token is in the request's memory.
    let token = unsafe { bytes_of(&context.token.get()) };
    let proven = context.proven().filter(|proven| {
        // SAFETY: so is the one that was proven.
        proven.key == *thumbprint && unsafe { bytes_of(&proven.token) } == token
    });
    let nonce = location.dpop_nonce();
    if let Some(proven) = proven
        && nonce.is_none_or(|nonce| ptr::eq(nonce, proven.nonce))
    {
        return Some(Ok(()));
    }
    let proof = match context.proof.get() {
        Proof::None => return Some(Err(BindingError::NoProof)),
        Proof::Several => return Some(Err(BindingError::SeveralProofs)),
        Proof::One(value) => value,
    };

    let main = request.main_conf();
    let zone = main.proof_zone()?;
    let (replays, names) = zone.replays()?;
    let nonces = match nonce {
        Some(nonce) => Some((nonce.shared.as_ref().or(zone.nonces())?, nonce.lifetime)),
        None => None,
    };
    let request = request.main();
    let base =
        location.dpop_base.unwrap_or_else(|| Base::of_host(request.is_tls(), request.authority()));
    let expect = Expect {
        method: request.sent_method(),
        target: Target::new(base, request.target()),
        token,
        thumbprint,
        leeway: i64::try_from(location.leeway).unwrap_or(0),
        nonce: nonces,
    };
    let now = request::now();
    let checked = {
        let mut checker = main.proofs().try_borrow_mut().ok()?;
        let proofs = checker.get_or_insert_with(|| Proofs::new(KEYS));
        // SAFETY: the value is in the request's memory.
        proofs.check(unsafe { bytes_of(&proof) }, &expect, names, now)
    };
    if let Some((nonces, _)) = nonces
        && checked.map_or_else(ProofError::is_of_nonce, |proof| proof.renew)
    {
        give(request, nonces)?;
    }
    let proof = match checked {
        Ok(proof) => proof,
        Err(error) => return Some(Err(error.into())),
    };
    // Where another location has accepted it without this nonce, it was used for this very request.
    let used = match proven {
        Some(_) => Use::First,
        None => replays.note(proof.name, proof.until, u64::try_from(now / 1_000).ok()?),
    };
    Some(match used {
        Use::First => {
            let nonce = nonce.map_or(ptr::null(), ptr::from_ref);
            let proven = Proven { token: string_over(token), key: *thumbprint, nonce };
            context.set_proven(request.pool(), proven)?;
            Ok(())
        }
        Use::Again => Err(BindingError::UsedProof),
        Use::Full => Err(BindingError::NoRoom),
    })
}

/// Tells the client a nonce, in the response of its request, which nobody is to use for another one (RFC 9449 section
/// 8.2): whatever else is said of how long it may be kept, by `expires` or upstream, `no-store` goes before.
fn give(request: Request<'_>, nonces: &Nonces) -> Option<()> {
    let room = request.pool().bytes(NONCE_LEN)?;
    room.copy_from_slice(&nonces.give(request::now()));
    let name = Name::fixed(b"DPoP-Nonce", b"dpop-nonce");
    // SAFETY: the request is live, and the value in its memory.
    unsafe {
        let list = &raw mut (*request.as_ptr()).headers_out.headers;
        headers::leave_out(list, b"DPoP-Nonce");
        headers::push(list, name, string_over(room))?;
        // A line that NGINX has no pointer to, so that `expires` does not write over it.
        if !headers::iterate(list).any(|(_, value)| ptr::eq(value, NO_STORE)) {
            let name = Name::fixed(b"Cache-Control", b"cache-control");
            headers::push(list, name, string_over(NO_STORE))?;
        }
    }
    Some(())
}
