//! What an entry is made of: units from the pool, the JWT in them, and back.

use std::sync::atomic::{Ordering, compiler_fence};

use super::shard::{Fault, Shard};
use super::unit::{DATA, FAR, Head, Index, NEAR, NONE, units_for};
use crate::record::Record;

impl Shard<'_> {
    /// Copies the JWT of an entry to `out`, which has its length.
    #[inline]
    pub(super) fn copy_jwt(&self, id: u32, out: &mut [u8]) -> Result<(), Fault> {
        let head = self.head(id)?;
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

    /// Writes an entry that is in no list and no chain yet.
    pub(super) fn insert(
        &mut self,
        key: &[u8; 32],
        record: &Record,
        jwt: &[u8],
    ) -> Result<u32, Fault> {
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
        // Before the unit is written: after a kill the shard is emptied no further than this.
        compiler_fence(Ordering::Release);
        Ok(unit)
    }

    /// Overwrites a unit and gives it back to the pool.
    pub(super) fn free(&mut self, owner: u32, unit: u32) -> Result<(), Fault> {
        let next = self.locked.state.free;
        self.owned_mut(owner, unit)?.clear(next);
        self.locked.state.free = unit;
        Ok(())
    }

    /// Frees the units of an entry's JWT; says how many.
    ///
    /// Backwards as far as that goes: the pool is a stack, and the next entry of the same size then finds
    /// its units in the order of their addresses, as this one did.
    pub(super) fn free_jwt(&mut self, id: u32) -> Result<u32, Fault> {
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
