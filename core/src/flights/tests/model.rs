//! Processes that begin, follow and end questions, and are killed at any instant, against a board on which they
//! write down what they do: what the table says must agree.
//!
//! A question is on the board from after it was begun until before it is ended: at any instant, those on the
//! board are in flight. `PHANTOM_TOKEN_OPERATIONS` says how many operations there are instead of the few of a
//! usual run; with `--nocapture` the test prints what it has seen.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, fence};
use std::time::{Duration, Instant};

use super::super::table::FORGOTTEN;
use super::super::*;
use super::key;
use crate::processes::{Memory, fork, kill, wait, wait_at_most};
use crate::random::Random;

const OPERATIONS: u64 = 1_000_000;
/// Operations between two kills, at least.
const UNDISTURBED: u64 = 1_000;
/// Within so long something must happen, or a lock is held for ever.
const STUCK: Duration = Duration::from_secs(60);
const PROCESSES: usize = 3;
const SLOTS: usize = 40;
const LIMIT: usize = 10;
const KEYS: usize = 32;
/// What one process has open, and what it follows, at most.
const OPEN: usize = 8;
/// Questions that the board remembers.
const REMEMBERED: usize = 1 << 16;

const ANSWERED: u32 = 1;
const FAILED: u32 = 2;
const ABANDONED: u32 = 3;

/// A question. What stands in it is valid while `serial` is what was looked for.
#[repr(C)]
struct Question {
    serial: AtomicU64,
    key: AtomicU32,
    pid: AtomicI32,
    deadline: AtomicU64,
    began: AtomicU64,
    /// How often the table had been emptied before it was begun.
    generation: AtomicU32,
    /// How it is about to end; 0: not yet.
    outcome: AtomicU32,
    /// When it had ended, by the order of things; 0: not yet.
    ended: AtomicU64,
}

/// All zero: nothing has happened.
#[repr(C)]
struct Board {
    stop: AtomicU32,
    /// Milliseconds; never runs back.
    clock: AtomicU64,
    /// The order of things.
    order: AtomicU64,
    operations: AtomicU64,
    asked: AtomicU64,
    followed: AtomicU64,
    full: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    gone: AtomicU64,
    /// Times that the questions in flight could be counted, and the most that there were.
    counted: AtomicU64,
    most: AtomicU64,
    divergence: AtomicU32,
    details: [AtomicI64; 4],
    /// Changes of `open` and `claims`.
    changes: AtomicU64,
    pids: [AtomicI32; PROCESSES],
    open: [[AtomicU64; OPEN]; PROCESSES],
    /// Who asks about each key.
    claims: [AtomicU64; KEYS],
    questions: [Question; REMEMBERED],
}

#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Divergence {
    TwoAsk = 1,
    BeyondTheLimit,
    AnothersQuestion,
    FollowedTooLate,
    RelyingOnTheLate,
    AnotherEnd,
    Lost,
    Survived,
}

const NAMES: [&str; 9] = [
    "none",
    "two ask about one token",
    "more questions than allowed",
    "a question about another token",
    "the end of a question that was over before it was followed",
    "a question that is late is still relied on",
    "another end than the one it had",
    "a question is lost that is in flight",
    "a question is known that was begun before the table was emptied",
];

fn is_alive(pid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    pid > 0 && unsafe { libc::kill(pid, 0) } == 0
}

struct Followed {
    ticket: Ticket,
    key: usize,
    since: u64,
    /// That of the question; `None`: the table was emptied about when it was found.
    generation: Option<u32>,
}

struct Process<'a> {
    board: &'a Board,
    flights: &'a Flights,
    keys: &'a [TokenKey],
    number: usize,
    pid: i32,
    random: Random,
    asking: [Option<(Ticket, usize)>; OPEN],
    following: [Option<Followed>; OPEN],
}

type Outcome = Result<(), (Divergence, [i64; 4])>;

impl Board {
    fn question(&self, serial: u64) -> Option<&Question> {
        let question = &self.questions[serial as usize % REMEMBERED];
        (question.serial.load(Acquire) == serial).then_some(question)
    }
}

impl Process<'_> {
    fn run(&mut self) -> i32 {
        self.board.pids[self.number].store(self.pid, SeqCst);
        while self.board.stop.load(Relaxed) == 0 {
            if let Err((what, details)) = self.operate() {
                let divergence = &self.board.divergence;
                if divergence.compare_exchange(0, what as u32, Relaxed, Relaxed).is_ok() {
                    for (to, from) in self.board.details.iter().zip(details) {
                        to.store(from, Relaxed);
                    }
                }
                return 1;
            }
            self.board.operations.fetch_add(1, Relaxed);
        }
        for place in 0..OPEN {
            self.end(place);
        }
        0
    }

    fn operate(&mut self) -> Outcome {
        let place = self.random.below(OPEN as u64) as usize;
        match self.random.below(16) {
            0..6 => self.begin(),
            6..10 => self.poll(place),
            10..14 => {
                self.end(place);
                Ok(())
            }
            _ => {
                let late = self.random.below(100) == 0;
                let step = if late { 3_000 } else { self.random.below(20) };
                self.board.clock.fetch_add(step, Relaxed);
                Ok(())
            }
        }
    }

    fn generation(&self) -> u32 {
        self.flights.lock().map_or(0, |table| *table.header.recoveries)
    }

    fn begin(&mut self) -> Outcome {
        let ask_at = self.asking.iter().position(Option::is_none);
        let follow_at = self.following.iter().position(Option::is_none);
        let (Some(ask_at), Some(follow_at)) = (ask_at, follow_at) else { return Ok(()) };
        let board = self.board;
        let key = self.random.below(KEYS as u64) as usize;
        let generation = self.generation();
        let since = board.order.load(SeqCst);
        let now = board.clock.load(SeqCst);
        let deadline = now + 500 + self.random.below(4_000);
        let asker = Asker { pid: self.pid, deadline, follows: true };
        match self.flights.begin(&self.keys[key], asker, now, LIMIT, is_alive) {
            Begin::Full => _ = board.full.fetch_add(1, Relaxed),
            Begin::Follow(ticket) => {
                board.followed.fetch_add(1, Relaxed);
                if let Some(question) = board.question(ticket.serial) {
                    let other = question.key.load(Relaxed);
                    if other as usize != key {
                        let details = [key as i64, i64::from(other), 0, 0];
                        return Err((Divergence::AnothersQuestion, details));
                    }
                    let until = question.deadline.load(Relaxed);
                    if now >= until && question.serial.load(Acquire) == ticket.serial {
                        let details = [key as i64, now as i64, until as i64, 0];
                        return Err((Divergence::RelyingOnTheLate, details));
                    }
                    ended_after(question, since)?;
                }
                let generation = Some(generation).filter(|&before| self.generation() == before);
                self.following[follow_at] = Some(Followed { ticket, key, since, generation });
            }
            Begin::Ask(ticket) => {
                board.asked.fetch_add(1, Relaxed);
                self.asking[ask_at] = Some((ticket, key));
                self.write_down(ask_at, ticket.serial, key, (now, deadline), generation);
                self.alone(ticket.serial, key, deadline, generation)?;
                self.within_the_limit(generation)?;
            }
        }
        Ok(())
    }

    fn write_down(
        &self,
        place: usize,
        serial: u64,
        key: usize,
        (now, deadline): (u64, u64),
        generation: u32,
    ) {
        let question = &self.board.questions[serial as usize % REMEMBERED];
        question.serial.store(0, Relaxed);
        fence(Release);
        question.key.store(key as u32, Relaxed);
        question.pid.store(self.pid, Relaxed);
        question.deadline.store(deadline, Relaxed);
        question.began.store(now, Relaxed);
        question.generation.store(generation, Relaxed);
        question.outcome.store(0, Relaxed);
        question.ended.store(0, Relaxed);
        question.serial.store(serial, Release);
        self.board.changes.fetch_add(1, SeqCst);
        self.board.open[self.number][place].store(serial, SeqCst);
        self.board.changes.fetch_add(1, SeqCst);
    }

    /// Nobody else asks who lives and is not late.
    fn alone(&self, serial: u64, key: usize, deadline: u64, generation: u32) -> Outcome {
        let board = self.board;
        let other = board.claims[key].swap(serial, SeqCst);
        let Some(question) = board.question(other).filter(|_| other != 0) else { return Ok(()) };
        let pid = question.pid.load(Relaxed);
        let until = question.deadline.load(Relaxed).min(deadline);
        let same = question.generation.load(Relaxed) == generation;
        let open = question.outcome.load(SeqCst) == 0 && question.serial.load(Acquire) == other;
        if open && same && is_alive(pid) && board.clock.load(SeqCst) < until {
            // Whoever died while changing the table took with it what it knew.
            if self.generation() == generation {
                let details = [key as i64, i64::from(pid), i64::from(self.pid), until as i64];
                return Err((Divergence::TwoAsk, details));
            }
        }
        Ok(())
    }

    fn within_the_limit(&self, generation: u32) -> Outcome {
        let board = self.board;
        let before = board.changes.load(SeqCst);
        let now = board.clock.load(SeqCst);
        let pids = board.pids.each_ref().map(|pid| pid.load(SeqCst));
        let mut in_flight = 0;
        for open in
            board.open.iter().zip(pids).filter(|(_, pid)| is_alive(*pid)).map(|(open, _)| open)
        {
            let counts = |serial: u64| {
                board.question(serial).is_some_and(|question| {
                    question.generation.load(Relaxed) == generation
                        && now.saturating_sub(question.began.load(Relaxed)) < FORGOTTEN
                })
            };
            in_flight += open
                .iter()
                .map(|serial| serial.load(SeqCst))
                .filter(|&s| s != 0 && counts(s))
                .count();
        }
        let unchanged = board.changes.load(SeqCst) == before
            && board.pids.iter().zip(pids).all(|(pid, before)| pid.load(SeqCst) == before)
            && pids.iter().all(|&pid| is_alive(pid))
            && self.generation() == generation;
        if unchanged {
            board.counted.fetch_add(1, Relaxed);
            board.most.fetch_max(in_flight as u64, Relaxed);
            if in_flight > LIMIT {
                return Err((Divergence::BeyondTheLimit, [in_flight as i64, 0, 0, 0]));
            }
        }
        Ok(())
    }

    fn end(&mut self, place: usize) {
        let Some((ticket, key)) = self.asking[place].take() else { return };
        let board = self.board;
        board.changes.fetch_add(1, SeqCst);
        board.open[self.number][place].store(0, SeqCst);
        board.changes.fetch_add(1, SeqCst);
        _ = board.claims[key].compare_exchange(ticket.serial, 0, SeqCst, Relaxed);
        let outcome = match self.random.below(8) {
            0 => ABANDONED,
            1..4 => FAILED,
            _ => ANSWERED,
        };
        let question = board.question(ticket.serial);
        if let Some(question) = question {
            question.outcome.store(outcome, SeqCst);
        }
        let now = board.clock.load(Relaxed);
        match outcome {
            ABANDONED => self.flights.abandon(ticket),
            FAILED => {
                let (reason, retry_after) = failure(ticket.serial);
                let retry_after = &retry_after[..];
                self.flights.finish(ticket, End::Failed { reason, retry_after }, now);
            }
            _ => self.flights.finish(ticket, End::Answered, now),
        }
        if let Some(question) = question {
            question.ended.store(board.order.fetch_add(1, SeqCst) + 1, SeqCst);
        }
    }

    fn poll(&mut self, place: usize) -> Outcome {
        let board = self.board;
        let Some(followed) = &self.following[place] else { return Ok(()) };
        let serial = followed.ticket.serial;
        let now = board.clock.load(SeqCst);
        let emptied = followed.generation.is_some_and(|generation| generation != self.generation());
        let poll = self.flights.poll(followed.ticket, now, is_alive);
        let question = board.question(serial);
        let deadline = question.map(|question| question.deadline.load(Relaxed));
        let outcome = question.map(|question| question.outcome.load(SeqCst));
        let details = [
            followed.key as i64,
            serial as i64,
            outcome.map_or(-1, i64::from),
            deadline.map_or(-1, |deadline| deadline as i64 - now as i64),
        ];
        if emptied && poll != Poll::Gone {
            return Err((Divergence::Survived, details));
        }
        match poll {
            Poll::Pending => {
                if deadline.is_some_and(|deadline| now >= deadline) {
                    return Err((Divergence::RelyingOnTheLate, details));
                }
                return Ok(());
            }
            Poll::Answered => {
                board.answered.fetch_add(1, Relaxed);
                if outcome.is_some_and(|outcome| outcome != ANSWERED) {
                    return Err((Divergence::AnotherEnd, details));
                }
            }
            Poll::Failed(found) => {
                board.failed.fetch_add(1, Relaxed);
                let (reason, retry_after) = failure(serial);
                if outcome.is_some_and(|outcome| outcome != FAILED)
                    || found.reason != reason
                    || found.retry_after() != retry_after
                {
                    return Err((Divergence::AnotherEnd, details));
                }
            }
            Poll::Gone => {
                board.gone.fetch_add(1, Relaxed);
                if let Some(question) = question
                    && outcome == Some(0)
                    && Some(question.generation.load(Relaxed)) == followed.generation
                    && is_alive(question.pid.load(Relaxed))
                    && board.clock.load(SeqCst) < question.deadline.load(Relaxed)
                    && Some(self.generation()) == followed.generation
                    && question.serial.load(Acquire) == serial
                {
                    return Err((Divergence::Lost, details));
                }
            }
        }
        if !matches!(poll, Poll::Gone)
            && let Some(question) = question
        {
            ended_after(question, followed.since)?;
        }
        self.following[place] = None;
        Ok(())
    }
}

/// How a question fails, if it does: nothing that another one has.
fn failure(serial: u64) -> (Reason, [u8; 8]) {
    let reason = if serial.is_multiple_of(2) { Reason::ServerBusy } else { Reason::ServerTimeout };
    (reason, serial.to_be_bytes())
}

/// A question that had ended before somebody began to follow is not for them.
fn ended_after(question: &Question, since: u64) -> Outcome {
    let serial = question.serial.load(Acquire);
    let ended = question.ended.load(SeqCst);
    if ended != 0 && ended <= since && question.serial.load(Acquire) == serial {
        let details =
            [i64::from(question.key.load(Relaxed)), serial as i64, ended as i64, since as i64];
        return Err((Divergence::FollowedTooLate, details));
    }
    Ok(())
}

fn operations() -> u64 {
    std::env::var("PHANTOM_TOKEN_OPERATIONS").map_or(OPERATIONS, |count| count.parse().unwrap())
}

#[test]
fn the_table_survives_whatever_is_killed() {
    let memory = Memory::new(Flights::size_for(SLOTS));
    // SAFETY: zeroed, and mapped until the end of the test.
    let flights = unsafe { Flights::create(memory.base, memory.len) }.unwrap();
    let shared = Memory::new(size_of::<Board>());
    // SAFETY: zeroed, aligned to a page, and mapped until the end of the test.
    let board = unsafe { shared.base.cast::<Board>().as_ref() };
    board.clock.store(1_000_000, Relaxed);
    let keys: Vec<_> = (0..KEYS as u32).map(key).collect();
    let seeds = Cell::new(Random(0x9e37_79b9_7f4a_7c15));
    let chance = |limit| {
        let mut random = seeds.replace(Random(1));
        let drawn = random.below(limit);
        seeds.set(random);
        drawn
    };
    let start = |number: usize| {
        let seed = 1 + chance(u64::MAX - 1);
        fork(|| {
            // SAFETY: a plain system call.
            let pid = unsafe { libc::getpid() };
            let (asking, following) = ([None; OPEN], [const { None }; OPEN]);
            let (flights, keys, random) = (&flights, &keys[..], Random(seed));
            Process { board, flights, keys, number, pid, random, asking, following }.run()
        })
    };

    let begin = Instant::now();
    let mut children: [i32; PROCESSES] = std::array::from_fn(start);
    let (mut kills, mut last_kill, mut progress) = (0, 0, (0, Instant::now()));
    while board.operations.load(Relaxed) < operations() && board.divergence.load(Relaxed) == 0 {
        // At whatever instant: this waits for nothing.
        std::thread::sleep(Duration::from_micros(chance(6_000)));
        let done = board.operations.load(Relaxed);
        if done > progress.0 {
            progress = (done, Instant::now());
        }
        assert!(progress.1.elapsed() < STUCK, "nothing happens any more");
        if done < last_kill + UNDISTURBED {
            continue;
        }
        last_kill = done;
        let number = chance(PROCESSES as u64) as usize;
        kill(children[number]);
        let status = wait(children[number]);
        if !libc::WIFSIGNALED(status) {
            assert_ne!(board.divergence.load(Relaxed), 0, "a child ended with {status}");
            break;
        }
        kills += 1;
        // What it had open is still in the table.
        board.pids[number].store(0, SeqCst);
        board.changes.fetch_add(1, SeqCst);
        board.open[number].iter().for_each(|serial| serial.store(0, SeqCst));
        board.changes.fetch_add(1, SeqCst);
        children[number] = start(number);
    }
    board.stop.store(1, Relaxed);
    let statuses = children.map(|child| wait_at_most(child, STUCK));
    let divergence = board.divergence.load(Relaxed) as usize;
    let details: Vec<_> = board.details.iter().map(|detail| detail.load(Relaxed)).collect();
    assert_eq!(divergence, 0, "{}, {details:?}", NAMES[divergence]);
    assert_eq!(statuses, [Some(0); PROCESSES], "None stands for a child that never ended");

    let count = |counter: &AtomicU64| counter.load(Relaxed);
    let recoveries = *flights.lock().unwrap().header.recoveries;
    println!(
        "questions in flight: {} operations in {:.1} s, {kills} kills, {recoveries} recoveries; {} asked, \
         {} followed, {} full; {} answered, {} failed, {} gone; counted {} times, at most {} of {LIMIT}",
        count(&board.operations),
        begin.elapsed().as_secs_f64(),
        count(&board.asked),
        count(&board.followed),
        count(&board.full),
        count(&board.answered),
        count(&board.failed),
        count(&board.gone),
        count(&board.counted),
        count(&board.most),
    );

    // Nothing is left: one question may be asked where one is allowed, and then as many as there are slots.
    let now = board.clock.load(Relaxed);
    let left = flights.in_flight();
    let ask = |number, limit| {
        let asker = Asker { pid: std::process::id() as i32, deadline: now + 5_000, follows: true };
        flights.begin(&key(number), asker, now, limit, is_alive)
    };
    let Begin::Ask(first) = ask(1_000, 1) else {
        panic!("{left} questions of the dead are in the way")
    };
    assert_eq!(flights.in_flight(), 1);
    flights.abandon(first);
    let all: Vec<_> = (0..SLOTS as u32).map(|number| ask(2_000 + number, SLOTS)).collect();
    for begun in all {
        let Begin::Ask(ticket) = begun else { panic!("a slot is lost: {begun:?}") };
        flights.abandon(ticket);
    }
    assert_eq!(flights.in_flight(), 0);

    assert!(u64::from(recoveries) <= kills, "{recoveries} recoveries of {kills} kills");
    assert!(recoveries > 0, "kills are to land within changes");
    assert_eq!(count(&board.most), LIMIT as u64, "the limit is to be reached");
    for (name, counter) in [("answers", &board.answered), ("failures", &board.failed)] {
        assert!(count(counter) * 200 > operations(), "{name} are to be seen");
    }
    assert!(count(&board.counted) * 20 > count(&board.asked), "the limit is to be looked at");
}
