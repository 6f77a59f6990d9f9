//! What the kind of a document changes in the cache, and what it does not.

use phantom_token_core::cache::Stored;
use phantom_token_core::freshness::Freshness;
use phantom_token_core::record::{Document, Record, State, UnixMillis};

use crate::support::*;

const KINDS: [Document; 5] =
    [Document::Jwt, Document::Exchanged, Document::Json, Document::ClaimsJwt, Document::Envelope];
const END: UnixMillis = NOW + 1_000;

fn until_end(document: Document) -> Record {
    Record { document, expires: Some(END), ..active() }
}

#[test]
fn every_kind_comes_back_as_it_was() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    for (number, kind) in (0..).zip(KINDS) {
        let record = Record { bound: true, ..until_end(kind) };
        cache.store(&key(number), &record, &jwt(number, 700), NOW);
        assert_eq!(get(&cache, number), Found::Active(jwt(number, 700), record));
    }
    // One takes the place of the other.
    for kind in KINDS.into_iter().rev() {
        let record = until_end(kind);
        assert_eq!(cache.store(&key(1), &record, b"another", NOW), Stored::Stored);
        assert_eq!(get(&cache, 1), Found::Active(b"another".to_vec(), record));
    }
    cache.check().unwrap();
}

#[test]
fn a_token_whose_exp_has_passed_is_expired_whatever_was_kept() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    for (number, kind) in (0..).zip(KINDS).filter(|(_, kind)| *kind != Document::Exchanged) {
        let record = until_end(kind);
        let expired = Found::Expired(Record { state: State::Expired, ..record });
        cache.store(&key(number), &record, &jwt(number, 700), NOW);
        assert!(matches!(look_up(&cache, &key(number), END - 1, &RULES), Found::Active(..)));
        assert_eq!(look_up(&cache, &key(number), END, &RULES), expired, "{kind:?}");
        assert_eq!(look_up(&cache, &key(number), NOW, &RULES), expired, "{kind:?}");
    }
    cache.check().unwrap();
}

/// Its JWT is over, but of the token nothing is known: it is to be exchanged again.
#[test]
fn an_exchanged_token_is_missed_when_its_jwt_is_over() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    let record = until_end(Document::Exchanged);
    let there = Found::Active(jwt(1, 700), record);
    cache.store(&key(1), &record, &jwt(1, 700), NOW);
    assert_eq!(look_up(&cache, &key(1), END - 1, &RULES), there);
    let lenient = Freshness { use_stale: i64::MAX, ..RULES };
    for now in [END, END + 1, END + 86_400_000, i64::MAX] {
        for rules in [RULES, lenient] {
            assert_eq!(look_up(&cache, &key(1), now, &rules), Found::Miss, "{now}");
        }
    }
    assert_eq!((cache.stats().active_entries, cache.stats().small_entries), (1, 0));
    // The next exchange takes its place, and so does the server's word that the token is dead.
    let next = Record { confirmed: END, expires: Some(END + 1_000), ..record };
    assert_eq!(cache.store(&key(1), &next, b"next", END), Stored::Stored);
    assert_eq!(look_up(&cache, &key(1), END, &RULES), Found::Active(b"next".to_vec(), next));
    let dead = Record { confirmed: END + 1_000, ..inactive() };
    assert_eq!(cache.store(&key(1), &dead, b"", END + 1_000), Stored::Stored);
    assert_eq!(look_up(&cache, &key(1), END + 1_000, &RULES), Found::Inactive(dead));
    cache.check().unwrap();
}

#[test]
fn an_exchanged_token_that_comes_too_late_is_never_served() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    cache.store(&key(1), &until_end(Document::Exchanged), &jwt(1, 700), END);
    assert_eq!(look_up(&cache, &key(1), END, &RULES), Found::Miss);
    cache.check().unwrap();
}
