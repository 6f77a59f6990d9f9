//! Which entry goes when there is no room: the second chance, once per list.
//!
//! A list is in the order in which its entries came. A hit does not move its entry but marks it, so that
//! it writes to nothing but the entry itself, and most often not even there. An entry that is at its
//! list's end and has the mark loses it and begins anew as the newest; one that has none goes.
//!
//! Active entries and small ones (inactive, expired) evict only their own kind beyond what each is
//! guaranteed, so that a flood of tokens that nobody issued pushes out no token that somebody did:
//!
//! - small entries never take more than an eighth of the units, and only units that are free;
//! - active entries may take all but a small reserve, also from the small ones.

use super::region::List;
use super::shard::{Fault, Shard};
use super::unit::{Head, NONE};
use crate::record::{State, UnixMillis};

/// Entries that begin anew for one eviction, at most: the lock is held meanwhile.
const LONGEST_SEARCH: usize = 64;

/// Units that small entries never take beyond, as a part of all.
const SMALL_LIMIT_PART: u32 = 8;
/// Units that active entries leave to small ones in any case, as a part of all, and at least.
const SMALL_RESERVE_PART: u32 = 128;
const SMALL_RESERVE_LEAST: u32 = 16;

impl Head {
    /// Marks an entry as asked for. The mark is no link: a process that dies here leaves nothing half-done.
    #[inline]
    pub(super) fn mark(&mut self) {
        if self.used == 0 {
            self.used = 1;
        }
    }
}

impl Shard<'_> {
    pub(super) fn list(&mut self, state: State) -> &mut List {
        match state {
            State::Active => &mut self.locked.state.active,
            State::Inactive | State::Expired => &mut self.locked.state.small,
        }
    }

    /// Puts an entry at the newest end of its list, which counts `units` more.
    pub(super) fn link_newest(&mut self, id: u32, state: State, units: u32) -> Result<(), Fault> {
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

    /// Puts an entry at the oldest end of its list, which counts `units` more.
    pub(super) fn link_oldest(&mut self, id: u32, state: State, units: u32) -> Result<(), Fault> {
        let list = self.list(state);
        list.entries = list.entries.checked_add(1).ok_or(Fault)?;
        list.units = list.units.checked_add(units).ok_or(Fault)?;
        let newer = std::mem::replace(&mut list.oldest, id);
        if newer == NONE {
            list.newest = id;
        } else {
            self.head_mut(newer)?.older = id;
        }
        let head = self.head_mut(id)?;
        head.newer = newer;
        head.older = NONE;
        Ok(())
    }

    /// Takes an entry out of its list, which counts `units` less.
    pub(super) fn unlink(&mut self, id: u32, state: State, units: u32) -> Result<(), Fault> {
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

    /// Evicts until `units` more can be had for an entry in this state.
    pub(super) fn make_room(
        &mut self,
        state: State,
        units: u32,
        now: UnixMillis,
    ) -> Result<(), Fault> {
        let limit = self.limit(state);
        while self.list(state).units.saturating_add(units) > limit {
            self.evict(state, now)?;
        }
        // What active entries leave is more than the reserve: there are small ones as long as it is full.
        while self.unused()? < units {
            self.evict(State::Inactive, now)?;
        }
        Ok(())
    }

    /// The units that a list may have.
    pub(super) fn limit(&self, state: State) -> u32 {
        match state {
            State::Active => self.active_limit(),
            State::Inactive | State::Expired => self.small_limit(),
        }
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

    pub(super) fn unused(&self) -> Result<u32, Fault> {
        let state = &self.locked.state;
        let used = state.active.units.checked_add(state.small.units).ok_or(Fault)?;
        self.total().checked_sub(used).ok_or(Fault)
    }

    /// Drops the oldest entry that nobody has asked for since it came to where it is, or whose document
    /// is past its `exp`.
    pub(super) fn evict(&mut self, state: State, now: UnixMillis) -> Result<(), Fault> {
        let list = self.list(state);
        list.evictions = list.evictions.wrapping_add(1);
        for _ in 0..LONGEST_SEARCH {
            let id = self.list(state).oldest;
            let head = self.head_mut(id)?;
            if head.used == 0 || (state == State::Active && head.is_over(now)) {
                break;
            }
            head.used = 0;
            self.unlink(id, state, 0)?;
            self.link_newest(id, state, 0)?;
        }
        let id = self.list(state).oldest;
        self.drop_entry(id)
    }

    /// Removes an entry from everything and frees its units.
    pub(super) fn drop_entry(&mut self, id: u32) -> Result<(), Fault> {
        let state = self.head(id)?.record().ok_or(Fault)?.state;
        self.unhash(id)?;
        let body = self.free_body(id)?;
        self.unlink(id, state, body.saturating_add(1))?;
        self.free(id, id)
    }
}
