//! Random operations against a model that does the same with plain vectors.

use phantom_token_core::cache::{Cache, Stored};
use phantom_token_core::freshness::{Control, Freshness};
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
        8 => 0_usize..2000, 4 => (1_usize..30).prop_map(|units| units * 124), 1 => 0_usize..70_000
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
}

impl Entry {
    fn units(&self) -> usize {
        let data = self.jwt.len().div_ceil(124);
        1 + data + data.saturating_sub(10).div_ceil(30)
    }
}

/// Both lists begin with the most recently used.
struct Model {
    active: Vec<Entry>,
    small: Vec<Entry>,
    total: usize,
    active_evictions: u64,
    small_evictions: u64,
}

fn units(list: &[Entry]) -> usize {
    list.iter().map(Entry::units).sum()
}

impl Model {
    fn reserve(&self) -> usize {
        (self.total / 128).max(16)
    }

    fn remove(&mut self, number: u32) -> bool {
        let before = self.active.len() + self.small.len();
        self.active.retain(|entry| entry.number != number);
        self.small.retain(|entry| entry.number != number);
        self.active.len() + self.small.len() < before
    }

    fn insert(&mut self, entry: Entry) -> Stored {
        self.remove(entry.number);
        if entry.units() > self.total - self.reserve() {
            return Stored::TooLarge;
        }
        if entry.record.state == State::Active {
            while units(&self.active) + entry.units() > self.total - self.reserve() {
                self.active.pop();
                self.active_evictions += 1;
            }
            while units(&self.active) + units(&self.small) + entry.units() > self.total {
                self.small.pop();
                self.small_evictions += 1;
            }
            self.active.insert(0, entry);
        } else {
            while units(&self.small) + 1 > (self.total / 8).max(self.reserve())
                || units(&self.active) + units(&self.small) + 1 > self.total
            {
                self.small.pop();
                self.small_evictions += 1;
            }
            self.small.insert(0, entry);
        }
        Stored::Stored
    }

    fn look_up(&mut self, number: u32, now: UnixMillis, rules: &Freshness) -> Found {
        if let Some(at) = self.active.iter().position(|entry| entry.number == number) {
            let entry = &self.active[at];
            if entry.record.expires.is_some_and(|expires| now >= expires) {
                let mut entry = self.active.remove(at);
                entry.record.state = State::Expired;
                entry.jwt.clear();
                let found = Found::Expired(entry.record);
                self.insert(entry);
                return found;
            }
            if !rules.is_fresh(&entry.record, now) {
                return Found::Miss;
            }
            let entry = self.active.remove(at);
            let found = Found::Active(entry.jwt.clone(), entry.record);
            self.active.insert(0, entry);
            return found;
        }
        if let Some(at) = self.small.iter().position(|entry| entry.number == number) {
            let record = self.small[at].record;
            if !rules.is_fresh(&record, now) {
                return Found::Miss;
            }
            let entry = self.small.remove(at);
            self.small.insert(0, entry);
            return match record.state {
                State::Expired => Found::Expired(record),
                _ => Found::Inactive(record),
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
        active: Vec::new(),
        small: Vec::new(),
        total: cache.stats().units_total as usize,
        active_evictions: 0,
        small_evictions: 0,
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
                let jwt = jwt(serial, len);
                let stored = cache.store(&key(number), &record, &jwt, now);
                let mut entry = Entry { number, record, jwt };
                if state == State::Active && record.is_expired(now) {
                    entry.record.state = State::Expired;
                }
                if entry.record.state != State::Active {
                    entry.jwt.clear();
                }
                prop_assert_eq!(stored, model.insert(entry));
            }
            Operation::LookUp { number, rules } => {
                let rules = &LOCATIONS[rules];
                let found = look_up(&cache, &key(number), now, rules);
                prop_assert_eq!(found, model.look_up(number, now, rules));
            }
            Operation::Remove { number } => {
                prop_assert_eq!(cache.remove(&key(number)), model.remove(number));
            }
            Operation::Clock { by } => now += by,
        }
        prop_assert_eq!(cache.check(), Ok(()));
        let stats = cache.stats();
        prop_assert_eq!(stats.active_entries as usize, model.active.len());
        prop_assert_eq!(stats.small_entries as usize, model.small.len());
        prop_assert_eq!(stats.active_evictions, model.active_evictions);
        prop_assert_eq!(stats.small_evictions, model.small_evictions);
        prop_assert_eq!(stats.units_used as usize, units(&model.active) + units(&model.small));
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
