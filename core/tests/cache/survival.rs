//! Processes that do everything that can be done on one region, and are killed at any instant, against a ledger
//! that they keep: whatever a look-up says must be what was stored last, or nothing.
//!
//! `PHANTOM_TOKEN_OPERATIONS` says how many operations there are, in each test, instead of the few of a
//! usual run. With `--nocapture` the tests print what they have seen.

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use phantom_token_core::cache::{Cache, LookUp, Stored};
use phantom_token_core::freshness::{Age, Control, Freshness};
use phantom_token_core::key::TokenKey;
use phantom_token_core::record::{State, UnixMillis};

use crate::ledger::*;
use crate::support::*;

const OPERATIONS: u64 = 200_000;
/// Operations between two kills, at least: what is emptied is to fill again.
const UNDISTURBED: u64 = 1_000;
/// Within so long something must happen, or a lock is held for ever.
const STUCK: Duration = Duration::from_secs(60);
const PROCESSES: usize = 3;

/// The rules of the locations that ask.
const LOCATIONS: [Freshness; 4] = [
    RULES,
    Freshness {
        max_ttl: 10_000,
        default_ttl: 5_000,
        negative_ttl: 3_000,
        control: Control::Lower,
        refresh: 2_000,
        use_stale: 20_000,
    },
    Freshness {
        max_ttl: 30_000,
        default_ttl: 0,
        negative_ttl: 0,
        control: Control::Obey,
        refresh: 0,
        use_stale: 0,
    },
    Freshness { max_ttl: 0, default_ttl: 0, negative_ttl: 0, ..RULES },
];

/// What the processes share beside the region. All zero at first.
#[repr(C)]
struct Board {
    ledger: Ledger,
    stop: AtomicU32,
    /// The clock, which steps both ways, and the latest time that any process has used.
    clock: AtomicI64,
    latest: AtomicI64,
    operations: AtomicU64,
    look_ups: AtomicU64,
    hits: AtomicU64,
    /// Look-ups of what was stored, is fresh, and should be there unless it was evicted; those that found it.
    due: AtomicU64,
    found: AtomicU64,
    /// Look-ups that could not be judged.
    unjudged: AtomicU64,
    changes: AtomicU64,
    /// Answers to earlier questions than the one that was known: refused, and those that took its place.
    outdated: AtomicU64,
    outran: AtomicU64,
    /// The first divergence: its name, and what the ledger says of it.
    divergence: AtomicU32,
    details: [AtomicI64; 7],
}

/// What must never be.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Divergence {
    WrongDocument = 1,
    PastExp,
    WrongAge,
    WrongSmall,
    ExpiredTooEarly,
    NoRoom,
    Outdated,
    TooLarge,
    Unavailable,
    Removed,
}

const NAMES: [&str; 11] = [
    "none",
    "a look-up gave a document that cannot be there",
    "a document past its exp",
    "an age that is not the location's",
    "inactive or expired, which cannot be",
    "expired before the time came",
    "no room, though there was",
    "outdated, though nothing later was known",
    "too large, though it is not",
    "a lock or a shard that cannot be used",
    "removed, though nothing can have been there",
];

/// One process at work.
struct Worker<'a> {
    board: &'a Board,
    cache: &'a Cache,
    keys: &'a [TokenKey],
    giants_fit: bool,
    pid: i32,
    random: Random,
    scratch: &'a mut [u8],
}

/// Bytes as room that need not be initialised.
fn uninitialised(bytes: Option<&mut [u8]>) -> Option<&mut [MaybeUninit<u8>]> {
    // SAFETY: both have one layout. A look-up writes initialised bytes alone.
    bytes.map(|bytes| unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) })
}

type Outcome = Result<(), (Divergence, [i64; 7])>;

impl Worker<'_> {
    fn run(&mut self) -> i32 {
        while self.board.stop.load(Relaxed) == 0 {
            if let Err((what, details)) = self.operate() {
                if self.board.divergence.compare_exchange(0, what as u32, Relaxed, Relaxed).is_ok()
                {
                    for (to, from) in self.board.details.iter().zip(details) {
                        to.store(from, Relaxed);
                    }
                }
                return 1;
            }
            self.board.operations.fetch_add(1, Relaxed);
        }
        0
    }

    fn operate(&mut self) -> Outcome {
        // Some keys are asked for more often than others.
        let limit = self.keys.len() as u64;
        let key = self.random.below(limit).min(self.random.below(limit)) as usize;
        let now = self.now();
        match self.random.below(64) {
            0..24 => self.change(key, now),
            24 => {
                let step = match self.random.below(32) {
                    0 => -(self.random.below(20_000) as i64),
                    1 => self.random.below(20_000) as i64,
                    _ => self.random.below(700) as i64 - 300,
                };
                self.board.clock.fetch_add(step, Relaxed);
                Ok(())
            }
            _ => self.look_up(key, now),
        }
    }

    /// The clock as this process sees it.
    fn now(&mut self) -> UnixMillis {
        let skew = self.random.below(40) as i64 - 20;
        let now = self.board.clock.load(Relaxed) + skew;
        self.board.latest.fetch_max(now, Relaxed);
        now
    }

    fn change(&mut self, key: usize, now: UnixMillis) -> Outcome {
        let ledger = &self.board.ledger;
        if !ledger.take(key, self.pid) {
            return self.look_up(key, now);
        }
        let before = ledger.before(key);
        let seen_later = self.random.below(4) == 0 && self.sees_later(key, now);
        let (serial, plan) = ledger.begin(key, now);
        let fault = |what, more| {
            let [a, b, c, d, e] = ledger.describe(key, before);
            Err((what, [key as i64, more, a, b, c, d, e]))
        };
        let outcome = match plan.record {
            None => {
                let mut possible = false;
                let known = ledger.candidates(key, before.floor, |_| possible = true);
                let removed = self.cache.remove(&self.keys[key]);
                if removed && known.is_some() && !possible {
                    return fault(Divergence::Removed, 0);
                }
                NOTHING
            }
            Some(record) => {
                let document = &mut self.scratch[..plan.len];
                write_document(key, serial, document);
                match self.cache.store(&self.keys[key], &record, &*document, now) {
                    Stored::Stored => {
                        if seen_later && record.confirmed < now - 1_000 {
                            self.board.outran.fetch_add(1, Relaxed);
                        }
                        STORED
                    }
                    Stored::Outdated => {
                        let mut later = false;
                        let judged = ledger.candidates(key, before.floor, |known| {
                            let confirmed = known.record.confirmed;
                            later |= known.serial < serial
                                && confirmed > record.confirmed
                                && confirmed <= now;
                        });
                        if judged.is_some() && !later {
                            return fault(Divergence::Outdated, record.confirmed);
                        }
                        self.board.outdated.fetch_add(1, Relaxed);
                        VOID
                    }
                    Stored::TooLarge if plan.len == GIANT && !self.giants_fit => NOTHING,
                    Stored::TooLarge => return fault(Divergence::TooLarge, plan.len as i64),
                    Stored::Unavailable => return fault(Divergence::Unavailable, 0),
                }
            }
        };
        ledger.end(key, serial, outcome);
        ledger.give_back(key);
        self.board.changes.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Whether the cache holds what was confirmed in the last second, and later than most of what is stored.
    fn sees_later(&mut self, key: usize, now: UnixMillis) -> bool {
        let scratch = &mut *self.scratch;
        let found = self
            .cache
            .look_up(&self.keys[key], now, &RULES, |len| uninitialised(scratch.get_mut(..len)));
        let (LookUp::Active { record, .. } | LookUp::Inactive(record)) = found else {
            return false;
        };
        (now - 1_000..=now).contains(&record.confirmed)
    }

    fn look_up(&mut self, key: usize, now: UnixMillis) -> Outcome {
        let board = self.board;
        let ledger = &board.ledger;
        let rules = &LOCATIONS[self.random.below(LOCATIONS.len() as u64) as usize];
        let has_room = self.random.below(64) != 0;
        board.look_ups.fetch_add(1, Relaxed);

        let before = ledger.before(key);
        let scratch = &mut *self.scratch;
        let found = self.cache.look_up(&self.keys[key], now, rules, |len| {
            if has_room { uninitialised(scratch.get_mut(..len)) } else { None }
        });
        let fault = |what, more| {
            let [a, b, c, d, e] = ledger.describe(key, before);
            Err((what, [key as i64, more, a, b, c, d, e]))
        };
        let judgement = match found {
            LookUp::Miss => {
                self.note_miss(key, now, rules, before);
                return Ok(());
            }
            LookUp::NoRoom if has_room => return fault(Divergence::NoRoom, 0),
            LookUp::NoRoom => return Ok(()),
            LookUp::Active { document, record, age, .. } => {
                if record.state != State::Active || record.expires.is_some_and(|end| now >= end) {
                    return fault(Divergence::PastExp, record.expires.unwrap_or(0) - now);
                }
                if age == Age::Over || age != rules.age(&record, now) {
                    return fault(Divergence::WrongAge, now - record.confirmed);
                }
                match ledger.judge(key, before, &Sight::Active(&record, document)) {
                    Judgement::Wrong => {
                        return fault(Divergence::WrongDocument, document.len() as i64);
                    }
                    judgement => judgement,
                }
            }
            LookUp::Inactive(record) | LookUp::Expired(record) => {
                let is_inactive = matches!(found, LookUp::Inactive(_));
                if record.state != (if is_inactive { State::Inactive } else { State::Expired })
                    || rules.age(&record, now) == Age::Over
                {
                    return fault(Divergence::WrongAge, now - record.confirmed);
                }
                match ledger.judge(key, before, &Sight::Small(&record)) {
                    Judgement::Wrong => {
                        return fault(Divergence::WrongSmall, i64::from(is_inactive));
                    }
                    Judgement::Right(serial) if !is_inactive => {
                        // What came as expired need not have been active.
                        let mut too_early = false;
                        ledger.candidates(key, serial, |known| {
                            too_early |= known.serial == serial
                                && known.record.state == State::Active
                                && known.record.expires > Some(board.latest.load(Relaxed));
                        });
                        if too_early {
                            return fault(Divergence::ExpiredTooEarly, record.confirmed);
                        }
                        Judgement::Right(serial)
                    }
                    judgement => judgement,
                }
            }
        };
        board.hits.fetch_add(1, Relaxed);
        match judgement {
            Judgement::Unknown => _ = board.unjudged.fetch_add(1, Relaxed),
            _ => {
                board.due.fetch_add(1, Relaxed);
                board.found.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// Was anything there that the rules let be used, it is gone for good.
    fn note_miss(&self, key: usize, now: UnixMillis, rules: &Freshness, before: Before) {
        let ledger = &self.board.ledger;
        let (mut over, mut due) = (false, false);
        let known = ledger.candidates(key, before.floor, |known| {
            let mut record = known.record;
            if record.state == State::Active && record.is_expired(now) {
                record.state = State::Expired;
            }
            over |= rules.age(&record, now) == Age::Over;
            due |= known.sure && known.serial == before.floor;
        });
        if known.is_some() && !over {
            ledger.note_miss(key, before);
            self.board.due.fetch_add(u64::from(due), Relaxed);
        }
    }
}

struct Setting {
    len: usize,
    keys: usize,
    /// Of the look-ups for what was stored and is fresh so many percent at least find it.
    least_found: u64,
}

fn operations() -> u64 {
    std::env::var("PHANTOM_TOKEN_OPERATIONS").map_or(OPERATIONS, |count| count.parse().unwrap())
}

fn survive(name: &str, setting: &Setting) {
    let memory = Memory::new(setting.len);
    let cache = memory.create();
    let shared = Memory::new(size_of::<Board>());
    // SAFETY: zeroed, aligned to a page, and mapped until the end of the test.
    let board = unsafe { shared.base.cast::<Board>().as_ref() };
    board.clock.store(NOW, Relaxed);
    let keys: Vec<_> = (0..setting.keys as u32).map(key).collect();
    let mut scratch = vec![0; GIANT];
    let mut random = Random(0x2545_f491_4f6c_dd1d);

    let mut start = |random: &mut Random| {
        let seed = random.next();
        fork(|| {
            // SAFETY: a plain system call.
            let pid = unsafe { libc::getpid() };
            let random = Random(seed);
            let giants_fit = setting.len / 2 > GIANT;
            let (keys, scratch) = (&keys[..], &mut scratch[..]);
            Worker { board, cache: &cache, keys, giants_fit, pid, random, scratch }.run()
        })
    };
    let mut children: Vec<_> = (0..PROCESSES).map(|_| start(&mut random)).collect();
    let begin = Instant::now();
    let (mut kills, mut last_kill, mut progress) = (0, 0, (0, Instant::now()));
    while board.operations.load(Relaxed) < operations() && board.divergence.load(Relaxed) == 0 {
        // At whatever instant: this waits for nothing.
        std::thread::sleep(Duration::from_micros(random.below(6_000)));
        let operations = board.operations.load(Relaxed);
        if operations > progress.0 {
            progress = (operations, Instant::now());
        }
        assert!(progress.1.elapsed() < STUCK, "{name}: nothing happens any more");
        if operations < last_kill + UNDISTURBED {
            continue;
        }
        last_kill = operations;
        let child = &mut children[random.below(PROCESSES as u64) as usize];
        kill(*child);
        let status = wait(*child);
        if !libc::WIFSIGNALED(status) {
            assert_ne!(board.divergence.load(Relaxed), 0, "{name}: a child ended with {status}");
            break;
        }
        board.ledger.bury(*child);
        *child = start(&mut random);
        kills += 1;
        if kills % 64 == 0 {
            assert_eq!(cache.check(), Ok(()), "{name}: after {kills} kills");
        }
    }
    board.stop.store(1, Relaxed);
    let statuses: Vec<_> = children.into_iter().map(|child| wait_at_most(child, STUCK)).collect();

    let divergence = board.divergence.load(Relaxed) as usize;
    let details: Vec<_> = board.details.iter().map(|detail| detail.load(Relaxed)).collect();
    assert_eq!(divergence, 0, "{name}: {}, {details:?}", NAMES[divergence]);
    assert_eq!(statuses, [Some(0); PROCESSES], "{name}: None stands for a child that never ended");
    assert_eq!(cache.check(), Ok(()), "{name}");

    // What is left, one key after the other.
    let pid = std::process::id() as i32;
    let (keys, random, giants_fit) = (&keys[..], Random(1), false);
    let scratch = &mut scratch[..];
    let mut last = Worker { board, cache: &cache, keys, giants_fit, pid, random, scratch };
    let now = board.clock.load(Relaxed);
    for key in (0..setting.keys).flat_map(|key| [key; 4]) {
        let fine = last.look_up(key, now);
        assert!(
            fine.is_ok(),
            "{name}: {:?}",
            fine.map_err(|(what, more)| (NAMES[what as usize], more))
        );
    }

    let count = |counter: &AtomicU64| counter.load(Relaxed);
    let stats = cache.stats();
    let (due, found) = (count(&board.due), count(&board.found));
    println!(
        "{name}: {} operations in {:.1} s, {kills} kills, {} recoveries; {} look-ups, {} hits, \
         {found} of {due} found, {} not judged; {} changes, {} outdated, {} outran; {} and {} evictions",
        count(&board.operations),
        begin.elapsed().as_secs_f64(),
        stats.recoveries,
        count(&board.look_ups),
        count(&board.hits),
        count(&board.unjudged),
        count(&board.changes),
        count(&board.outdated),
        count(&board.outran),
        stats.active_evictions,
        stats.small_evictions,
    );
    // One process dies in one shard at most.
    assert!(stats.recoveries <= kills, "{name}: {} recoveries of {kills} kills", stats.recoveries);
    assert!(stats.recoveries * 50 > kills, "{name}: kills are to land within changes");
    assert!(found * 100 > due * setting.least_found, "{name}: {found} of {due} found");
    assert!(count(&board.unjudged) * 1_000 < count(&board.look_ups), "{name}: not judged");
    // Only what emptied a shard in between can have let an earlier answer pass.
    assert!(
        count(&board.outran) <= stats.recoveries * PROCESSES as u64,
        "{name}: {} answers took the place of later ones",
        count(&board.outran)
    );
}

#[test]
fn a_small_cache_survives_whatever_is_killed() {
    survive("small cache", &Setting { len: 96 << 10, keys: 256, least_found: 20 });
}

#[test]
fn a_large_cache_survives_whatever_is_killed() {
    survive("large cache", &Setting { len: 9 << 20, keys: KEYS, least_found: 20 });
}
