//! Several processes on one region, some of which are killed.
//!
//! A child is forked from a test that runs beside others: until it ends it must not allocate.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

use phantom_token_core::cache::{Cache, LookUp, Stored};
use phantom_token_core::record::Record;

use crate::support::*;

/// One random operation; false if the cache gave something that it should not.
pub(crate) fn operate(cache: &Cache, random: &mut Random, scratch: &mut [u8; 8192]) -> bool {
    let number = random.below(64) as u32;
    match random.below(8) {
        0..4 => {
            let len = random.below(8192) as usize;
            let jwt = &mut scratch[..len];
            write_jwt(number, jwt);
            let record = Record { expires: Some(NOW + 5), ..active() };
            let stored = cache.store(&key(number), &record, &*jwt, NOW);
            stored == Stored::Stored
        }
        4 => cache.store(&key(number), &inactive(), b"", NOW) == Stored::Stored,
        5 => {
            cache.remove(&key(number));
            true
        }
        // Time passes the `exp` of every eighth one.
        6 => !matches!(cache.look_up(&key(number), NOW + 5, &RULES, |_| None), LookUp::NoRoom),
        _ => {
            let mut room = [MaybeUninit::uninit(); 8192];
            let found = cache.look_up(&key(number), NOW, &RULES, |len| room.get_mut(..len));
            match found {
                LookUp::Active { document: jwt, .. } => jwt
                    .iter()
                    .zip(number.to_be_bytes().iter().cycle())
                    .all(|(is, expected)| is == expected),
                LookUp::NoRoom => false,
                _ => true,
            }
        }
    }
}

#[test]
fn processes_see_one_anothers_entries() {
    let memory = Memory::new(1 << 20);
    let cache = memory.create();
    let child = fork(|| {
        i32::from(cache.store(&key(1), &active(), b"from the child", NOW) != Stored::Stored)
    });
    assert_eq!(wait(child), 0);
    assert_eq!(get(&cache, 1), Found::Active(b"from the child".to_vec(), active()));
}

#[test]
fn processes_side_by_side_leave_everything_in_order() {
    let memory = Memory::new(128 << 10);
    let cache = memory.create();
    let children: Vec<_> = (1..=4)
        .map(|seed| {
            fork(|| {
                let mut random = Random(seed);
                let mut scratch = [0; 8192];
                let fine = (0..5000).all(|_| operate(&cache, &mut random, &mut scratch));
                i32::from(!fine)
            })
        })
        .collect();
    for child in children {
        assert_eq!(wait(child), 0);
    }
    assert_eq!(cache.stats().recoveries, 0);
    cache.check().unwrap();
}

#[test]
fn a_process_killed_with_the_lock_costs_the_shard_and_nothing_else() {
    let memory = Memory::new(8 << 20);
    let cache = memory.create();
    for number in 0..100 {
        cache.store(&key(number), &active(), &jwt(number, 1200), NOW);
    }
    kill_with_the_lock(&cache);
    assert_eq!(get(&cache, 1), Found::Miss);
    assert_eq!(cache.stats().recoveries, 1);
    let left = (0..100).filter(|&number| get(&cache, number) != Found::Miss).count();
    assert!((20..80).contains(&left), "the other shard has about half of all: {left}");
    cache.check().unwrap();
    assert_eq!(cache.store(&key(1), &active(), &jwt(1, 1200), NOW), Stored::Stored);
    assert_eq!(get(&cache, 1), Found::Active(jwt(1, 1200), active()));
}

/// Kills a process while it has the lock of the shard of `key(1)`, which is known: the room callback runs under it.
fn kill_with_the_lock(cache: &Cache) {
    let child = fork(|| {
        cache.look_up(&key(1), NOW, &RULES, |_| {
            // SAFETY: kills this child.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            None
        });
        0
    });
    assert!(libc::WIFSIGNALED(wait(child)));
}

#[test]
fn who_empties_a_shard_says_so_once() {
    let memory = Memory::new(64 << 10);
    let (cache, other) = (memory.create(), memory.attach());
    for number in 0..100 {
        cache.store(&key(number), &active(), &jwt(number, 1200), NOW);
    }
    let before = cache.stats();
    assert!(before.active_evictions > 0);
    for recoveries in 1..4 {
        cache.store(&key(1), &active(), b"jwt", NOW);
        assert_eq!((cache.emptied(), other.emptied()), (None, None));
        kill_with_the_lock(&cache);
        assert_eq!(cache.emptied(), None, "nobody has looked yet");
        assert_eq!(get(&cache, 1), Found::Miss);
        assert_eq!(get(&other, 1), Found::Miss);
        assert_eq!((other.emptied(), cache.emptied()), (None, Some(recoveries)));
        assert_eq!(cache.emptied(), None, "once");
    }
    assert_eq!(cache.stats().active_evictions, before.active_evictions, "still counted");
    // Whatever it is that finds it, also what counts for the answer.
    for find in [
        |cache: &Cache| _ = cache.store(&key(2), &active(), b"jwt", NOW),
        |cache: &Cache| _ = cache.remove(&key(1)),
        |cache: &Cache| _ = cache.stats(),
    ] {
        cache.store(&key(1), &active(), b"jwt", NOW);
        kill_with_the_lock(&cache);
        find(&other);
        assert!(other.emptied().is_some());
        assert_eq!((other.emptied(), cache.emptied()), (None, None));
    }
}

#[test]
fn processes_killed_anywhere_leave_a_working_cache() {
    let memory = Memory::new(128 << 10);
    let counters = Memory::new(4096);
    // SAFETY: zeroed, aligned and mapped until the end of the test.
    let progress = unsafe { counters.base.cast::<AtomicU64>().as_ref() };
    let cache = memory.create();
    let mut random = Random(4711);
    let mut scratch = [0; 8192];
    for round in 0..300 {
        let start = progress.load(Ordering::Relaxed);
        let child = fork(|| {
            let mut random = Random(round + 1);
            let mut scratch = [0; 8192];
            while operate(&cache, &mut random, &mut scratch) {
                progress.fetch_add(1, Ordering::Relaxed);
            }
            1
        });
        // The child is at work, this process works beside it, and after some while it is killed.
        let enough = start + 1 + random.below(50);
        while progress.load(Ordering::Relaxed) < enough {
            assert!(operate(&cache, &mut random, &mut scratch), "round {round}");
        }
        kill(child);
        let status = wait(child);
        assert!(libc::WIFSIGNALED(status), "the child found something wrong: {status}");
        assert_eq!(cache.check(), Ok(()), "round {round}");
        for _ in 0..100 {
            assert!(operate(&cache, &mut random, &mut scratch), "round {round}");
        }
    }
    // A kill lands within a change often enough to show that it was this that was tested.
    assert!(cache.stats().recoveries > 0);
}
