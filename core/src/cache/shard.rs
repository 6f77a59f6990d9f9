//! One locked shard, whose units are reached by their numbers.
//!
//! No link is trusted. One that cannot be right is a [`Fault`], after which the caller empties the shard.

use super::region::{Locked, State};
use super::unit::{Head, Unit};

/// The content of the shard contradicts itself.
#[derive(Debug)]
pub(super) struct Fault;

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

    pub(super) fn state(&self) -> &State {
        self.locked.state
    }

    pub(super) fn buckets(&self) -> &[u32] {
        self.locked.buckets
    }

    pub(super) fn total(&self) -> u32 {
        self.locked.units.len() as u32
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
}
