//! What was changed of each key, in memory that outlives the processes that wrote it down: a look-up may say
//! nothing else.
//!
//! The changes of a key have serial numbers, one process makes them at a time, and each is written down before
//! it is begun. Whoever looks up holds no lock: what it may find is any change from the last one that was known to
//! be done before, to the last one that had begun after. A change whose process was killed may have happened or
//! not, until the next one is done.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, fence};

use phantom_token_core::record::{CacheDirectives, Document, Record, State, UnixMillis};

use crate::random::Random;

/// Keys that there may be.
pub(crate) const KEYS: usize = 4096;
/// Changes of a key that are remembered.
const WINDOW: usize = 32;
/// A document that fits into no small region.
pub(crate) const GIANT: usize = 300_000;

/// What a change does.
pub(crate) struct Plan {
    /// `None`: the key is removed.
    pub(crate) record: Option<Record>,
    pub(crate) len: usize,
}

/// The change of that number, begun at that time: always the same one.
pub(crate) fn plan(key: usize, serial: u32, now: UnixMillis) -> Plan {
    let mut random = Random((key as u64 + 1) << 32 | u64::from(serial));
    for _ in 0..4 {
        random.next();
    }
    let state = match random.below(32) {
        0 | 1 => return Plan { record: None, len: 0 },
        2..24 => State::Active,
        24..30 => State::Inactive,
        _ => State::Expired,
    };
    let late = if random.below(8) == 0 { random.below(8_000) as i64 } else { 0 };
    let document = match random.below(8) {
        _ if state != State::Active => Document::Jwt,
        0 => Document::Exchanged,
        1 => Document::Json,
        2 => Document::ClaimsJwt,
        3 => Document::Envelope,
        _ => Document::Jwt,
    };
    let life = random.below(60_000) as i64 - 2_000;
    let record = Record {
        state,
        confirmed: now - late,
        document,
        expires: (random.below(4) != 0).then_some(now + life),
        directives: CacheDirectives {
            max_age: (random.below(4) == 0).then_some(random.below(60) as u32),
            uncacheable: random.below(16) == 0,
        },
        bound: random.below(2) == 0,
    };
    let len = match random.below(1024) {
        _ if state != State::Active => 0,
        0 => GIANT,
        1..64 => random.below(8192) as usize,
        _ => random.below(1600) as usize,
    };
    Plan { record: Some(record), len }
}

/// Fills a document with what belongs to this key and this change alone.
pub(crate) fn write_document(key: usize, serial: u32, document: &mut [u8]) {
    let name = name(key, serial);
    for piece in document.chunks_mut(8) {
        piece.copy_from_slice(&name[..piece.len()]);
    }
}

pub(crate) fn is_document(key: usize, serial: u32, document: &[u8]) -> bool {
    let name = name(key, serial);
    let (whole, rest) = document.as_chunks::<8>();
    whole.iter().all(|piece| *piece == name) && *rest == name[..rest.len()]
}

fn name(key: usize, serial: u32) -> [u8; 8] {
    ((key as u64) << 32 | u64::from(serial)).to_be_bytes()
}

/// A change whose end is not known.
pub(crate) const OPEN: u32 = 0;
/// What it brought is there, unless it was evicted.
pub(crate) const STORED: u32 = 1;
/// It left nothing there.
pub(crate) const NOTHING: u32 = 2;
/// It had no effect.
pub(crate) const VOID: u32 = 3;

#[repr(C)]
struct Change {
    /// 0 while it is being written.
    serial: AtomicU32,
    outcome: AtomicU32,
    now: AtomicI64,
}

/// What is known of one key.
#[repr(C)]
struct Page {
    /// The last change that was begun.
    begun: AtomicU32,
    /// The last one that is known to have taken effect: what was before is gone.
    floor: AtomicU32,
    /// What these and earlier changes brought was missed: it was evicted.
    missed: AtomicU32,
    /// What this change brought was found to have expired.
    expired: AtomicU32,
    changes: [Change; WINDOW],
}

/// All zero: nothing has happened.
#[repr(C)]
pub(crate) struct Ledger {
    owners: [AtomicI32; KEYS],
    pages: [Page; KEYS],
}

/// What was known when a look-up began.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    pub(crate) floor: u32,
    missed: u32,
    expired: u32,
}

/// What a look-up found.
pub(crate) enum Sight<'a> {
    Active(&'a Record, &'a [u8]),
    /// Inactive or expired.
    Small(&'a Record),
}

/// What the ledger says of a look-up.
#[derive(Debug, PartialEq)]
pub(crate) enum Judgement {
    /// It is what the change of that number brought.
    Right(u32),
    /// So much has happened meanwhile that it cannot be judged.
    Unknown,
    /// It is nothing that could be there.
    Wrong,
}

/// One change among those that may be what is there.
pub(crate) struct Candidate {
    pub(crate) serial: u32,
    pub(crate) record: Record,
    pub(crate) len: usize,
    /// Its end is known.
    pub(crate) sure: bool,
}

impl Ledger {
    /// Makes a key this process's own for a change; false if it is another one's.
    pub(crate) fn take(&self, key: usize, pid: i32) -> bool {
        self.owners[key].compare_exchange(0, pid, Acquire, Relaxed).is_ok()
    }

    pub(crate) fn give_back(&self, key: usize) {
        self.owners[key].store(0, Release);
    }

    /// Gives back what a process held that is dead.
    pub(crate) fn bury(&self, pid: i32) {
        for owner in &self.owners {
            _ = owner.compare_exchange(pid, 0, Release, Relaxed);
        }
    }

    /// Begins the next change of a key that is this process's own.
    pub(crate) fn begin(&self, key: usize, now: UnixMillis) -> (u32, Plan) {
        let page = &self.pages[key];
        let serial = page.begun.load(Relaxed) + 1;
        let change = &page.changes[serial as usize % WINDOW];
        change.serial.store(0, Relaxed);
        fence(Release);
        change.now.store(now, Relaxed);
        change.outcome.store(OPEN, Relaxed);
        change.serial.store(serial, Release);
        page.begun.store(serial, Release);
        // Written down before it is done: the cache's own lock comes after.
        fence(std::sync::atomic::Ordering::SeqCst);
        (serial, plan(key, serial, now))
    }

    /// Ends it.
    pub(crate) fn end(&self, key: usize, serial: u32, outcome: u32) {
        let page = &self.pages[key];
        page.changes[serial as usize % WINDOW].outcome.store(outcome, Release);
        if outcome != VOID {
            page.floor.store(serial, Release);
        }
    }

    pub(crate) fn before(&self, key: usize) -> Before {
        let page = &self.pages[key];
        // In this order: later ones are never known to be less.
        let missed = page.missed.load(Acquire);
        let expired = page.expired.load(Acquire);
        Before { floor: page.floor.load(Acquire), missed, expired }
    }

    /// The change of that number; `None` if it is forgotten.
    fn change(&self, key: usize, serial: u32) -> Option<(UnixMillis, u32)> {
        let change = &self.pages[key].changes[serial as usize % WINDOW];
        let before = change.serial.load(Acquire);
        let found = (change.now.load(Relaxed), change.outcome.load(Acquire));
        fence(Acquire);
        (before == serial && change.serial.load(Relaxed) == serial).then_some(found)
    }

    /// Whatever may be there, the newest first: what was before `floor` is not among it. `None`: some of it is
    /// forgotten.
    pub(crate) fn candidates(
        &self,
        key: usize,
        floor: u32,
        mut each: impl FnMut(Candidate),
    ) -> Option<()> {
        let begun = self.pages[key].begun.load(Acquire);
        if begun - floor >= WINDOW as u32 {
            return None;
        }
        for serial in (floor.max(1)..=begun).rev() {
            let (now, outcome) = self.change(key, serial)?;
            if matches!(outcome, NOTHING | VOID) {
                continue;
            }
            let plan = plan(key, serial, now);
            if let Some(mut record) = plan.record {
                if record.state == State::Active && record.is_expired(now) {
                    record.state = State::Expired;
                }
                let sure = outcome == STORED;
                each(Candidate { serial, record, len: plan.len, sure });
            }
        }
        Some(())
    }

    /// Whether a look-up found what it may.
    pub(crate) fn judge(&self, key: usize, before: Before, sight: &Sight<'_>) -> Judgement {
        let mut is = None;
        let all = self.candidates(key, before.floor, |candidate| {
            let stored = &candidate.record;
            let matches = match *sight {
                Sight::Active(record, document) => {
                    record == stored
                        && document.len() == candidate.len
                        && is_document(key, candidate.serial, document)
                        && candidate.serial > before.expired
                }
                Sight::Small(record) => {
                    *record == Record { state: record.state, ..*stored }
                        && (record.state == stored.state
                            || (record.state == State::Expired && stored.state == State::Active))
                }
            };
            if matches && candidate.serial > before.missed && is.is_none() {
                is = Some((candidate.serial, stored.state));
            }
        });
        match (all, is) {
            (None, _) => Judgement::Unknown,
            (_, None) => Judgement::Wrong,
            (_, Some((serial, State::Active))) if matches!(sight, Sight::Small(_)) => {
                self.pages[key].expired.fetch_max(serial, Release);
                Judgement::Right(serial)
            }
            (_, Some((serial, _))) => Judgement::Right(serial),
        }
    }

    /// Notes that nothing was there: what was stored before the look-up does not come back.
    pub(crate) fn note_miss(&self, key: usize, before: Before) {
        self.pages[key].missed.fetch_max(before.floor, Release);
    }

    /// The numbers that tell what a finding was about.
    pub(crate) fn describe(&self, key: usize, before: Before) -> [i64; 5] {
        let page = &self.pages[key];
        [
            before.floor,
            before.missed,
            before.expired,
            page.begun.load(Acquire),
            page.floor.load(Acquire),
        ]
        .map(i64::from)
    }
}
