//! The table as several processes use it. Time and life are the test's.

mod model;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use super::table::FORGOTTEN;
use super::*;
use crate::key::RealmKey;

/// A table over memory of its own.
struct Memory {
    bytes: Vec<u64>,
}

impl Memory {
    fn new(slots: usize) -> Self {
        Self { bytes: vec![0; Flights::size_for(slots).div_ceil(8)] }
    }

    fn base(&mut self) -> (NonNull<u8>, usize) {
        let len = self.bytes.len() * 8;
        (NonNull::new(self.bytes.as_mut_ptr().cast()).unwrap(), len)
    }

    fn create(&mut self) -> Flights {
        let (base, len) = self.base();
        // SAFETY: zeroed, and the handles of a test end before its memory.
        unsafe { Flights::create(base, len) }.unwrap()
    }

    fn attach(&mut self) -> Result<Flights, FlightsError> {
        let (base, len) = self.base();
        // SAFETY: as above, but made.
        unsafe { Flights::attach(base, len) }
    }
}

fn key(number: u32) -> TokenKey {
    RealmKey::new(&[7; 32], []).token(&number.to_le_bytes())
}

/// Processes that live.
struct Processes(RefCell<HashSet<i32>>);

impl Processes {
    fn new(pids: &[i32]) -> Self {
        Self(RefCell::new(pids.iter().copied().collect()))
    }

    fn kill(&self, pid: i32) {
        self.0.borrow_mut().remove(&pid);
    }

    fn is_alive(&self) -> impl Fn(i32) -> bool + '_ {
        |pid| self.0.borrow().contains(&pid)
    }
}

const LIMIT: usize = 64;

fn begin(flights: &Flights, number: u32, pid: i32, now: u64, alive: &Processes) -> Begin {
    flights.begin(
        &key(number),
        Asker { pid, deadline: now + 5_000, follows: true },
        now,
        LIMIT,
        alive.is_alive(),
    )
}

fn asked(begin: Begin) -> Ticket {
    match begin {
        Begin::Ask(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn followed(begin: Begin) -> Ticket {
    match begin {
        Begin::Follow(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_asks_and_the_others_follow() {
    let mut memory = Memory::new(64);
    let alive = Processes::new(&[1, 2]);
    let (one, two) = (memory.create(), memory.attach().unwrap());
    let ticket = asked(begin(&one, 7, 1, 100, &alive));
    assert_eq!(followed(begin(&two, 7, 2, 110, &alive)), ticket);
    assert_eq!(followed(begin(&one, 7, 1, 110, &alive)), ticket);
    let other = asked(begin(&two, 8, 2, 110, &alive));
    assert_eq!(one.in_flight(), 2);
    assert_eq!(two.poll(ticket, 120, alive.is_alive()), Poll::Pending);
    one.finish(ticket, End::Answered, 130);
    assert_eq!(two.poll(ticket, 131, alive.is_alive()), Poll::Answered);
    assert_eq!(one.poll(other, 131, alive.is_alive()), Poll::Pending);
    // Who comes later asks anew, and does not disturb those who still want to know.
    let later = asked(begin(&two, 7, 2, 132, &alive));
    assert_ne!(later, ticket);
    assert_eq!(two.poll(ticket, 133, alive.is_alive()), Poll::Answered);
    // The first one's end counts once.
    one.finish(ticket, End::Failed { reason: Reason::Internal, retry_after: b"" }, 134);
    assert_eq!(two.poll(ticket, 135, alive.is_alive()), Poll::Answered);
    assert_eq!(two.poll(later, 135, alive.is_alive()), Poll::Pending);
}

#[test]
fn a_failure_is_for_those_who_follow() {
    let mut memory = Memory::new(64);
    let alive = Processes::new(&[1, 2]);
    let flights = memory.create();
    let ticket = asked(begin(&flights, 7, 1, 100, &alive));
    let long = [b'x'; 60];
    for (retry_after, expected) in [(&b"120"[..], &b"120"[..]), (&long, &long[..40]), (b"", b"")] {
        let ticket = asked(begin(&flights, 9, 1, 100, &alive));
        followed(begin(&flights, 9, 2, 101, &alive));
        flights.finish(ticket, End::Failed { reason: Reason::ServerBusy, retry_after }, 110);
        let Poll::Failed(failure) = flights.poll(ticket, 111, alive.is_alive()) else {
            panic!("no failure")
        };
        assert_eq!((failure.reason, failure.retry_after()), (Reason::ServerBusy, expected));
    }
    flights.abandon(ticket);
    assert_eq!(flights.poll(ticket, 111, alive.is_alive()), Poll::Gone);
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn a_dead_asker_is_replaced_by_one() {
    let mut memory = Memory::new(64);
    let alive = Processes::new(&[1, 2, 3]);
    let flights = memory.create();
    let ticket = asked(begin(&flights, 7, 1, 100, &alive));
    alive.kill(1);
    assert_eq!(flights.poll(ticket, 110, alive.is_alive()), Poll::Gone);
    let next = asked(begin(&flights, 7, 2, 110, &alive));
    assert_eq!(followed(begin(&flights, 7, 3, 110, &alive)), next);
    assert_eq!(flights.in_flight(), 1);
    // Whatever the dead one's ticket is used for, it is void.
    flights.finish(ticket, End::Answered, 111);
    assert_eq!(flights.poll(next, 111, alive.is_alive()), Poll::Pending);
}

#[test]
fn a_late_asker_is_replaced_but_counts() {
    let mut memory = Memory::new(64);
    let alive = Processes::new(&[1, 2]);
    let flights = memory.create();
    let ticket = asked(begin(&flights, 7, 1, 100, &alive));
    assert_eq!(flights.poll(ticket, 5_099, alive.is_alive()), Poll::Pending);
    assert_eq!(flights.poll(ticket, 5_100, alive.is_alive()), Poll::Gone);
    let next = asked(begin(&flights, 7, 2, 5_100, &alive));
    assert_eq!(flights.in_flight(), 2);
    flights.finish(ticket, End::Answered, 5_200);
    assert_eq!(flights.in_flight(), 1);
    assert_eq!(flights.poll(next, 5_200, alive.is_alive()), Poll::Pending);
}

#[test]
fn who_does_not_follow_asks_apart() {
    let mut memory = Memory::new(64);
    let alive = Processes::new(&[1, 2, 3]);
    let flights = memory.create();
    let apart = |pid, limit| {
        let asker = Asker { pid, deadline: 5_100, follows: false };
        flights.begin(&key(7), asker, 100, limit, alive.is_alive())
    };
    let first = asked(begin(&flights, 7, 1, 100, &alive));
    let second = asked(apart(2, 2));
    assert_ne!(second, first);
    assert_eq!(flights.in_flight(), 2);
    assert_eq!(apart(3, 2), Begin::Full, "it counts");
    assert_eq!(followed(begin(&flights, 7, 3, 110, &alive)), first, "and nobody follows it");
    flights.finish(second, End::Answered, 120);
    assert_eq!(flights.in_flight(), 1);
    assert_eq!(flights.poll(first, 120, alive.is_alive()), Poll::Pending);
    flights.finish(first, End::Answered, 130);
    // Where nobody else asks, others may follow.
    let alone = asked(apart(2, 2));
    assert_eq!(followed(begin(&flights, 7, 3, 140, &alive)), alone);
}

#[test]
fn the_limit_counts_the_living() {
    let mut memory = Memory::new(64);
    let alive = Processes::new(&[1, 2, 3]);
    let flights = memory.create();
    let ask = |number, pid, now, limit| {
        let asker = Asker { pid, deadline: now + 5_000, follows: true };
        flights.begin(&key(number), asker, now, limit, alive.is_alive())
    };
    let first = asked(ask(1, 1, 100, 2));
    asked(ask(2, 2, 100, 2));
    assert_eq!(ask(3, 3, 100, 2), Begin::Full);
    assert_eq!(followed(ask(1, 3, 100, 2)), first, "who follows does not count");
    // Late, but in flight all the same.
    assert_eq!(ask(3, 3, 9_000, 2), Begin::Full);
    assert_eq!(ask(1, 3, 9_000, 2), Begin::Full);
    alive.kill(2);
    asked(ask(3, 3, 9_000, 2));
    assert_eq!(ask(4, 3, 9_000, 2), Begin::Full);
    // Nobody asks for so long: the numbers are others' by now.
    asked(ask(4, 3, 9_000 + FORGOTTEN, 2));
}

#[test]
fn who_is_refused_costs_little() {
    let mut memory = Memory::new(1_000);
    let flights = memory.create();
    let calls = Cell::new(0);
    let begin = |number: u32| {
        let pid = (number % 4) as i32 + 1;
        let asker = Asker { pid, deadline: 5_000, follows: true };
        calls.set(0);
        flights.begin(&key(number), asker, 100, 1_000, |_| {
            calls.set(calls.get() + 1);
            true
        })
    };
    assert!((0..1_000).map(begin).all(|begun| matches!(begun, Begin::Ask(_))));
    assert_eq!(begin(1_000), Begin::Full);
    assert_eq!(calls.get(), 4, "one look per process, not per question");
}

#[test]
fn a_full_table_is_full() {
    let mut memory = Memory::new(4);
    let alive = Processes::new(&[1]);
    let flights = memory.create();
    assert_eq!(flights.slots(), 4);
    let tickets: Vec<_> = (0..4).map(|n| asked(begin(&flights, n, 1, 100, &alive))).collect();
    assert_eq!(begin(&flights, 9, 1, 100, &alive), Begin::Full);
    // Ended questions make room, the oldest first, also within their grace.
    followed(begin(&flights, 1, 1, 105, &alive));
    followed(begin(&flights, 2, 1, 105, &alive));
    flights.finish(tickets[2], End::Answered, 110);
    flights.finish(tickets[1], End::Answered, 111);
    asked(begin(&flights, 9, 1, 112, &alive));
    assert_eq!(flights.poll(tickets[2], 113, alive.is_alive()), Poll::Gone);
    assert_eq!(flights.poll(tickets[1], 113, alive.is_alive()), Poll::Answered);
}

#[test]
fn a_question_that_nobody_follows_leaves_no_trace() {
    let mut memory = Memory::new(1_000);
    let alive = Processes::new(&[1]);
    let flights = memory.create();
    let used = || flights.lock().unwrap().used().len();
    let tickets: Vec<_> = (0..500).map(|n| begin(&flights, n, 1, 100, &alive)).collect();
    assert_eq!(tickets.iter().filter(|begin| **begin == Begin::Full).count(), 500 - LIMIT);
    assert_eq!(used(), LIMIT);
    for ticket in tickets.into_iter().filter(|begin| *begin != Begin::Full).map(asked) {
        flights.finish(ticket, End::Answered, 110);
        assert_eq!(flights.poll(ticket, 110, alive.is_alive()), Poll::Gone);
    }
    assert_eq!(used(), 0);
}

#[test]
fn whoever_dies_while_changing_leaves_a_table_that_works() {
    let mut memory = Memory::new(64);
    let alive = Processes::new(&[1, 2]);
    let flights = memory.create();
    let ticket = asked(begin(&flights, 7, 1, 100, &alive));
    let other = memory.attach().unwrap();
    for recoveries in 1..3 {
        let table = flights.lock().unwrap();
        table.change();
        drop(table);
        assert_eq!(flights.emptied(), None);
        assert_eq!(flights.poll(ticket, 110, alive.is_alive()), Poll::Gone);
        assert_eq!((other.emptied(), flights.emptied()), (None, Some(recoveries)));
        assert_eq!(flights.emptied(), None, "it is said once");
    }
    let next = asked(begin(&flights, 7, 2, 110, &alive));
    assert_ne!(next.serial, ticket.serial);
    assert_eq!(followed(begin(&flights, 7, 1, 110, &alive)), next);
}

#[test]
fn what_is_no_table_is_refused() {
    let mut memory = Memory::new(4);
    assert!(matches!(memory.attach(), Err(FlightsError::NotATable)));
    memory.create();
    assert!(memory.attach().is_ok());
    let (base, len) = memory.base();
    // SAFETY: a shorter region within the memory.
    let shorter = unsafe { Flights::attach(base, len - size_of::<Slot>()) };
    assert!(matches!(shorter, Err(FlightsError::NotATable)));
    // SAFETY: nothing is touched.
    let tiny = unsafe { Flights::create(base, size_of::<Header>()) };
    assert!(matches!(tiny, Err(FlightsError::Region)));
    // SAFETY: as above.
    let odd = unsafe { Flights::create(base.add(4), len - 8) };
    assert!(matches!(odd, Err(FlightsError::Region)));
}

#[test]
fn servers_that_fail() {
    let mut memory = Memory::new(4);
    let flights = memory.create();
    assert_eq!(flights.back_off(1, 100), None);
    for _ in 0..10 {
        flights.note(1, Some(Reason::ServerUnreachable), 100);
    }
    assert_eq!(flights.back_off(1, 100), Some(Reason::ServerUnreachable));
    assert_eq!(flights.back_off(2, 100), None);
    assert_eq!(flights.note(1, None, 100), Noted::Ended);
    assert_eq!(flights.back_off(1, 100), None);
}

#[test]
fn what_ends_while_the_table_cannot_be_had_is_made_up_for() {
    let mut memory = Memory::new(10);
    let alive = Processes::new(&[1]);
    let flights = memory.create();
    let [finished, abandoned, goes_on] =
        [1, 2, 3].map(|n| asked(begin(&flights, n, 1, 100, &alive)));
    let held = flights.lock().unwrap();
    flights.finish(finished, End::Answered, 110);
    flights.abandon(abandoned);
    assert_eq!(flights.poll(goes_on, 110, alive.is_alive()), Poll::Pending);
    drop(held);
    assert_eq!(flights.in_flight(), 1);
    assert_eq!(flights.poll(goes_on, 110, alive.is_alive()), Poll::Pending);
    assert_eq!(flights.poll(finished, 110, alive.is_alive()), Poll::Gone);
}
