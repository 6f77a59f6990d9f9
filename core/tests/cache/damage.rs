//! A damaged region: whatever its bytes say, no panic, no endless loop, no JWT under another's key.

use std::mem::MaybeUninit;

use phantom_token_core::cache::{Cache, LookUp, Stored};
use phantom_token_core::record::Record;

use crate::support::*;

/// Header of the region and lock of its only shard: a damaged lock may rightly block for ever.
const SPARED: usize = 128 + size_of::<libc::pthread_mutex_t>();
const ENTRIES: u32 = 60;

fn length_of(number: u32) -> usize {
    [0, 1, 100, 700, 1200, 1240, 2600, 5000][number as usize % 8]
}

/// Writes random bytes or links to random places, and says how many bytes at most.
fn damage(memory: &Memory, random: &mut Random) -> usize {
    let writes = 1 + random.below(8) as usize;
    for _ in 0..writes {
        // Links stand at multiples of four; small numbers are plausible ones.
        let at = SPARED + random.below((memory.len - SPARED - 4) as u64) as usize / 4 * 4;
        let value = match random.below(3) {
            0 => random.next() as u32,
            1 => random.below(600) as u32,
            _ => 0,
        };
        // SAFETY: within the mapping, and nobody else is using it now.
        unsafe { memory.base.as_ptr().add(at).cast::<u32>().write_unaligned(value) };
    }
    writes * 4
}

/// That nothing of another's JWT is in this one, beyond the bytes that were damaged.
fn assert_own(number: u32, found: &[u8], damaged: usize) {
    let own = jwt(number, found.len());
    let foreign = found.iter().zip(&own).filter(|(is, own)| is != own && **is != 0).count();
    assert!(foreign <= damaged, "entry {number} has {foreign} foreign bytes of {}", found.len());
}

#[test]
fn a_damaged_region_gives_no_jwt_under_anothers_key() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut recoveries = 0;
    for _ in 0..500 {
        let memory = Memory::new(64 << 10);
        let cache = memory.create();
        // Numbers whose bytes differ from one another in every place.
        let name = |number: u32| (number + 1) * 0x0101_0101;
        for number in 0..ENTRIES {
            let record = if number % 5 == 0 { inactive() } else { active() };
            cache.store(&key(number), &record, &jwt(name(number), length_of(number)), NOW);
        }
        let damaged = damage(&memory, &mut random);
        let mut room = [MaybeUninit::uninit(); 1 << 17];
        for _ in 0..100 {
            let number = random.below(u64::from(ENTRIES)) as u32;
            match random.below(8) {
                0 => {
                    let jwt = jwt(name(number), length_of(number));
                    if cache.store(&key(number), &active(), &jwt, NOW) == Stored::Unavailable {
                        // The shard was emptied: from here on it is in order again.
                        cache.check().unwrap();
                    }
                }
                1 => _ = cache.remove(&key(number)),
                2 => {
                    let record = Record { expires: Some(NOW + 1), ..active() };
                    cache.store(&key(number), &record, &jwt(name(number), 300), NOW);
                    cache.look_up(&key(number), NOW + 1, &RULES, |_| None);
                }
                _ => {
                    let room = &mut room;
                    let found = cache.look_up(&key(number), NOW, &RULES, |len| room.get_mut(..len));
                    if let LookUp::Active { document: jwt, .. } = found {
                        assert_own(name(number), jwt, damaged);
                    }
                }
            }
        }
        recoveries += cache.stats().recoveries.min(1);
    }
    assert!(recoveries > 50, "the damage was noticed {recoveries} times only");
}

#[test]
fn a_region_of_random_bytes_becomes_a_cache() {
    let mut random = Random(77);
    for _ in 0..50 {
        let memory = Memory::new(Cache::MIN_SIZE);
        let cache = memory.create();
        for at in SPARED..memory.len {
            // SAFETY: as above.
            unsafe { memory.base.as_ptr().add(at).write(random.next() as u8) };
        }
        assert_eq!(get(&cache, 1), Found::Miss);
        assert_eq!(cache.store(&key(1), &active(), &jwt(1, 1200), NOW), Stored::Stored);
        assert_eq!(get(&cache, 1), Found::Active(jwt(1, 1200), active()));
        cache.check().unwrap();
    }
}

#[test]
fn a_jwt_reaches_no_other_entry_by_a_swapped_link() {
    let memory = Memory::new(64 << 10);
    let cache = memory.create();
    for number in [1, 2] {
        cache.store(&key(number), &active(), &jwt(number, 2000), NOW);
    }
    // Give the first entry the links of the second: both have ten links in their heads.
    let heads: Vec<*mut u8> = (1..memory.len / 128)
        .map(|unit| memory.base.as_ptr().wrapping_add(unit * 128))
        // SAFETY: within the mapping. A head has the length of its JWT there.
        .filter(|head| unsafe { head.add(36).cast::<u32>().read() } == 2000)
        .collect();
    let [one, two] = heads[..] else { panic!("heads are laid out in another way") };
    // SAFETY: within the mapping, disjoint.
    unsafe { std::ptr::copy_nonoverlapping(two.add(64), one.add(64), 40) };
    assert_eq!(get(&cache, 1), Found::Miss);
    assert_eq!(cache.stats().recoveries, 1);
    cache.check().unwrap();
}
