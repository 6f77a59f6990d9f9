//! Hash chains: an entry is found by its key.

use super::prefetch::prefetch;
use super::region::bucket_number;
use super::shard::{Fault, Shard};
use super::unit::{Key, NEAR, NONE, UNIT};

/// Longer than any hash chain: keys are spread by a keyed hash, and a bucket holds about one entry, at
/// most four where every entry is small.
const LONGEST_CHAIN: usize = 256;

impl Shard<'_> {
    #[inline]
    pub(super) fn bucket_number(&self, key: &Key) -> usize {
        bucket_number(key, self.locked.buckets.len())
    }

    fn bucket(&mut self, key: &Key) -> Result<&mut u32, Fault> {
        let number = self.bucket_number(key);
        self.locked.buckets.get_mut(number).ok_or(Fault)
    }

    /// Has the processor fetch a whole entry while only its number is known, as if its units lay side by
    /// side, which they do unless sizes are very mixed. In a large cache this is one way to memory less.
    #[inline]
    fn expect_entry(&self, id: u32) {
        if id != NONE {
            let first = self.locked.units.as_ptr().wrapping_add(id.wrapping_sub(1) as usize);
            prefetch::<{ (1 + NEAR) * UNIT }>(first.cast());
        }
    }

    #[inline]
    pub(super) fn find(&self, key: &Key) -> Result<Option<u32>, Fault> {
        let mut id = *self.locked.buckets.get(self.bucket_number(key)).ok_or(Fault)?;
        self.expect_entry(id);
        for _ in 0..LONGEST_CHAIN {
            if id == NONE {
                return Ok(None);
            }
            let head = self.head(id)?;
            if head.key == *key {
                return Ok(Some(id));
            }
            id = head.hash_next;
        }
        Err(Fault)
    }

    /// Puts an entry into its hash chain.
    pub(super) fn hash(&mut self, key: &Key, id: u32) -> Result<(), Fault> {
        let first = std::mem::replace(self.bucket(key)?, id);
        self.head_mut(id)?.hash_next = first;
        Ok(())
    }

    /// Takes an entry out of its hash chain.
    pub(super) fn unhash(&mut self, id: u32) -> Result<(), Fault> {
        let head = self.head(id)?;
        let (key, next) = (head.key, head.hash_next);
        let first = self.bucket(&key)?;
        if *first == id {
            *first = next;
            return Ok(());
        }
        let mut before = *first;
        for _ in 0..LONGEST_CHAIN {
            let head = self.head_mut(before)?;
            if head.hash_next == id {
                head.hash_next = next;
                return Ok(());
            }
            before = head.hash_next;
        }
        Err(Fault)
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::super::body::Body;
    use super::super::region::{MIN_SIZE, Region};
    use super::*;
    use crate::record::{CacheDirectives, Document, Record, State};

    #[test]
    fn every_bit_of_the_key_counts() {
        let mut memory = vec![0_u64; MIN_SIZE / 8];
        let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        // SAFETY: the memory is the region's alone and outlives it.
        let region = unsafe { Region::create(base, MIN_SIZE, [0; 32]) }.unwrap();
        let directives = CacheDirectives::default();
        let record = Record {
            state: State::Inactive,
            confirmed: 0,
            expires: None,
            directives,
            document: Document::Jwt,
            bound: false,
        };
        let mut shard = Shard::new(region.lock(0).unwrap());
        shard.store(&[0x5a; 20], &record, Body::default(), 0).unwrap();
        assert!(shard.find(&[0x5a; 20]).unwrap().is_some());
        // All of these, but for some of the bits that choose the bucket, look into the same chain.
        for bit in 0..160 {
            let mut key = [0x5a; 20];
            key[bit / 8] ^= 1 << (bit % 8);
            assert!(shard.find(&key).unwrap().is_none(), "bit {bit}");
        }
    }
}
