//! Random operations against a model that does the same with plain vectors.

use phantom_token_core::cache::{Body, Cache, Stored};
use phantom_token_core::freshness::{Age, Control, Freshness};
use phantom_token_core::record::{CacheDirectives, Document, Record, State, UnixMillis};
use proptest::prelude::*;

use crate::support::*;

#[derive(Debug, Clone)]
enum Operation {
    Store {
        number: u32,
        state: State,
        len: usize,
        life: Option<i64>,
    },
    LookUp {
        number: u32,
        rules: usize,
    },
    Remove {
        number: u32,
    },
    /// The clock moves, in whichever direction.
    Clock {
        by: i64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let number = 0_u32..48;
    let state = prop_oneof![
        4 => Just(State::Active), 2 => Just(State::Inactive), 1 => Just(State::Expired)
    ];
    let len = prop_oneof![
        8 => 0_usize..2000, 4 => (0_usize..30).prop_map(|units| 20 + units * 124), 1 => 0_usize..70_000
    ];
    let life = proptest::option::of(-1000_i64..60_000);
    prop_oneof![
        6 => (number.clone(), state, len, life)
            .prop_map(|(number, state, len, life)| Operation::Store { number, state, len, life }),
        6 => (number.clone(), 0_usize..3)
            .prop_map(|(number, rules)| Operation::LookUp { number, rules }),
        1 => number.prop_map(|number| Operation::Remove { number }),
        1 => (-20_000_i64..40_000).prop_map(|by| Operation::Clock { by }),
    ]
}

struct Entry {
    number: u32,
    record: Record,
    jwt: Vec<u8>,
    facts: Vec<u8>,
    used: bool,
}

impl Entry {
    fn units(&self) -> usize {
        let data = (self.jwt.len() + self.facts.len()).saturating_sub(20).div_ceil(124);
        1 + data + if data > 10 { (data - 9).div_ceil(30) } else { 0 }
    }
}

/// Entries in the order in which they came.
#[derive(Default)]
struct List {
    /// The oldest first.
    entries: Vec<Entry>,
    evictions: u64,
}

impl List {
    fn units(&self) -> usize {
        self.entries.iter().map(Entry::units).sum()
    }

    fn find(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }

    fn remove(&mut self, number: u32) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.number == number)?;
        Some(self.entries.remove(at))
    }

    fn evict(&mut self, over: impl Fn(&Record) -> bool) {
        self.evictions += 1;
        for _ in 0..64 {
            if !self.entries[0].used || over(&self.entries[0].record) {
                break;
            }
            self.entries[0].used = false;
            self.entries.rotate_left(1);
        }
        self.entries.remove(0);
    }
}

struct Model {
    active: List,
    small: List,
    total: usize,
}

impl Model {
    fn reserve(&self) -> usize {
        (self.total / 128).max(16)
    }

    fn units(&self) -> usize {
        self.active.units() + self.small.units()
    }

    fn remove(&mut self, number: u32) -> bool {
        self.active.remove(number).or(self.small.remove(number)).is_some()
    }

    fn insert(&mut self, mut entry: Entry, now: UnixMillis) -> Stored {
        entry.used = self.remove(entry.number);
        if entry.units() > self.total - self.reserve() {
            return Stored::TooLarge;
        }
        if entry.record.state == State::Active {
            while self.active.units() + entry.units() > self.total - self.reserve() {
                self.active.evict(|record| record.is_over(now));
            }
            while self.units() + entry.units() > self.total {
                self.small.evict(|_| false);
            }
            self.active.entries.push(entry);
        } else {
            self.insert_small(entry);
        }
        Stored::Stored
    }

    fn insert_small(&mut self, entry: Entry) {
        while self.small.units() + 1 > (self.total / 8).max(self.reserve())
            || self.units() + 1 > self.total
        {
            self.small.evict(|_| false);
        }
        self.small.entries.push(entry);
    }

    fn look_up(&mut self, number: u32, now: UnixMillis, rules: &Freshness) -> Found {
        if let Some(entry) = self.active.find(number) {
            if entry.record.is_expired(now) {
                let mut entry = self.active.remove(number).unwrap();
                entry.record.state = State::Expired;
                entry.jwt.clear();
                entry.facts.clear();
                let found = Found::Expired(entry.record);
                self.insert_small(entry);
                return found;
            }
            if rules.age(&entry.record, now) == Age::Over {
                return Found::Miss;
            }
            entry.used = true;
            return Found::Active(entry.jwt.clone(), entry.record);
        }
        if let Some(entry) = self.small.find(number) {
            if rules.age(&entry.record, now) == Age::Over {
                return Found::Miss;
            }
            entry.used = true;
            return match entry.record.state {
                State::Expired => Found::Expired(entry.record),
                _ => Found::Inactive(entry.record),
            };
        }
        Found::Miss
    }
}

const LOCATIONS: [Freshness; 3] = [
    RULES,
    Freshness {
        max_ttl: 10_000,
        default_ttl: 5_000,
        negative_ttl: 3_000,
        control: Control::Lower,
        refresh: 0,
        use_stale: 0,
    },
    Freshness {
        max_ttl: 0,
        default_ttl: 0,
        negative_ttl: 0,
        control: Control::Obey,
        refresh: 0,
        use_stale: 0,
    },
];

fn run(len: usize, operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let memory = Memory::new(len);
    let cache: Cache = memory.create();
    let mut model = Model {
        active: List::default(),
        small: List::default(),
        total: cache.stats().units_total as usize,
    };
    let mut now = NOW;
    let mut serial = 0;
    for operation in operations {
        match operation {
            Operation::Store { number, state, len, life } => {
                serial += 1;
                let record = Record {
                    state,
                    confirmed: now,
                    expires: life.map(|life| now + life),
                    directives: CacheDirectives::default(),
                    document: Document::Jwt,
                    bound: serial % 2 == 0,
                };
                let facts = jwt(!serial, serial as usize % 3 * 45);
                let jwt = jwt(serial, len);
                let body = Body { document: &jwt, facts: &facts };
                let stored = cache.store(&key(number), &record, body, now);
                let mut entry = Entry { number, record, jwt, facts, used: false };
                if state == State::Active && record.is_expired(now) {
                    entry.record.state = State::Expired;
                }
                if entry.record.state != State::Active {
                    entry.jwt.clear();
                    entry.facts.clear();
                }
                prop_assert_eq!(stored, model.insert(entry, now));
            }
            Operation::LookUp { number, rules } => {
                let rules = &LOCATIONS[rules];
                let found = look_up(&cache, &key(number), now, rules);
                let known = matches!(found, Found::Active(..));
                prop_assert_eq!(found, model.look_up(number, now, rules));
                if known {
                    let facts = facts_of(&cache, &key(number), now, rules);
                    let entry = model.active.find(number).map(|entry| entry.facts.clone());
                    prop_assert_eq!(Some(facts), entry);
                }
            }
            Operation::Remove { number } => {
                prop_assert_eq!(cache.remove(&key(number)), model.remove(number));
            }
            Operation::Clock { by } => now += by,
        }
        prop_assert_eq!(cache.check(), Ok(()));
        let stats = cache.stats();
        prop_assert_eq!(stats.active_entries as usize, model.active.entries.len());
        prop_assert_eq!(stats.small_entries as usize, model.small.entries.len());
        prop_assert_eq!(stats.active_evictions, model.active.evictions);
        prop_assert_eq!(stats.small_evictions, model.small.evictions);
        prop_assert_eq!(stats.units_used as usize, model.units());
        prop_assert_eq!(stats.recoveries, 0);
    }
    for number in 0..48 {
        let found = look_up(&cache, &key(number), now, &RULES);
        prop_assert_eq!(found, model.look_up(number, now, &RULES));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_cache_does_what_the_model_does(
        len in prop_oneof![Just(Cache::MIN_SIZE), Just(40_000_usize), Just(100_001)],
        operations in proptest::collection::vec(operation(), 1..250),
    ) {
        run(len, operations)?;
    }
}
