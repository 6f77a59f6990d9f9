//! Access tokens by value: a JWT that a client presents is verified here, and nobody is asked about it.
//!
//! Nobody but the JWT itself says that it is an access token. All that RFC 9068 section 4 wants of one is
//! therefore looked at, and what has the look of something else is refused (RFC 8725 section 3.12).

use crate::claims;
use crate::facts::{self, Collector};
use crate::jose::{self, Expect, KeySet, VerifyError};
use crate::jwt::{self, Kind};
use crate::key::FactsKey;
use crate::record::{CacheDirectives, Document, Record, State, UnixMillis};

/// Verifies a JWT that a client presents. An active one is kept as `document`, and is as old as its verification,
/// which is done anew when the location's times want it.
///
/// `scratch` must be as long as `jwt`.
///
/// # Errors
/// [`VerifyError`] for whatever is not to be let pass. That `exp` has passed is none: all else is right then, and
/// the record says [`State::Expired`].
pub fn judge(
    jwt: &[u8],
    document: Document,
    keys: &KeySet,
    expect: &Expect<'_>,
    now: UnixMillis,
    scratch: &mut [u8],
) -> Result<Record, VerifyError> {
    let state = match jose::verify(jwt, Kind::Presented, keys, expect, now) {
        Ok(()) => State::Active,
        Err(VerifyError::Expired) => State::Expired,
        Err(error) => return Err(error),
    };
    let (claims, _) = jwt::claims(jwt, scratch)?;
    if claims.active.is_some() || claims.refresh {
        return Err(VerifyError::OtherKind);
    }
    let document = if state == State::Active { document } else { Document::Jwt };
    Ok(Record {
        state,
        confirmed: now,
        document,
        expires: claims.expires,
        directives: CacheDirectives::default(),
        bound: claims.bound,
    })
}

/// The facts of a JWT that [`judge`] lets pass, for checks on a hit: written to `room`, empty if there are none.
///
/// `scratch` must be as long as `jwt`.
pub fn facts<'r>(
    jwt: &[u8],
    key: &FactsKey,
    scratch: &mut [u8],
    room: &'r mut [u8; facts::MAX_LEN],
) -> &'r [u8] {
    let mut collector = Collector::new(key);
    if let Ok(object) = claims::object(Document::Jwt, jwt, scratch) {
        collector.claims(object);
    }
    collector.write(room)
}
