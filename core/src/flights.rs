//! Questions in flight, in memory that all worker processes share: who asks about a token, and until when
//! others may rely on it.
//!
//! A table of slots under one lock. Whoever begins a question gets a [`Ticket`]; whoever comes later with
//! the same token follows, and asks by the ticket what has become of it. What an asker says at the end is
//! there for those who follow, for a moment, and never for those who come later. An asker that dies or
//! is late is replaced.
//!
//! Times are milliseconds of a clock that all processes share and that never runs back.

mod backoff;
mod table;
#[cfg(test)]
mod tests;

use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use crate::key::TokenKey;
use crate::lock::{Acquired, HeldUp, Lock};
use crate::reason::Reason;
pub use backoff::Noted;
pub use table::Ticket;
use table::{APART, ASKING, Changing, ENDED, FREE, Header, MAX_RETRY_AFTER, Slot, Table};

const MAGIC: u64 = u64::from_le_bytes(*b"flights\x01");

/// Why a region holds no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlightsError {
    /// Not large enough for one slot, or not aligned.
    #[error("the zone has no room for questions in flight: make the zone larger")]
    Region,
    /// No table was made here.
    #[error("the zone holds no table of questions in flight")]
    NotATable,
    /// The system makes no process-shared robust mutex.
    #[error("cannot make a lock between processes in the zone (system error {0})")]
    Lock(i32),
}

/// What a process is to do about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Ask, and end the question by [`Flights::finish`] or [`Flights::abandon`].
    Ask(Ticket),
    /// Another one asks: follow it by [`Flights::poll`].
    Follow(Ticket),
    /// As many questions as allowed are in flight.
    Full,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// With a verdict: the cache knows it, if it may be kept.
    Answered,
    /// Without.
    Failed {
        /// Why.
        reason: Reason,
        /// The server's `Retry-After`, or nothing; cut off where it is longer than a date.
        retry_after: &'a [u8],
    },
}

/// What has become of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// It is in flight.
    Pending,
    /// It ended with a verdict.
    Answered,
    /// It ended without.
    Failed(Failure),
    /// Nobody asks any more, or too late: begin anew.
    Gone,
}

/// A question that ended without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    retry_after: [u8; MAX_RETRY_AFTER],
    retry_after_len: u8,
}

impl Failure {
    /// The server's `Retry-After`; empty: none.
    #[must_use]
    pub fn retry_after(&self) -> &[u8] {
        self.retry_after.get(..usize::from(self.retry_after_len)).unwrap_or_default()
    }
}

/// Who asks, and by when those who follow can rely on it.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The process.
    pub pid: i32,
    /// From then on it is late, and another one may ask.
    pub deadline: u64,
    /// Whether it follows another one's question. If not, it asks whoever else does, for itself: what it followed
    /// has ended with a verdict that is nowhere to be had.
    pub follows: bool,
}

/// This process's handle of the table.
pub struct Flights {
    base: NonNull<u8>,
    slots: usize,
    /// This process has emptied the table, and has not said so yet.
    emptied: Cell<bool>,
    held_up: HeldUp,
    /// Questions of this process that ended while it could not lock the table; the next lock releases them. Never dropped:
    /// NGINX's pools, where a handle may lie, drop nothing.
    owed: ManuallyDrop<Cell<Vec<Ticket>>>,
}

impl Flights {
    /// The bytes that a table of that many slots takes.
    #[must_use]
    pub const fn size_for(slots: usize) -> usize {
        size_of::<Header>() + slots * size_of::<Slot>()
    }

    fn slots_in(len: usize) -> usize {
        len.saturating_sub(size_of::<Header>()) / size_of::<Slot>()
    }

    /// Makes an empty table with as many slots as fit.
    ///
    /// # Errors
    /// [`FlightsError::Region`], [`FlightsError::Lock`].
    ///
    /// # Safety
    /// `base..base + len` is zeroed, valid for reads and writes for as long as the handle lives, and used by
    /// nothing but handles made by this function and by [`Flights::attach`], the latter after this one has
    /// returned. Processes may share it.
    pub unsafe fn create(base: NonNull<u8>, len: usize) -> Result<Self, FlightsError> {
        let flights = Self::new(base, len)?;
        let header = flights.header();
        // SAFETY: the header lies within the region, which nobody else uses yet; zeros are a valid one but for
        // the lock, which is made here.
        unsafe {
            Lock::init(&raw mut (*header).lock).map_err(FlightsError::Lock)?;
            (*header).slots = flights.slots as u64;
            (*header).magic = MAGIC;
        }
        Ok(flights)
    }

    /// Takes up a table that is in use.
    ///
    /// # Errors
    /// [`FlightsError`] for a region that [`Flights::create`] did not make in this length.
    ///
    /// # Safety
    /// As for [`Flights::create`], but for the zeros.
    pub unsafe fn attach(base: NonNull<u8>, len: usize) -> Result<Self, FlightsError> {
        let flights = Self::new(base, len)?;
        // SAFETY: the header lies within the region. These fields are not written once the table is made.
        let (magic, slots) = unsafe { ((*flights.header()).magic, (*flights.header()).slots) };
        if magic != MAGIC || slots != flights.slots as u64 {
            return Err(FlightsError::NotATable);
        }
        Ok(flights)
    }

    fn new(base: NonNull<u8>, len: usize) -> Result<Self, FlightsError> {
        let slots = Self::slots_in(len);
        let aligned = base.as_ptr().addr().is_multiple_of(align_of::<Header>());
        if slots == 0 || !aligned || u32::try_from(slots).is_err() {
            return Err(FlightsError::Region);
        }
        Ok(Self {
            base,
            slots,
            emptied: Cell::new(false),
            held_up: HeldUp::default(),
            owed: ManuallyDrop::default(),
        })
    }

    /// How many slots there are: no limit beyond it can be kept.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Begins a question, or tells whom to follow. `limit` is for the questions in flight of the whole table.
    /// `is_alive` tells whether a process lives.
    pub fn begin(
        &self,
        key: &TokenKey,
        asker: Asker,
        now: u64,
        limit: usize,
        is_alive: impl Fn(i32) -> bool,
    ) -> Begin {
        let Some(mut table) = self.lock() else { return Begin::Full };
        let mut state = ASKING;
        if let Some(found) = table.find(key) {
            let slot = table.slot(found);
            let is_good = now < slot.deadline && (slot.pid == asker.pid || is_alive(slot.pid));
            if is_good && asker.follows {
                table.change();
                table.slot_mut(found).followed = 1;
                table.done();
                return Begin::Follow(Ticket { slot: found, serial: slot.serial });
            }
            if is_good {
                state = APART;
            } else {
                table.change();
                let state = if is_alive(slot.pid) { APART } else { FREE };
                table.slot_mut(found).state = state;
            }
        }
        if table.in_flight() >= limit.min(self.slots) {
            table.sweep(now, &is_alive);
            if table.in_flight() >= limit.min(self.slots) {
                table.done();
                return Begin::Full;
            }
        }
        let Some(place) = table.vacancy(now) else {
            table.done();
            return Begin::Full;
        };
        table.change();
        let serial = table.next_serial();
        *table.slot_mut(place) = Slot {
            key: *key.bytes(),
            serial,
            began: now,
            deadline: asker.deadline,
            pid: asker.pid,
            state,
            ..Slot::EMPTY
        };
        table.done();
        Begin::Ask(Ticket { slot: place, serial })
    }

    /// Ends a question, and tells those who follow it how.
    pub fn finish(&self, ticket: Ticket, end: End<'_>, now: u64) {
        self.end(ticket, |slot| {
            if slot.followed == 0 {
                *slot = Slot::EMPTY;
                return;
            }
            slot.state = ENDED;
            slot.ended = now;
            slot.pid = 0;
            if let End::Failed { reason, retry_after } = end {
                slot.failed = 1;
                slot.reason = reason.code();
                let len = retry_after.len().min(MAX_RETRY_AFTER);
                for (to, from) in slot.retry_after.iter_mut().zip(retry_after) {
                    *to = *from;
                }
                slot.retry_after_len = len as u8;
            }
        });
    }

    /// Gives a question up: one of those who follow begins anew.
    pub fn abandon(&self, ticket: Ticket) {
        self.end(ticket, |slot| *slot = Slot::EMPTY);
    }

    fn end(&self, ticket: Ticket, change: impl FnOnce(&mut Slot)) {
        let Some(mut table) = self.lock() else {
            // Else the question would count as one in flight for as long as this process lives.
            let mut owed = self.owed.take();
            owed.push(ticket);
            self.owed.set(owed);
            return;
        };
        table.end(ticket, change);
    }

    /// What has become of the question that is followed.
    #[must_use]
    pub fn poll(&self, ticket: Ticket, now: u64, is_alive: impl Fn(i32) -> bool) -> Poll {
        // Who follows has a time of its own to wait, and nothing better to do than to look again.
        let Some(table) = self.lock() else { return Poll::Pending };
        if !table.is_current(ticket) {
            return Poll::Gone;
        }
        let slot = table.slot(ticket.slot);
        match slot.state {
            ASKING | APART if now < slot.deadline && is_alive(slot.pid) => Poll::Pending,
            ENDED if slot.failed == 0 => Poll::Answered,
            ENDED => Poll::Failed(Failure {
                reason: Reason::of_code(slot.reason).unwrap_or(Reason::Internal),
                retry_after: slot.retry_after,
                retry_after_len: slot.retry_after_len,
            }),
            _ => Poll::Gone,
        }
    }

    /// How many questions are in flight, those of processes that died included until somebody minds.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lock().map_or(0, |table| table.in_flight())
    }

    /// Notes that a server could not be asked, and why, or that it has answered. `server` is a hash of where it
    /// is asked; see [`Flights::back_off`].
    pub fn note(&self, server: u64, failure: Option<Reason>, now: u64) -> Noted {
        let Some(table) = self.lock() else { return Noted::Nothing };
        if failure.is_none() && !table.header.backoff.knows(server) {
            return Noted::Nothing;
        }
        table.change();
        let noted = table.header.backoff.note(server, failure, now);
        table.done();
        noted
    }

    /// Why the server is to be left alone now, having failed many times in a row. Every so often one question
    /// gets through, and finds out.
    #[must_use]
    pub fn back_off(&self, server: u64, now: u64) -> Option<Reason> {
        let table = self.lock()?;
        if !table.header.backoff.knows(server) {
            return None;
        }
        table.change();
        let reason = table.header.backoff.check(server, now);
        table.done();
        reason
    }

    /// Whether a call by this handle has emptied the table since this was last asked, because a process died
    /// while changing it, and how often that was in all. Each time is told of by one handle, unless its process
    /// dies before it asks.
    #[must_use]
    pub fn emptied(&self) -> Option<u32> {
        if !self.emptied.take() {
            return None;
        }
        self.lock().map(|table| *table.header.recoveries)
    }

    /// Whether this handle has waited for the lock in vain since this was last asked: another process keeps it.
    #[must_use]
    pub fn held_up(&self) -> bool {
        self.held_up.take()
    }

    fn header(&self) -> *mut Header {
        self.base.as_ptr().cast()
    }

    /// The table, emptied if somebody died while changing it.
    fn lock(&self) -> Option<Table<'_>> {
        let header = self.header();
        // SAFETY: the header lies within the region; the lock was made with it, and is for sharing, as is the
        // flag.
        let (lock, dirty) = unsafe { (&(*header).lock, &(*header).dirty) };
        match self.held_up.acquire(lock, 0) {
            Acquired::Free => {}
            Acquired::OwnerDied => {
                dirty.store(1, Ordering::Release);
                lock.mark_consistent();
            }
            Acquired::Busy | Acquired::Unavailable => return None,
        }
        // SAFETY: the rest of the header and the slots are disjoint, within the region, aligned, and valid
        // whatever their bytes. The lock makes these the only references to them until `Table` gives it back.
        let mut table = unsafe {
            let slots = header.add(1).cast::<Slot>();
            Table {
                lock,
                dirty,
                header: Changing {
                    recoveries: &mut (*header).recoveries,
                    used: &mut (*header).used,
                    serial: &mut (*header).serial,
                    backoff: &mut (*header).backoff,
                },
                slots: core::slice::from_raw_parts_mut(slots, self.slots),
            }
        };
        if dirty.load(Ordering::Relaxed) != 0 {
            table.empty();
            self.emptied.set(true);
        }
        let owed = self.owed.take();
        for ticket in &owed {
            table.end(*ticket, |slot| *slot = Slot::EMPTY);
        }
        Some(table)
    }
}
