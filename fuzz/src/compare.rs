//! The core's verdict beside the reference's.

use phantom_token_core::answer::{self as core, Reading, Verdict};
use phantom_token_core::claims;
use phantom_token_core::record::{CacheDirectives, Document, Record, State};

use crate::reference::answer::{self as reference, Outcome};
use crate::reference::instant::Seconds;

/// The question was asked then, and now it is a second later.
pub const ASKED: i64 = 1;
const NOW: i64 = 2_000;

/// The names of members that may hold the JWT.
pub const NAMES: &[&str] = &["jwt", "phantom_token"];

/// Both read an answer, which comes with these directives; panics unless they say the same. The document of
/// an active token.
pub fn judge(
    answer: &reference::Answer<'_>,
    directives: CacheDirectives,
) -> Option<(reference::Document, Vec<u8>)> {
    let asked = ASKED * 1_000;
    let reading = Reading {
        mode: match answer.mode {
            reference::Mode::Jwt => core::Mode::Jwt,
            reference::Mode::Claims => core::Mode::Claims,
            reference::Mode::Exchange => core::Mode::Exchange,
        },
        verification: None,
        unverified_envelopes: answer.unverified,
        // A name that means something else is not searched, even where it is configured.
        members: &[b"exp", b"jwt", b"active", b"phantom_token"],
        asked,
        now: NOW,
    };
    let received = core::Answer {
        status: answer.status,
        content_type: answer.content_type,
        encoded: answer.encoded,
        directives,
        body: answer.body,
    };
    let mut scratch = vec![0; core::scratch_len(answer.body.len())];
    let verdict = core::judge(&received, &reading, &mut scratch);
    let outcome = reference::judge(answer)?;

    let no_exchange = answer.mode != reference::Mode::Exchange;
    let expected = Record {
        state: State::Inactive,
        confirmed: asked,
        document: Document::Jwt,
        expires: None,
        directives: if no_exchange { directives } else { CacheDirectives::default() },
        bound: false,
    };
    match (verdict, outcome) {
        (Ok(Verdict::Inactive(record)), Outcome::Inactive) => assert_eq!(record, expected),
        (Ok(Verdict::Expired(record)), Outcome::Active { until, bound, .. }) if no_exchange => {
            let expires = near(record.expires, &until);
            assert!(expires.is_some_and(|expires| expires <= NOW));
            assert_eq!(record, Record { state: State::Expired, expires, bound, ..expected });
        }
        (
            Ok(Verdict::Active { document, claims, record }),
            Outcome::Active { kind, document: meant, until, bound },
        ) => {
            let expires = near(record.expires, &until);
            assert!(expires.is_none_or(|expires| expires > NOW));
            let kept = kept(kind);
            assert_eq!(
                record,
                Record { state: State::Active, document: kept, expires, bound, ..expected }
            );
            assert_eq!(document, meant);
            let mut scratch = vec![0; document.len()];
            assert_eq!(claims::object(kept, document, &mut scratch), Ok(claims));
            return Some((kind, meant));
        }
        (Err(error), Outcome::Refused) => assert!(error.reason().status() > 500, "{error}"),
        // The JWT that an exchange gave is over: nothing is known of the token.
        (Err(error), Outcome::Active { until, .. }) if !no_exchange => {
            let first = until.iter().map(|it| it.whole).min();
            assert!(first.is_some_and(|first| first <= NOW / 1_000), "{error}");
        }
        (verdict, outcome) => panic!("{verdict:?} instead of {outcome:?}"),
    }
    None
}

/// What the core calls it.
pub fn kept(kind: reference::Document) -> Document {
    match kind {
        reference::Document::Jwt => Document::Jwt,
        reference::Document::Exchanged => Document::Exchanged,
        reference::Document::Json => Document::Json,
        reference::Document::ClaimsJwt => Document::ClaimsJwt,
        reference::Document::Envelope => Document::Envelope,
    }
}

/// The core's time, if it is the earliest of these: exactly where all are plain integers, and else as near as
/// a reader of doubles comes.
fn near(expires: Option<i64>, until: &[Seconds]) -> Option<i64> {
    let first = until.iter().map(|it| it.whole.saturating_mul(1_000)).min();
    assert_eq!(expires.is_some(), first.is_some());
    let (expires, first) = (expires?, first?);
    let off = i128::from(expires).abs_diff(first.into());
    let is_plain = until.iter().all(|it| it.is_plain);
    let allowed = if is_plain { 0 } else { 1_000 + u128::from(first.unsigned_abs() >> 50) };
    assert!(off <= allowed, "{expires} is not {first}");
    Some(expires)
}
