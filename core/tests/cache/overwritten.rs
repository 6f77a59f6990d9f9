//! What is not kept any more is not in the memory either, whichever way it went.

use std::sync::atomic::{AtomicU32, Ordering};

use phantom_token_core::cache::{Cache, Stored};
use phantom_token_core::record::Record;

use crate::support::*;

/// No other bytes of a region look like this one, nor like the following few.
const SECRET_NUMBER: u32 = 0xa1b2_c3d4;

/// How many times a piece of this number's JWT, of whatever entry, is in the memory. Pieces begin at multiples
/// of four.
fn traces(memory: &Memory, number: u32) -> usize {
    // SAFETY: within the mapping, and nobody writes to it now.
    let bytes = unsafe { std::slice::from_raw_parts(memory.base.as_ptr(), memory.len) };
    let piece = number.to_be_bytes();
    bytes.chunks_exact(piece.len()).filter(|chunk| *chunk == piece).count()
}

/// Lengths with a last piece that is not full, without one, and with one and two index units.
const LENGTHS: [usize; 5] = [700, 1240, 1300, 4960, 6000];

/// Stores a secret, does something that ends it, and looks for it.
fn gone_after(what: &str, end: impl Fn(&Cache, &Memory)) {
    for len in LENGTHS {
        let memory = Memory::new(64 << 10);
        let cache = memory.create();
        let record = Record { expires: Some(NOW + 5), ..active() };
        let secret = jwt(SECRET_NUMBER, len);
        assert_eq!(cache.store(&key(1), &record, &secret, NOW), Stored::Stored);
        assert!(traces(&memory, SECRET_NUMBER) > len / 8, "the secret is looked for rightly");
        end(&cache, &memory);
        assert_eq!(traces(&memory, SECRET_NUMBER), 0, "{what}, {len} bytes");
        cache.check().unwrap();
    }
}

#[test]
fn nothing_is_left_of_an_entry_that_was_removed() {
    gone_after("removed", |cache, _| assert!(cache.remove(&key(1))));
}

#[test]
fn nothing_is_left_of_an_entry_that_was_replaced() {
    for len in [1, 300, 1240, 9000] {
        gone_after("replaced", |cache, _| {
            assert_eq!(cache.store(&key(1), &active(), &jwt(7, len), NOW), Stored::Stored);
        });
    }
}

#[test]
fn nothing_is_left_of_an_entry_that_turned_inactive() {
    gone_after("inactive", |cache, _| {
        assert_eq!(cache.store(&key(1), &inactive(), b"", NOW), Stored::Stored);
    });
}

#[test]
fn nothing_is_left_of_an_entry_that_expired() {
    gone_after("expired", |cache, _| {
        let found = look_up(cache, &key(1), NOW + 5, &RULES);
        assert!(matches!(found, Found::Expired(_)));
    });
    gone_after("stored as expired", |cache, _| {
        let record = Record { confirmed: NOW + 5, expires: Some(NOW + 5), ..active() };
        let stored = cache.store(&key(1), &record, &jwt(SECRET_NUMBER, 1200), NOW + 5);
        assert_eq!(stored, Stored::Stored);
    });
}

#[test]
fn nothing_is_left_of_an_entry_that_was_evicted() {
    gone_after("evicted", |cache, _| {
        for number in 2..1000 {
            cache.store(&key(number), &active(), &jwt(number, 1200), NOW);
        }
        assert_eq!(get(cache, 1), Found::Miss);
    });
}

#[test]
fn nothing_is_left_of_an_entry_whose_successor_is_too_large() {
    gone_after("too large", |cache, memory| {
        let stored = cache.store(&key(1), &active(), &jwt(SECRET_NUMBER, memory.len), NOW);
        assert_eq!(stored, Stored::TooLarge);
    });
}

#[test]
fn nothing_is_left_of_a_shard_that_was_emptied() {
    gone_after("emptied", |cache, _| {
        let child = fork(|| {
            cache.look_up(&key(1), NOW, &RULES, |_| {
                // SAFETY: kills this child, which has the lock.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
                None
            });
            0
        });
        assert!(libc::WIFSIGNALED(wait(child)));
        assert_eq!(get(cache, 1), Found::Miss);
        assert_eq!(cache.stats().recoveries, 1);
    });
}

#[test]
fn nothing_is_left_of_what_a_killed_process_was_storing() {
    let counters = Memory::new(4096);
    // SAFETY: zeroed, aligned and mapped until the end of the test.
    let progress = unsafe { counters.base.cast::<AtomicU32>().as_ref() };
    let mut random = Random(31);
    let mut recoveries = 0;
    for _ in 0..100 {
        progress.store(0, Ordering::Relaxed);
        let memory = Memory::new(256 << 10);
        let cache = memory.create();
        let child = fork(|| {
            let mut scratch = [0; 20_000];
            write_jwt(SECRET_NUMBER, &mut scratch);
            let mut number = 0;
            loop {
                number += 1;
                cache.store(&key(number), &active(), &scratch, NOW);
                progress.store(number, Ordering::Relaxed);
            }
        });
        // The child is at work, in fresh units or in those of others before.
        let enough = 1 + random.below(20) as u32;
        while progress.load(Ordering::Relaxed) < enough {
            std::hint::spin_loop();
        }
        for _ in 0..random.below(20_000) {
            std::hint::spin_loop();
        }
        kill(child);
        assert!(libc::WIFSIGNALED(wait(child)));
        // Whoever comes next finds the shard half-changed, or in order.
        get(&cache, 1);
        if cache.stats().recoveries > 0 {
            recoveries += 1;
            assert_eq!(traces(&memory, SECRET_NUMBER), 0);
            for number in 0..20 {
                let stored = cache.store(&key(number), &active(), &jwt(number, 20_000), NOW);
                assert_eq!(stored, Stored::Stored, "and all of it can be used again");
            }
            assert_eq!(cache.stats().recoveries, 1);
        }
        cache.check().unwrap();
    }
    assert!(recoveries > 0, "a process was killed while it was storing");
}

#[test]
fn a_copy_is_as_thorough() {
    let old_memory = Memory::new(64 << 10);
    let old = old_memory.create();
    let record = Record { expires: Some(NOW + 5), ..active() };
    for len in LENGTHS {
        let new_memory = Memory::new(96 << 10);
        let new = new_memory.create();
        old.store(&key(1), &record, &jwt(SECRET_NUMBER, len), NOW);
        assert_eq!(new.copy_from(&old), Ok(1));
        assert!(old.remove(&key(1)));
        assert_eq!(traces(&old_memory, SECRET_NUMBER), 0, "{len}");
        assert!(traces(&new_memory, SECRET_NUMBER) > len / 8, "{len}");
        assert!(new.remove(&key(1)));
        assert_eq!(traces(&new_memory, SECRET_NUMBER), 0, "{len}");
        new.check().unwrap();
    }
}
