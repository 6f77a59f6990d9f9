//! DPoP proofs that were used, in memory that all worker processes share: a proof counts once
//! (RFC 9449 section 11.1).
//!
//! A slot is one integer: part of a keyed hash of the proof, and when the proof is too old to be
//! accepted anyhow. There is no lock, and nothing that a process which dies could leave half done:
//! any value of a slot is a valid one, and each is free again after its time.
//!
//! A hash can be in either of two buckets, so that four fifths of the table are in use before a pair of
//! buckets is full. What does not fit is refused by the caller: to forget a proof would be to accept it
//! twice. The buckets follow from what a slot holds of the hash, so that a table of another size can take
//! over what is remembered. That is 39 bits: of 400,000 proofs at a time one in 1.4 million is taken for another one,
//! and its client told to make a new one.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// Slots of a bucket: two cache lines.
const BUCKET: usize = 16;
/// Bits of a slot that say until when; the others are of the hash.
const TIME_BITS: u32 = 24;
/// For so many seconds longer than it is accepted a proof is remembered: a worker that is busy has an older time than
/// others.
const SLACK: u64 = 10;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// The time of a slot is in so many seconds, so that it does not come round while a table lives.
const TIME_UNIT: u64 = 16;
/// Of which no slot has more to go.
const LONGEST_LEFT: u64 = (Replays::LONGEST + SLACK).div_ceil(TIME_UNIT) + 1;
/// Is set in every slot that was ever used.
const NAMED: u64 = 1 << 63;

/// Whether a proof was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was not, and now it is.
    First,
    /// It was, or is being used by another process at this very moment.
    Again,
    /// There is no room to remember it.
    Full,
}

/// This process's handle of the table.
pub struct Replays {
    base: NonNull<AtomicU64>,
    buckets: usize,
}

// SAFETY: the table is atomics in memory that outlives the handle, by the contract of `open`.
unsafe impl Send for Replays {}
// SAFETY: as above.
unsafe impl Sync for Replays {}

impl Replays {
    /// For how long a proof can be remembered, in seconds.
    pub const LONGEST: u64 = 3_600;

    /// Takes up the table in a region, which may be used already or be all zeros. `None`: it has no room
    /// for one bucket, or does not begin at a multiple of 8.
    ///
    /// # Safety
    /// `base..base + len` is valid for reads and writes for as long as the handle lives, and used by
    /// nothing but handles made by this function in the same length. Processes may share it.
    #[must_use]
    pub unsafe fn open(base: NonNull<u8>, len: usize) -> Option<Self> {
        let base = base.cast::<AtomicU64>();
        let buckets = len / (BUCKET * size_of::<AtomicU64>());
        (buckets != 0 && base.is_aligned()).then_some(Self { base, buckets })
    }

    /// How many proofs can be remembered at the same time, at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buckets * BUCKET
    }

    /// Notes that a proof is used. `hash` is a keyed one, so that nobody can choose where a proof lands, and the
    /// same only for the same proof; `until` is the Unix time, in seconds, from which on the proof is too old.
    ///
    /// Proofs of more than [`Replays::LONGEST`] to come are remembered for that long.
    #[must_use]
    pub fn note(&self, hash: [u8; 32], until: u64, now: u64) -> Use {
        let [a, b, c, d, e, f, g, h, ..] = hash;
        // Never 0 in the upper bits, so that a slot of zeros is nobody's.
        let name = (u64::from_le_bytes([a, b, c, d, e, f, g, h]) | NAMED) & !TIME_MASK;
        let until = until.clamp(now, now.saturating_add(Self::LONGEST)).saturating_add(SLACK);
        let value = name | until.div_ceil(TIME_UNIT) & TIME_MASK;
        let places = self.places(name);

        if places.iter().copied().flatten().any(|slot| is_noted(slot, name, now)) {
            return Use::Again;
        }
        let Some(taken) = take(places, value, now) else { return Use::Full };
        // Another process may have looked before we wrote, and may have written since: then both see the
        // other one's slot here, or one of them does.
        let others = places.iter().copied().flatten().filter(|slot| !core::ptr::eq(*slot, taken));
        if others.into_iter().any(|slot| is_noted(slot, name, now)) {
            return Use::Again;
        }
        Use::First
    }

    /// Takes over all that another table of the same names remembers, before anybody else uses this one.
    ///
    /// Where there is no room for a proof, its buckets stay full until it is too old: whoever uses it meanwhile is told
    /// so, and it is not forgotten.
    pub fn copy_from(&self, other: &Self, now: u64) {
        let remembered = (0..other.buckets).flat_map(|number| other.numbered(number));
        for value in remembered.map(|slot| slot.load(Ordering::SeqCst)) {
            let places = self.places(value & !TIME_MASK);
            if is_free(value, now) || take(places, value, now).is_some() {
                continue;
            }
            for slot in places.into_iter().flatten() {
                let found = slot.load(Ordering::SeqCst);
                if left(found, now) < left(value, now) {
                    slot.store(found & !TIME_MASK | value & TIME_MASK, Ordering::SeqCst);
                }
            }
        }
    }

    /// The buckets that a name can be in.
    fn places(&self, name: u64) -> [&[AtomicU64]; 2] {
        /// 2^64 by the golden ratio: spreads all bits of a name over the upper ones.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = name & !NAMED;
        [self.bucket(hash << 1), self.bucket((hash >> TIME_BITS).wrapping_mul(SPREAD))]
    }

    fn bucket(&self, hash: u64) -> &[AtomicU64] {
        // The upper half of the product spreads evenly over any number of buckets.
        self.numbered(((u128::from(hash) * self.buckets as u128) >> 64) as usize)
    }

    fn numbered(&self, number: usize) -> &[AtomicU64] {
        debug_assert!(number < self.buckets);
        // SAFETY: `number` is less than `buckets`, so that the bucket lies within the region, which is
        // valid and aligned by the contract of `open`. Any bytes are valid atomics.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr().add(number * BUCKET), BUCKET) }
    }
}

/// Writes to a free slot of the buckets, the emptier one first. `None`: there is none.
fn take(places: [&[AtomicU64]; 2], value: u64, now: u64) -> Option<&AtomicU64> {
    let free = |place: &[AtomicU64]| {
        place.iter().filter(|slot| is_free(slot.load(Ordering::SeqCst), now)).count()
    };
    let [one, other] = places;
    let order = if free(one) >= free(other) { [one, other] } else { [other, one] };
    order.into_iter().flatten().find(|slot| {
        let found = slot.load(Ordering::SeqCst);
        is_free(found, now)
            && slot.compare_exchange(found, value, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    })
}

fn is_noted(slot: &AtomicU64, name: u64, now: u64) -> bool {
    let found = slot.load(Ordering::SeqCst);
    found & !TIME_MASK == name && !is_free(found, now)
}

/// Whether the time of a slot is over. Times are kept modulo eight years: one that is further ahead than any
/// can be is long past.
fn is_free(slot: u64, now: u64) -> bool {
    let left = left(slot, now);
    slot == 0 || left == 0 || left > LONGEST_LEFT
}

/// How long a slot has to go that is not free, in units of [`TIME_UNIT`]; the one that runs counts.
fn left(slot: u64, now: u64) -> u64 {
    (slot & TIME_MASK).wrapping_sub(now / TIME_UNIT) & TIME_MASK
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// A table over memory of its own.
    struct Memory(Vec<u64>);

    impl Memory {
        fn new(buckets: usize) -> Self {
            Self(vec![0; buckets * BUCKET])
        }

        fn open(&mut self) -> Replays {
            let base = NonNull::new(self.0.as_mut_ptr().cast()).unwrap();
            // SAFETY: the handles of a test end before its memory, which nothing else uses meanwhile.
            unsafe { Replays::open(base, self.0.len() * 8) }.unwrap()
        }
    }

    fn hash(number: u32) -> [u8; 32] {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[test]
    fn a_proof_counts_once() {
        let mut memory = Memory::new(4);
        let (one, other) = (memory.open(), memory.open());
        assert_eq!(one.note(hash(1), NOW + 60, NOW), Use::First);
        assert_eq!(one.note(hash(1), NOW + 60, NOW), Use::Again);
        assert_eq!(other.note(hash(1), NOW + 60, NOW + 60), Use::Again);
        assert_eq!(other.note(hash(2), NOW + 60, NOW), Use::First);
        // Too old to be accepted by anyone.
        assert_eq!(one.note(hash(1), NOW + 60, NOW + 60 + SLACK - 1), Use::Again);
        assert_eq!(one.note(hash(1), NOW + 60, NOW + 60 + SLACK + TIME_UNIT), Use::First);
    }

    #[test]
    fn a_table_of_no_bucket_is_none() {
        let mut memory = Memory::new(1);
        let base = NonNull::new(memory.0.as_mut_ptr().cast::<u8>()).unwrap();
        // SAFETY: nothing is touched.
        unsafe {
            assert!(Replays::open(base, BUCKET * 8 - 1).is_none());
            assert!(Replays::open(base.add(4), BUCKET * 8).is_none());
        }
        assert_eq!(memory.open().capacity(), BUCKET);
    }

    #[test]
    fn what_does_not_fit_is_said_and_fits_later() {
        let mut memory = Memory::new(2);
        let replays = memory.open();
        let mut noted = Vec::new();
        for number in 0..100 {
            match replays.note(hash(number), NOW + 10, NOW) {
                Use::First => noted.push(number),
                Use::Full => {}
                Use::Again => panic!("{number} was not used"),
            }
        }
        assert!(noted.len() <= replays.capacity() && noted.len() > BUCKET);
        for &number in &noted {
            assert_eq!(replays.note(hash(number), NOW + 10, NOW + 10), Use::Again);
        }
        let later = NOW + 10 + SLACK + TIME_UNIT;
        assert_eq!(replays.note(hash(1_000), later + 60, later), Use::First);
    }

    #[test]
    fn a_large_table_is_full_by_four_fifths_before_it_says_so() {
        let mut memory = Memory::new(4_096);
        let replays = memory.open();
        let first_full =
            (0..).find(|&number| replays.note(hash(number), NOW + 60, NOW) == Use::Full);
        assert!(first_full.unwrap() as usize > replays.capacity() * 8 / 10, "{first_full:?}");
    }

    #[test]
    fn slots_of_long_ago_are_free() {
        let wrapped = (1 << TIME_BITS) * TIME_UNIT - Replays::LONGEST - 100;
        for ago in [60 + SLACK + TIME_UNIT, 3_600, 12 * 86_400, 366 * 86_400, wrapped] {
            let mut memory = Memory::new(1);
            let replays = memory.open();
            for number in 0..BUCKET as u32 {
                assert_eq!(replays.note(hash(number), NOW + 60, NOW), Use::First);
            }
            assert_eq!(replays.note(hash(99), NOW + ago + 60, NOW + ago), Use::First, "{ago}");
        }
    }

    #[test]
    fn a_table_of_another_size_takes_over_what_is_remembered() {
        for buckets in [1, 2, 3, 8, 16, 40, 100] {
            let (mut old, mut new) = (Memory::new(16), Memory::new(buckets));
            let (old, new) = (old.open(), new.open());
            // Two thirds of the table, of different ages, and some that are over.
            let until = |number: u32| NOW + u64::from(number % 50);
            let used: Vec<u32> = (0..170)
                .filter(|&number| old.note(hash(number), until(number), NOW) == Use::First)
                .collect();
            assert_eq!(used.len(), 170);
            let now = NOW + 20;
            new.copy_from(&old, now);
            for now in now..NOW + 60 {
                for &number in used.iter().filter(|&&number| now < until(number) + SLACK) {
                    let found = new.note(hash(number), until(number), now);
                    let expected = if buckets < 16 { found == Use::Full } else { false };
                    assert!(found == Use::Again || expected, "{number} in {buckets}: {found:?}");
                }
            }
            // When all are too old, nothing of them is left.
            for number in 1_000..1_000 + 8 * buckets as u32 {
                assert_eq!(new.note(hash(number), NOW + 200, NOW + 140), Use::First, "{buckets}");
            }
        }
    }

    #[test]
    fn threads_use_a_proof_at_most_once() {
        for round in 0..200 {
            let mut memory = Memory::new(2);
            let replays = memory.open();
            let used = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| replays.note(hash(round), NOW + 60, NOW)))
                    .collect();
                threads
                    .into_iter()
                    .filter_map(|thread| thread.join().ok())
                    .filter(|&noted| noted == Use::First)
                    .count()
            });
            assert!(used <= 1, "{used} uses");
            assert_eq!(replays.note(hash(round), NOW + 60, NOW), Use::Again);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the order and the times: nothing is accepted twice while it is not too old, and nothing
        /// is refused that was not used.
        #[test]
        fn as_a_map_would_say(uses in prop::collection::vec((0..40_u32, 0..90_u64, 0..5_u64), 1..300)) {
            let mut memory = Memory::new(3);
            let replays = memory.open();
            let mut known = HashMap::new();
            let mut now = NOW;
            for (number, life, pause) in uses {
                now += pause;
                let until = now + life;
                let may_be_known = |until: u64| now < until + SLACK + TIME_UNIT;
                match replays.note(hash(number), until, now) {
                    Use::First => {
                        prop_assert!(known.get(&number).is_none_or(|&until| now >= until + SLACK));
                        known.insert(number, until);
                    }
                    Use::Again => prop_assert!(known.get(&number).is_some_and(|&it| may_be_known(it))),
                    Use::Full => prop_assert!(known.values().filter(|&&it| may_be_known(it)).count() >= BUCKET),
                }
            }
        }
    }
}
