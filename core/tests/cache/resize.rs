//! A cache of another size takes over what the old one holds.

use phantom_token_core::cache::{Body, Cache, OtherSecret};

use crate::processes::operate;
use crate::support::*;

#[test]
fn a_larger_cache_has_everything() {
    // One shard; two; then sixteen.
    for (from, to) in [(128 << 10, 1 << 20), (1 << 20, 8 << 20), (4 << 20, 64 << 20)] {
        let (old, new) = (Memory::new(from), Memory::new(to));
        let (old, new) = (old.create(), new.create());
        let entries = (from / 4096) as u32;
        for number in 0..entries {
            old.store(&key(number), &active(), &jwt(number, number as usize * 7 % 3000), NOW);
            old.store(&key(1_000_000 + number), &inactive(), b"", NOW);
        }
        let before = old.stats();
        assert_eq!(new.copy_from(&old), Ok(before.active_entries + before.small_entries));
        new.check().unwrap();
        assert_eq!(old.stats(), before);
        for number in (0..entries).chain(1_000_000..1_000_000 + entries) {
            assert_eq!(get(&new, number), get(&old, number), "{number}");
        }
    }
}

#[test]
fn what_was_asked_for_lately_and_the_newest_fit_into_a_smaller_one() {
    for (from, to) in [(1 << 20, 256 << 10), (16 << 20, 1 << 20), (64 << 20, 8 << 20)] {
        let (old, new) = (Memory::new(from), Memory::new(to));
        let (old, new) = (old.create(), new.create());
        let entries = (from / 2048) as u32;
        for number in 0..entries {
            old.store(&key(number), &active(), &jwt(number, 1200), NOW);
        }
        let asked = (to / 16_384) as u32;
        for number in 0..asked {
            assert!(matches!(get(&old, number), Found::Active(..)));
        }
        let copied = new.copy_from(&old).unwrap();
        new.check().unwrap();
        assert_eq!(new.stats().active_entries, copied);
        assert_eq!(new.stats().active_evictions, 0);
        let least = (to / 1408) as u64 * 8 / 10;
        assert!(copied > least, "{copied} of {least} from {from} to {to}");
        for number in (0..asked).chain(entries - asked..entries) {
            assert_eq!(get(&new, number), Found::Active(jwt(number, 1200), active()), "{number}");
        }
        let middle = (entries / 4..entries / 2).filter(|&n| get(&new, n) != Found::Miss).count();
        assert!(middle < asked as usize, "{middle} older ones are there");
    }
}

#[test]
fn the_order_stays() {
    let (old, new) = (Memory::new(128 << 10), Memory::new(100_000));
    let (old, new) = (old.create(), new.create());
    for number in 0..40 {
        old.store(&key(number), &active(), &jwt(number, 1200), NOW);
    }
    get(&old, 3);
    new.copy_from(&old).unwrap();
    // The oldest go first, but for the one that was asked for.
    let mut more = 1000;
    while new.stats().active_evictions < 10 {
        new.store(&key(more), &active(), &jwt(more, 1200), NOW);
        more += 1;
    }
    assert!(matches!(get(&new, 3), Found::Active(..)));
    for number in 0..10 {
        assert!(number == 3 || get(&new, number) == Found::Miss, "{number}");
    }
    assert!(matches!(get(&new, 39), Found::Active(..)));
}

#[test]
fn what_is_known_here_stays() {
    let (old, new) = (Memory::new(1 << 16), Memory::new(1 << 17));
    let (old, new) = (old.create(), new.create());
    old.store(&key(1), &active(), b"old", NOW);
    old.store(&key(2), &active(), b"old", NOW);
    new.store(&key(1), &inactive(), b"", NOW);
    assert_eq!(new.copy_from(&old), Ok(1));
    assert_eq!(get(&new, 1), Found::Inactive(inactive()));
    assert_eq!(get(&new, 2), Found::Active(b"old".to_vec(), active()));
    assert_eq!(new.copy_from(&old), Ok(0));
    new.check().unwrap();
}

#[test]
fn facts_come_along() {
    let (old, new) = (Memory::new(1 << 17), Memory::new(1 << 20));
    let (old, new) = (old.create(), new.create());
    for number in 0..20 {
        let (document, facts) = (jwt(number, number as usize * 90), jwt(!number, 60));
        old.store(&key(number), &active(), Body { document: &document, facts: &facts }, NOW);
    }
    assert_eq!(new.copy_from(&old), Ok(20));
    for number in 0..20 {
        let document = jwt(number, number as usize * 90);
        assert_eq!(get(&new, number), Found::Active(document, active()));
        assert_eq!(facts_of(&new, &key(number), NOW, &RULES), jwt(!number, 60));
    }
    new.check().unwrap();
}

#[test]
fn another_secret_is_refused() {
    let (old, new) = (Memory::new(1 << 16), Memory::new(1 << 16));
    let old = old.create();
    old.store(&key(1), &active(), b"jwt", NOW);
    // SAFETY: the memory is zeroed and outlives the handle.
    let new = unsafe { Cache::create(new.base, new.len, [1; 32]) }.unwrap();
    assert_eq!(new.copy_from(&old), Err(OtherSecret));
    assert_eq!(get(&new, 1), Found::Miss);
}

#[test]
fn the_old_one_may_be_in_use_and_its_users_killed() {
    let old_memory = Memory::new(128 << 10);
    let old = old_memory.create();
    let mut random = Random(99);
    let mut scratch = [0; 8192];
    for round in 0..40 {
        let children = [1, 2].map(|seed| {
            fork(|| {
                let mut random = Random(round * 2 + seed);
                let mut scratch = [0; 8192];
                while operate(&old, &mut random, &mut scratch) {}
                1
            })
        });
        for _ in 0..random.below(500) {
            assert!(operate(&old, &mut random, &mut scratch));
        }
        let new_memory = Memory::new([64 << 10, 1 << 20, 16 << 20][round as usize % 3]);
        let new = new_memory.create();
        new.copy_from(&old).unwrap();
        kill(children[0]);
        new.copy_from(&old).unwrap();
        kill(children[1]);
        for child in children {
            assert!(libc::WIFSIGNALED(wait(child)), "the child found something wrong");
        }
        new.check().unwrap();
        old.check().unwrap();
        for number in 0..64 {
            if let Found::Active(found, _) = get(&new, number) {
                assert_eq!(found, jwt(number, found.len()));
            }
        }
    }
}
