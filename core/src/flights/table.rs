//! The table's memory, and what is done with it while its lock is held.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use super::backoff::Backoff;
use crate::key::TokenKey;
use crate::lock::Lock;

/// How long the end of a question can be learned of.
const GRACE: u64 = 2_000;
/// Longer than any question: beyond it the process of this number is another one.
pub(super) const FORGOTTEN: u64 = 15 * 60 * 1_000;

/// The longest `Retry-After` that is kept with a failure.
pub(super) const MAX_RETRY_AFTER: usize = 40;

/// How many processes are kept in mind while the table is looked through.
const KNOWN: usize = 64;

/// A slot that holds nothing.
pub(super) const FREE: u8 = 0;
/// In flight, and found by its key.
pub(super) const ASKING: u8 = 1;
/// In flight, but nobody finds it: it is late, or another one asks as well. It counts.
pub(super) const APART: u8 = 2;
/// At its end.
pub(super) const ENDED: u8 = 3;

/// One question among all that ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

#[repr(C)]
pub(super) struct Header {
    pub(super) magic: u64,
    pub(super) slots: u64,
    pub(super) lock: Lock,
    /// Not zero while the table is being changed.
    pub(super) dirty: AtomicU32,
    /// Times that the table was emptied because somebody died while changing it.
    pub(super) recoveries: u32,
    /// Slots from here on are free: a table that is large costs nothing to look through.
    pub(super) used: u64,
    /// The last question's number.
    pub(super) serial: u64,
    pub(super) backoff: Backoff,
}

/// Plain integers: any bytes are a valid slot.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) key: [u8; 32],
    pub(super) serial: u64,
    pub(super) began: u64,
    pub(super) deadline: u64,
    pub(super) ended: u64,
    pub(super) pid: i32,
    pub(super) state: u8,
    pub(super) failed: u8,
    pub(super) reason: u8,
    pub(super) retry_after_len: u8,
    pub(super) retry_after: [u8; MAX_RETRY_AFTER],
    /// Somebody wants to know how it ends.
    pub(super) followed: u64,
}

impl Slot {
    pub(super) const EMPTY: Self = Self {
        key: [0; 32],
        serial: 0,
        began: 0,
        deadline: 0,
        ended: 0,
        pid: 0,
        state: FREE,
        failed: 0,
        reason: 0,
        retry_after_len: 0,
        retry_after: [0; MAX_RETRY_AFTER],
        followed: 0,
    };
}

/// What of the header changes.
pub(super) struct Changing<'a> {
    pub(super) recoveries: &'a mut u32,
    pub(super) used: &'a mut u64,
    pub(super) serial: &'a mut u64,
    pub(super) backoff: &'a mut Backoff,
}

/// The table, for as long as its lock is held.
pub(super) struct Table<'a> {
    pub(super) lock: &'a Lock,
    pub(super) dirty: &'a AtomicU32,
    pub(super) header: Changing<'a>,
    pub(super) slots: &'a mut [Slot],
}

/// Stands in for a slot that is not there.
static NO_SLOT: Slot = Slot::EMPTY;

impl Table<'_> {
    /// Announces a change. Comes before its first write.
    pub(super) fn change(&self) {
        self.dirty.store(1, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// What was announced is finished.
    pub(super) fn done(&self) {
        self.dirty.store(0, Ordering::Release);
    }

    /// Nobody knows any more who asks what: those who ask go on, those who follow begin anew.
    pub(super) fn empty(&mut self) {
        self.change();
        self.slots.fill(Slot::EMPTY);
        *self.header.used = 0;
        *self.header.backoff = Backoff::default();
        *self.header.recoveries = self.header.recoveries.wrapping_add(1);
        // Half written, it may be any number; no ticket of before is to be met again.
        *self.header.serial = self.header.serial.wrapping_add(1 << 32);
        self.done();
    }

    pub(super) fn slot(&self, number: u32) -> Slot {
        *self.slots.get(number as usize).unwrap_or(&NO_SLOT)
    }

    pub(super) fn slot_mut(&mut self, number: u32) -> &mut Slot {
        let last = self.slots.len() - 1;
        // A number comes from `find`, `vacancy` or a ticket that is current: it is one of the table.
        #[allow(clippy::indexing_slicing, reason = "the table has at least one slot")]
        &mut self.slots[(number as usize).min(last)]
    }

    pub(super) fn is_current(&self, ticket: Ticket) -> bool {
        self.slot(ticket.slot).serial == ticket.serial && ticket.serial != 0
    }

    /// Ends a question that is in flight, as `change` says.
    pub(super) fn end(&mut self, ticket: Ticket, change: impl FnOnce(&mut Slot)) {
        if self.is_current(ticket) && matches!(self.slot(ticket.slot).state, ASKING | APART) {
            self.change();
            change(self.slot_mut(ticket.slot));
            self.shrink();
            self.done();
        }
    }

    /// The slots that may hold something.
    pub(super) fn used(&self) -> &[Slot] {
        let used = usize::try_from(*self.header.used).unwrap_or(usize::MAX);
        self.slots.get(..used).unwrap_or(self.slots)
    }

    pub(super) fn find(&self, key: &TokenKey) -> Option<u32> {
        let is_it = |slot: &Slot| slot.state == ASKING && slot.key == *key.bytes();
        self.used().iter().position(is_it).map(|place| place as u32)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.used().iter().filter(|slot| matches!(slot.state, ASKING | APART)).count()
    }

    /// Takes out the questions of processes that are gone.
    pub(super) fn sweep(&mut self, now: u64, is_alive: &impl Fn(i32) -> bool) {
        self.change();
        // Many questions are those of few processes, and to ask the system for each would keep others waiting.
        let mut known = [None; KNOWN];
        let mut is_alive = |pid: i32| {
            let at = pid.unsigned_abs() as usize % KNOWN;
            match known.get(at).copied().flatten() {
                Some((known, lives)) if known == pid => lives,
                _ => {
                    let lives = is_alive(pid);
                    if let Some(place) = known.get_mut(at) {
                        *place = Some((pid, lives));
                    }
                    lives
                }
            }
        };
        for slot in self.slots.iter_mut().filter(|slot| matches!(slot.state, ASKING | APART)) {
            if now.saturating_sub(slot.began) >= FORGOTTEN || !is_alive(slot.pid) {
                *slot = Slot::EMPTY;
            }
        }
        self.shrink();
        self.done();
    }

    /// A free slot, or that of the question which ended longest ago.
    pub(super) fn vacancy(&mut self, now: u64) -> Option<u32> {
        let mut oldest: Option<(u32, u64)> = None;
        for (place, slot) in self.used().iter().enumerate() {
            let place = place as u32;
            match slot.state {
                FREE => return Some(place),
                ENDED => {
                    let age = now.saturating_sub(slot.ended);
                    if age >= GRACE {
                        return Some(place);
                    }
                    if oldest.is_none_or(|(_, known)| age > known) {
                        oldest = Some((place, age));
                    }
                }
                _ => {}
            }
        }
        let used = self.used().len();
        if used < self.slots.len() {
            self.change();
            *self.header.used = used as u64 + 1;
            return Some(used as u32);
        }
        oldest.map(|(place, _)| place)
    }

    /// Finds out how many slots are in use.
    pub(super) fn shrink(&mut self) {
        let last = self.used().iter().rposition(|slot| slot.state != FREE);
        *self.header.used = last.map_or(0, |last| last as u64 + 1);
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        *self.header.serial = self.header.serial.wrapping_add(1).max(1);
        *self.header.serial
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        self.lock.release();
    }
}
