//! The entries of one shard: hash chains, the two lists in order of use, their budgets, the pool of units.
//!
//! Active entries and small ones (inactive, expired) evict only their own kind beyond what each is
//! guaranteed, so that a flood of tokens that nobody issued pushes out no token that somebody did:
//!
//! - small entries never take more than an eighth of the units, and only units that are free;
//! - active entries may take all but a small reserve, also from the small ones.
//!
//! No link is trusted. One that cannot be right is a [`Fault`], after which the caller empties the shard.

use super::region::{List, Locked};
use super::unit::{DATA, FAR, Head, Index, NEAR, NONE, Unit, units_for};
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
    locked: Locked<'a>,
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
        key: &[u8; 32],
        now: UnixMillis,
        rules: &Freshness,
        room: impl FnOnce(usize) -> Option<&'b mut [u8]>,
    ) -> Result<LookUp<'b>, Fault> {
        let Some(id) = self.find(key)? else { return Ok(LookUp::Miss) };
        let head = self.head(id)?;
        let mut record = head.record().ok_or(Fault)?;
        let age = rules.age(&record, now);
        match record.state {
            State::Active if record.is_expired(now) => {
                record.state = State::Expired;
                self.expire(id)?;
                Ok(LookUp::Expired(record))
            }
            _ if age == Age::Over => Ok(LookUp::Miss),
            State::Active => {
                let len = head.jwt_len as usize;
                if len / DATA >= self.locked.units.len() {
                    return Err(Fault);
                }
                let Some(document) = room(len).and_then(|room| room.get_mut(..len)) else {
                    return Ok(LookUp::NoRoom);
                };
                self.copy_jwt(id, document)?;
                self.touch(id, record.state)?;
                Ok(LookUp::Active { document, record, age })
            }
            State::Inactive => {
                self.touch(id, record.state)?;
                Ok(LookUp::Inactive(record))
            }
            State::Expired => {
                self.touch(id, record.state)?;
                Ok(LookUp::Expired(record))
            }
        }
    }

    /// See [`super::Cache::store`].
    pub(super) fn store(
        &mut self,
        key: &[u8; 32],
        record: &Record,
        jwt: &[u8],
        now: UnixMillis,
    ) -> Result<Stored, Fault> {
        let known = self.find(key)?;
        if let Some(id) = known {
            let known = self.head(id)?.record().ok_or(Fault)?;
            if known.confirmed > record.confirmed && known.confirmed <= now {
                return Ok(Stored::Outdated);
            }
        }
        self.locked.change();
        if let Some(id) = known {
            self.drop_entry(id)?;
        }
        let need = units_for(jwt.len());
        if need > self.active_limit() as usize || u32::try_from(jwt.len()).is_err() {
            return Ok(Stored::TooLarge);
        }
        let need = need as u32;
        self.make_room(record.state, need)?;
        let id = self.insert(key, record, jwt)?;
        self.link_newest(id, record.state, need)?;
        let bucket = self.bucket(key)?;
        let first = std::mem::replace(bucket, id);
        self.head_mut(id)?.hash_next = first;
        Ok(Stored::Stored)
    }

    /// See [`super::Cache::remove`].
    pub(super) fn remove(&mut self, key: &[u8; 32]) -> Result<bool, Fault> {
        let Some(id) = self.find(key)? else { return Ok(false) };
        self.locked.change();
        self.drop_entry(id)?;
        Ok(true)
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
    fn head_mut(&mut self, id: u32) -> Result<&mut Head, Fault> {
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
    fn owned_mut(&mut self, owner: u32, unit: u32) -> Result<&mut Unit, Fault> {
        self.locked
            .units
            .get_mut(unit.wrapping_sub(1) as usize)
            .filter(|unit| unit.owner() == owner)
            .ok_or(Fault)
    }

    /// The bucket of a key. Its first four bytes have chosen the shard; the next four choose here.
    #[inline]
    pub(super) fn bucket_number(&self, key: &[u8; 32]) -> usize {
        let [_, _, _, _, a, b, c, d, ..] = *key;
        let spread = u64::from(u32::from_le_bytes([a, b, c, d]));
        ((spread * self.locked.buckets.len() as u64) >> 32) as usize
    }

    fn bucket(&mut self, key: &[u8; 32]) -> Result<&mut u32, Fault> {
        let number = self.bucket_number(key);
        self.locked.buckets.get_mut(number).ok_or(Fault)
    }

    #[inline]
    fn find(&self, key: &[u8; 32]) -> Result<Option<u32>, Fault> {
        let mut id = *self.locked.buckets.get(self.bucket_number(key)).ok_or(Fault)?;
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

    /// Copies the JWT of an entry to `out`, which has its length.
    ///
    /// The neighbours in the list are not needed before [`Shard::touch`]. They are asked for here because in
    /// a large cache they come from far away, and meanwhile the copying goes on: a fifth of a hit's time.
    #[inline]
    fn copy_jwt(&self, id: u32, out: &mut [u8]) -> Result<(), Fault> {
        let head = self.head(id)?;
        for &neighbour in &[head.newer, head.older] {
            if neighbour != NONE {
                self.head(neighbour)?;
            }
        }
        let (whole, rest) = out.as_chunks_mut::<DATA>();
        for (&unit, piece) in head.near.iter().zip(whole.iter_mut()) {
            *piece = self.owned(id, unit)?.data().bytes;
        }
        if let Some(&unit) = head.near.get(whole.len()) {
            return self.copy_rest(id, unit, rest);
        }
        self.copy_far(id, head.index, whole, rest)
    }

    /// Copies the last piece of a JWT, which may be empty.
    fn copy_rest(&self, id: u32, unit: u32, rest: &mut [u8]) -> Result<(), Fault> {
        if !rest.is_empty() {
            let bytes = &self.owned(id, unit)?.data().bytes;
            rest.copy_from_slice(bytes.get(..rest.len()).ok_or(Fault)?);
        }
        Ok(())
    }

    /// Copies what the index units name.
    fn copy_far(
        &self,
        id: u32,
        mut page: u32,
        whole: &mut [[u8; DATA]],
        rest: &mut [u8],
    ) -> Result<(), Fault> {
        let mut pieces = whole.iter_mut().skip(NEAR);
        loop {
            if pieces.len() == 0 && rest.is_empty() {
                return Ok(());
            }
            let index = self.owned(id, page)?.index();
            let copied = pieces.len();
            for (&unit, piece) in index.units.iter().zip(pieces.by_ref()) {
                *piece = self.owned(id, unit)?.data().bytes;
            }
            if let Some(&unit) = index.units.get(copied) {
                return self.copy_rest(id, unit, rest);
            }
            page = index.next;
        }
    }

    fn list(&mut self, state: State) -> &mut List {
        match state {
            State::Active => &mut self.locked.state.active,
            State::Inactive | State::Expired => &mut self.locked.state.small,
        }
    }

    /// Makes an entry the most recently used of its list.
    #[inline]
    fn touch(&mut self, id: u32, state: State) -> Result<(), Fault> {
        if self.list(state).newest == id {
            return Ok(());
        }
        self.locked.change();
        self.unlink(id, state, 0)?;
        self.link_newest(id, state, 0)
    }

    /// Puts an entry at the head of its list, which counts `units` more.
    fn link_newest(&mut self, id: u32, state: State, units: u32) -> Result<(), Fault> {
        let list = self.list(state);
        list.entries = list.entries.checked_add(1).ok_or(Fault)?;
        list.units = list.units.checked_add(units).ok_or(Fault)?;
        let older = std::mem::replace(&mut list.newest, id);
        if older == NONE {
            list.oldest = id;
        } else {
            self.head_mut(older)?.newer = id;
        }
        let head = self.head_mut(id)?;
        head.newer = NONE;
        head.older = older;
        Ok(())
    }

    /// Takes an entry out of its list, which counts `units` less.
    fn unlink(&mut self, id: u32, state: State, units: u32) -> Result<(), Fault> {
        let head = self.head(id)?;
        let (newer, older) = (head.newer, head.older);
        if newer != NONE {
            self.head_mut(newer)?.older = older;
        }
        if older != NONE {
            self.head_mut(older)?.newer = newer;
        }
        let list = self.list(state);
        if newer == NONE {
            list.newest = older;
        }
        if older == NONE {
            list.oldest = newer;
        }
        list.entries = list.entries.checked_sub(1).ok_or(Fault)?;
        list.units = list.units.checked_sub(units).ok_or(Fault)?;
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
    fn drop_entry(&mut self, id: u32) -> Result<(), Fault> {
        let state = self.head(id)?.record().ok_or(Fault)?.state;
        self.unhash(id)?;
        let body = self.free_jwt(id)?;
        self.unlink(id, state, body.saturating_add(1))?;
        self.free(id, id)
    }

    /// Evicts until `units` more can be had for an entry in this state.
    fn make_room(&mut self, state: State, units: u32) -> Result<(), Fault> {
        let limit = match state {
            State::Active => self.active_limit(),
            State::Inactive | State::Expired => self.small_limit(),
        };
        while self.list(state).units.saturating_add(units) > limit {
            self.evict(state)?;
        }
        // What active entries leave is more than the reserve: there are small ones as long as it is full.
        while self.unused()? < units {
            self.evict(State::Inactive)?;
        }
        Ok(())
    }

    fn unused(&self) -> Result<u32, Fault> {
        let state = &self.locked.state;
        let used = state.active.units.checked_add(state.small.units).ok_or(Fault)?;
        self.total().checked_sub(used).ok_or(Fault)
    }

    /// Drops the least recently used entry of a list.
    fn evict(&mut self, state: State) -> Result<(), Fault> {
        let list = self.list(state);
        list.evictions = list.evictions.wrapping_add(1);
        let oldest = list.oldest;
        self.drop_entry(oldest)
    }

    /// Turns an active entry into a small one that says "expired". Its JWT is overwritten.
    #[cold]
    fn expire(&mut self, id: u32) -> Result<(), Fault> {
        self.locked.change();
        let body = self.free_jwt(id)?;
        self.unlink(id, State::Active, body.saturating_add(1))?;
        while self.list(State::Expired).units >= self.small_limit() {
            self.evict(State::Expired)?;
        }
        self.head_mut(id)?.set_state(State::Expired);
        self.link_newest(id, State::Expired, 1)
    }

    /// Writes an entry that is in no list and no chain yet.
    fn insert(&mut self, key: &[u8; 32], record: &Record, jwt: &[u8]) -> Result<u32, Fault> {
        let id = self.allocate()?;
        let mut head = Head::new(id, *key, record);
        head.jwt_len = jwt.len() as u32;
        let mut pieces = jwt.chunks(DATA);
        for (unit, piece) in head.near.iter_mut().zip(pieces.by_ref()) {
            *unit = self.insert_piece(id, piece)?;
        }
        let mut last = NONE;
        while pieces.len() > 0 {
            let page = self.allocate()?;
            let mut index = Index { owner: id, next: NONE, units: [NONE; FAR] };
            for (unit, piece) in index.units.iter_mut().zip(pieces.by_ref()) {
                *unit = self.insert_piece(id, piece)?;
            }
            *self.owned_mut(NONE, page)?.index_mut() = index;
            if last == NONE {
                head.index = page;
            } else {
                self.owned_mut(id, last)?.index_mut().next = page;
            }
            last = page;
        }
        *self.owned_mut(NONE, id)?.head_mut() = head;
        Ok(id)
    }

    fn insert_piece(&mut self, id: u32, piece: &[u8]) -> Result<u32, Fault> {
        let unit = self.allocate()?;
        self.owned_mut(NONE, unit)?.fill(id, piece);
        Ok(unit)
    }

    /// Takes a unit from the pool. It is still marked as a free one.
    fn allocate(&mut self) -> Result<u32, Fault> {
        let free = self.locked.state.free;
        if free != NONE {
            self.locked.state.free = self.owned(NONE, free)?.index().next;
            return Ok(free);
        }
        let touched = self.locked.state.touched;
        if touched >= self.total() {
            return Err(Fault);
        }
        let unit = touched + 1;
        self.locked.state.touched = unit;
        Ok(unit)
    }

    /// Overwrites a unit and gives it back to the pool.
    fn free(&mut self, owner: u32, unit: u32) -> Result<(), Fault> {
        let next = self.locked.state.free;
        self.owned_mut(owner, unit)?.clear(next);
        self.locked.state.free = unit;
        Ok(())
    }

    /// Frees the units of an entry's JWT; says how many.
    ///
    /// Backwards as far as that goes: the pool is a stack, and the next entry of the same size then finds
    /// its units in the order of their addresses, as this one did.
    fn free_jwt(&mut self, id: u32) -> Result<u32, Fault> {
        let head = *self.head(id)?;
        let len = head.jwt_len as usize;
        let data = len.div_ceil(DATA);
        let mut far = data.saturating_sub(NEAR);
        let mut page = head.index;
        while far > 0 {
            let index = *self.owned(id, page)?.index();
            let here = far.min(FAR);
            for &unit in index.units.iter().take(here).rev() {
                self.free(id, unit)?;
            }
            self.free(id, page)?;
            page = index.next;
            far -= here;
        }
        for &unit in head.near.iter().take(data).rev() {
            self.free(id, unit)?;
        }
        let head = self.head_mut(id)?;
        head.jwt_len = 0;
        head.index = NONE;
        head.near = [NONE; NEAR];
        Ok((units_for(len) - 1) as u32)
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
        shard.store(&[0x5a; 32], &record, b"", 0).unwrap();
        assert!(shard.find(&[0x5a; 32]).unwrap().is_some());
        // All of these, but for some of the bits that choose the bucket, look into the same chain.
        for bit in 0..256 {
            let mut key = [0x5a; 32];
            key[bit / 8] ^= 1 << (bit % 8);
            assert!(shard.find(&key).unwrap().is_none(), "bit {bit}");
        }
    }
}
