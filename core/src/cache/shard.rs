//! The entries of one shard: hash chains and budgets, and what is done with an entry.
//!
//! Active entries and small ones (inactive, expired) evict only their own kind beyond what each is
//! guaranteed, so that a flood of tokens that nobody issued pushes out no token that somebody did:
//!
//! - small entries never take more than an eighth of the units, and only units that are free;
//! - active entries may take all but a small reserve, also from the small ones.
//!
//! No link is trusted. One that cannot be right is a [`Fault`], after which the caller empties the shard.

use std::mem::MaybeUninit;

use super::body::Body;
use super::prefetch::prefetch;
use super::region::{Locked, bucket_number};
use super::unit::{DATA, Head, Key, NEAR, NONE, UNIT, Unit, units_for};
use super::{LookUp, Stored};
use crate::freshness::{Age, Freshness};
use crate::record::{Record, State, UnixMillis};

/// The content of the shard contradicts itself.
#[derive(Debug)]
pub(super) struct Fault;

/// Longer than any hash chain: keys are spread by a keyed hash, and a bucket holds about one entry, at
/// most four where every entry is small.
const LONGEST_CHAIN: usize = 256;

/// Units that small entries never take beyond, as a part of all.
const SMALL_LIMIT_PART: u32 = 8;
/// Units that active entries leave to small ones in any case, as a part of all, and at least.
const SMALL_RESERVE_PART: u32 = 128;
const SMALL_RESERVE_LEAST: u32 = 16;

/// A locked shard whose content is taken for what it should be.
pub(super) struct Shard<'a> {
    pub(super) locked: Locked<'a>,
}

impl<'a> Shard<'a> {
    /// Takes the shard up, emptied if an earlier owner left it half-changed.
    #[inline]
    pub(super) fn new(mut locked: Locked<'a>) -> Self {
        if locked.is_dirty() {
            locked.empty();
        }
        Self { locked }
    }

    /// Does `op` and gives the lock back. `None`: there was a fault and the shard is empty now.
    #[inline]
    pub(super) fn run<T>(mut self, op: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Option<T> {
        let result = op(&mut self);
        if result.is_err() {
            self.locked.empty();
        }
        self.locked.done();
        result.ok()
    }

    /// See [`super::Cache::look_up`].
    #[inline]
    pub(super) fn look_up<'b>(
        &mut self,
        key: &Key,
        now: UnixMillis,
        rules: &Freshness,
        room: impl FnOnce(usize) -> Option<&'b mut [MaybeUninit<u8>]>,
    ) -> Result<LookUp<'b>, Fault> {
        let Some(id) = self.find(key)? else { return Ok(LookUp::Miss) };
        let units = self.locked.units.len();
        let head = self.head_mut(id)?;
        let mut record = head.record().ok_or(Fault)?;
        let age = rules.age(&record, now);
        match record.state {
            State::Active if record.is_expired(now) => {
                record.state = State::Expired;
                self.expire(id, now)?;
                Ok(LookUp::Expired(record))
            }
            _ if age == Age::Over => Ok(LookUp::Miss),
            State::Active => {
                let (len, document_len) = (head.len(), head.jwt_len as usize);
                if len / DATA >= units {
                    return Err(Fault);
                }
                let Some(room) = room(len).and_then(|room| room.get_mut(..len)) else {
                    return Ok(LookUp::NoRoom);
                };
                head.mark();
                self.copy_body(id, room)?;
                // SAFETY: `copy_body` has written every byte.
                let body = unsafe { &mut *(std::ptr::from_mut(room) as *mut [u8]) };
                let (document, facts) = body.split_at_mut_checked(document_len).ok_or(Fault)?;
                Ok(LookUp::Active { document, facts, record, age })
            }
            State::Inactive => {
                head.mark();
                Ok(LookUp::Inactive(record))
            }
            State::Expired => {
                head.mark();
                Ok(LookUp::Expired(record))
            }
        }
    }

    /// See [`super::Cache::glance`].
    pub(super) fn glance(&mut self, key: &Key) -> Result<Option<Record>, Fault> {
        let Some(id) = self.find(key)? else { return Ok(None) };
        let head = self.head_mut(id)?;
        let record = head.record().ok_or(Fault)?;
        head.mark();
        Ok(Some(record))
    }

    /// See [`super::Cache::store`].
    pub(super) fn store(
        &mut self,
        key: &Key,
        record: &Record,
        body: Body<'_>,
        now: UnixMillis,
    ) -> Result<Stored, Fault> {
        let known = self.find(key)?;
        if let Some(id) = known
            && self.outdates(id, record.confirmed, now)?
        {
            return Ok(Stored::Outdated);
        }
        self.locked.change();
        if let Some(id) = known {
            self.drop_entry(id)?;
        }
        let need = units_for(body.len());
        let is_long =
            u32::try_from(body.len()).is_err() || u16::try_from(body.facts.len()).is_err();
        if need > self.active_limit() as usize || is_long {
            return Ok(Stored::TooLarge);
        }
        let need = need as u32;
        self.make_room(record.state, need, now)?;
        let id = self.insert(key, record, body)?;
        // Whoever asked the server again wanted the entry that was there.
        self.head_mut(id)?.used = u16::from(known.is_some());
        self.link_newest(id, record.state, need)?;
        self.hash(key, id)?;
        Ok(Stored::Stored)
    }

    /// See [`super::Cache::remove`].
    pub(super) fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        let Some(id) = self.find(key)? else { return Ok(false) };
        self.locked.change();
        self.drop_entry(id)?;
        Ok(true)
    }

    /// See [`super::Cache::remove_older`].
    pub(super) fn remove_older(
        &mut self,
        key: &Key,
        asked: UnixMillis,
        now: UnixMillis,
    ) -> Result<bool, Fault> {
        match self.find(key)? {
            Some(id) if !self.outdates(id, asked, now)? => {
                self.locked.change();
                self.drop_entry(id)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether an entry is the answer to a later question than one of `asked`. One from the future is not: the
    /// clock was set back.
    fn outdates(&self, id: u32, asked: UnixMillis, now: UnixMillis) -> Result<bool, Fault> {
        let known = self.head(id)?.record().ok_or(Fault)?.confirmed;
        Ok(known > asked && known <= now)
    }

    pub(super) fn state(&self) -> &super::region::State {
        self.locked.state
    }

    pub(super) fn buckets(&self) -> &[u32] {
        self.locked.buckets
    }

    pub(super) fn total(&self) -> u32 {
        self.locked.units.len() as u32
    }

    pub(super) fn small_limit(&self) -> u32 {
        (self.total() / SMALL_LIMIT_PART).max(self.small_reserve())
    }

    fn small_reserve(&self) -> u32 {
        (self.total() / SMALL_RESERVE_PART).max(SMALL_RESERVE_LEAST)
    }

    pub(super) fn active_limit(&self) -> u32 {
        self.total().saturating_sub(self.small_reserve())
    }

    /// The entry of this number, if it is one.
    #[inline]
    pub(super) fn head(&self, id: u32) -> Result<&Head, Fault> {
        self.locked
            .units
            .get(id.wrapping_sub(1) as usize)
            .filter(|unit| unit.owner() == id)
            .map(Unit::head)
            .ok_or(Fault)
    }

    #[inline]
    pub(super) fn head_mut(&mut self, id: u32) -> Result<&mut Head, Fault> {
        self.owned_mut(id, id).map(Unit::head_mut)
    }

    /// The unit of this number, if it belongs to `owner`.
    #[inline]
    pub(super) fn owned(&self, owner: u32, unit: u32) -> Result<&Unit, Fault> {
        self.locked
            .units
            .get(unit.wrapping_sub(1) as usize)
            .filter(|unit| unit.owner() == owner)
            .ok_or(Fault)
    }

    #[inline]
    pub(super) fn owned_mut(&mut self, owner: u32, unit: u32) -> Result<&mut Unit, Fault> {
        self.locked
            .units
            .get_mut(unit.wrapping_sub(1) as usize)
            .filter(|unit| unit.owner() == owner)
            .ok_or(Fault)
    }

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
    fn unhash(&mut self, id: u32) -> Result<(), Fault> {
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

    /// Removes an entry from everything and frees its units.
    pub(super) fn drop_entry(&mut self, id: u32) -> Result<(), Fault> {
        let state = self.head(id)?.record().ok_or(Fault)?.state;
        self.unhash(id)?;
        let body = self.free_body(id)?;
        self.unlink(id, state, body.saturating_add(1))?;
        self.free(id, id)
    }

    /// Turns an active entry into a small one that says "expired". Its body is overwritten.
    #[cold]
    fn expire(&mut self, id: u32, now: UnixMillis) -> Result<(), Fault> {
        self.locked.change();
        let body = self.free_body(id)?;
        self.unlink(id, State::Active, body.saturating_add(1))?;
        while self.list(State::Expired).units >= self.small_limit() {
            self.evict(State::Expired, now)?;
        }
        self.head_mut(id)?.set_state(State::Expired);
        self.link_newest(id, State::Expired, 1)
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::super::Cache;
    use super::super::region::Region;
    use super::*;
    use crate::record::{CacheDirectives, Document};

    #[test]
    fn every_bit_of_the_key_counts() {
        let mut memory = vec![0_u64; Cache::MIN_SIZE / 8];
        let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        // SAFETY: the memory is the region's alone and outlives it.
        let region = unsafe { Region::create(base, Cache::MIN_SIZE, [0; 32]) }.unwrap();
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
