//! What an entry is made of: units from the pool, the body in them, and back.

use std::mem::MaybeUninit;

use std::sync::atomic::{Ordering, compiler_fence};

use super::shard::{Fault, Shard};
use super::unit::{DATA, FAR, FIRST, Head, Index, Key, NEAR, NONE, data_units, units_for};
use crate::record::Record;

/// What is kept for an active token beside its record.
#[derive(Clone, Copy, Default)]
pub struct Body<'a> {
    /// What [`Record::document`] says.
    pub document: &'a [u8],
    /// Facts of [`crate::facts`], which the cache does not look into; empty: none.
    pub facts: &'a [u8],
}

/// A document without facts.
impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Body<'a> {
    fn from(document: &'a T) -> Self {
        Self { document: document.as_ref(), facts: &[] }
    }
}

impl Body<'_> {
    pub(super) fn len(&self) -> usize {
        self.document.len().saturating_add(self.facts.len())
    }

    /// Moves as many bytes as there are, from the beginning, to `place`.
    fn take(&mut self, place: &mut [u8]) {
        let mut taken = 0;
        for from in [&mut self.document, &mut self.facts] {
            let place = place.get_mut(taken..).unwrap_or_default();
            let (piece, rest) = from.split_at(from.len().min(place.len()));
            place.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
            taken += piece.len();
            *from = rest;
        }
    }
}

/// A byte of memory that is initialised, or that need not be.
pub(super) trait Byte: Copy {
    /// Initialised bytes as such.
    fn of(bytes: &[u8]) -> &[Self];
}

impl Byte for u8 {
    #[inline]
    fn of(bytes: &[u8]) -> &[Self] {
        bytes
    }
}

impl Byte for MaybeUninit<u8> {
    #[inline]
    fn of(bytes: &[u8]) -> &[Self] {
        // SAFETY: of the same layout; what is initialised may be read as what need not be.
        unsafe { &*(std::ptr::from_ref(bytes) as *const [Self]) }
    }
}

/// Writes to a place the bytes that it has room for, which are as many. A loop over single bytes is none that the
/// compiler makes one copy of: it does not know that place and bytes are apart.
#[inline]
fn put<B: Byte>(place: &mut [B], bytes: &[u8]) {
    place.copy_from_slice(B::of(bytes));
}

impl Shard<'_> {
    /// Copies the body of an entry to `out`, which has its length. On `Ok` every byte of it was written.
    #[inline]
    pub(super) fn copy_body<B: Byte>(&self, id: u32, out: &mut [B]) -> Result<(), Fault> {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.copy_wide(id, out) };
        }
        self.copy(id, out)
    }

    /// The same by registers twice as wide as those that every processor has: half as many moves.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx")]
    fn copy_wide<B: Byte>(&self, id: u32, out: &mut [B]) -> Result<(), Fault> {
        self.copy(id, out)
    }

    // Into both of its callers, which are compiled for different processors.
    #[inline(always)]
    fn copy<B: Byte>(&self, id: u32, out: &mut [B]) -> Result<(), Fault> {
        let head = self.head(id)?;
        let Some((first, out)) = out.split_first_chunk_mut::<FIRST>() else {
            put(out, head.first.get(..out.len()).ok_or(Fault)?);
            return Ok(());
        };
        put(first, &head.first);
        let (whole, rest) = out.as_chunks_mut::<DATA>();
        if whole.len() + usize::from(!rest.is_empty()) > NEAR {
            return self.copy_far(id, &head.near, whole, rest);
        }
        for (&unit, piece) in head.near.iter().zip(whole.iter_mut()) {
            put(piece, &self.owned(id, unit)?.data().bytes);
        }
        match head.near.get(whole.len()) {
            Some(&unit) => self.copy_rest(id, unit, rest),
            None => Ok(()),
        }
    }

    /// Copies the last piece of a body, which may be empty.
    fn copy_rest<B: Byte>(&self, id: u32, unit: u32, rest: &mut [B]) -> Result<(), Fault> {
        if !rest.is_empty() {
            let bytes = &self.owned(id, unit)?.data().bytes;
            put(rest, bytes.get(..rest.len()).ok_or(Fault)?);
        }
        Ok(())
    }

    /// Copies what the head and the index units name.
    fn copy_far<B: Byte>(
        &self,
        id: u32,
        near: &[u32; NEAR],
        whole: &mut [[B; DATA]],
        rest: &mut [B],
    ) -> Result<(), Fault> {
        let [near @ .., page] = near;
        let mut page = *page;
        let mut pieces = whole.iter_mut();
        for (&unit, piece) in near.iter().zip(pieces.by_ref()) {
            put(piece, &self.owned(id, unit)?.data().bytes);
        }
        loop {
            if pieces.len() == 0 && rest.is_empty() {
                return Ok(());
            }
            let index = self.owned(id, page)?.index();
            let copied = pieces.len();
            for (&unit, piece) in index.units.iter().zip(pieces.by_ref()) {
                put(piece, &self.owned(id, unit)?.data().bytes);
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
        key: &Key,
        record: &Record,
        mut body: Body<'_>,
    ) -> Result<u32, Fault> {
        let id = self.allocate()?;
        let mut head = Head::new(id, *key, record);
        (head.jwt_len, head.facts_len) = (body.document.len() as u32, body.facts.len() as u16);
        let (mut left, near) = data_units(body.len());
        body.take(&mut head.first);
        for unit in head.near.iter_mut().take(near) {
            *unit = self.insert_piece(id, &mut body)?;
        }
        left -= near;
        let [.., first_page] = &mut head.near;
        let mut last = NONE;
        while left > 0 {
            let page = self.allocate()?;
            let mut index = Index { owner: id, next: NONE, units: [NONE; FAR] };
            for unit in index.units.iter_mut().take(left) {
                *unit = self.insert_piece(id, &mut body)?;
            }
            left = left.saturating_sub(FAR);
            *self.owned_mut(NONE, page)?.index_mut() = index;
            if last == NONE {
                *first_page = page;
            } else {
                self.owned_mut(id, last)?.index_mut().next = page;
            }
            last = page;
        }
        *self.owned_mut(NONE, id)?.head_mut() = head;
        Ok(id)
    }

    fn insert_piece(&mut self, id: u32, body: &mut Body<'_>) -> Result<u32, Fault> {
        let unit = self.allocate()?;
        let mut bytes = [0; DATA];
        body.take(&mut bytes);
        self.owned_mut(NONE, unit)?.fill(id, bytes);
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

    /// Overwrites an entry's body and frees its units; says how many.
    ///
    /// Backwards as far as that goes: the pool is a stack, and the next entry of the same size then finds
    /// its units in the order of their addresses, as this one did.
    pub(super) fn free_body(&mut self, id: u32) -> Result<u32, Fault> {
        let head = *self.head(id)?;
        let (data, near) = data_units(head.len());
        let mut far = data - near;
        let [.., mut page] = head.near;
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
        for &unit in head.near.iter().take(near).rev() {
            self.free(id, unit)?;
        }
        let freed = units_for(head.len()) - 1;
        let head = self.head_mut(id)?;
        head.jwt_len = 0;
        head.facts_len = 0;
        head.first = [0; FIRST];
        head.near = [NONE; NEAR];
        Ok(freed as u32)
    }
}
