//! What the cache promises to one caller.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use phantom_token_core::cache::{Body, Cache, LookUp, OpenError, Stored};
use phantom_token_core::facts::{self, Collector, Facts};
use phantom_token_core::freshness::{Age, Control, Freshness};
use phantom_token_core::key::FactsKey;
use phantom_token_core::record::{CacheDirectives, Record, State};

use crate::support::*;

#[test]
fn every_size_comes_back_whole() {
    let memory = Memory::new(1 << 20);
    let cache = memory.create();
    let around_units = (0..45).flat_map(|units| [19, 20, 21].map(|bytes| units * 124 + bytes));
    for len in
        (0..20).chain(around_units).chain([1, 4095, 4096, 8192, 16_384, 65_535, 65_536, 70_000])
    {
        let expected = jwt(len as u32, len);
        assert_eq!(cache.store(&key(len as u32), &active(), &expected, NOW), Stored::Stored);
        assert_eq!(get(&cache, len as u32), Found::Active(expected, active()), "{len}");
        cache.check().unwrap();
    }
}

#[test]
fn facts_come_back_whole() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    let directives = CacheDirectives { max_age: Some(77), uncacheable: true };
    let expires = Some(NOW + 1);
    let record = Record { expires, directives, bound: true, ..active() };
    cache.store(&key(1), &record, b"jwt", NOW);
    assert_eq!(get(&cache, 1), Found::Active(b"jwt".to_vec(), record));
    let record = Record { directives, ..inactive() };
    cache.store(&key(1), &record, b"not kept", NOW);
    assert_eq!(get(&cache, 1), Found::Inactive(record));
    assert_eq!(cache.stats().units_used, 1);
}

#[test]
fn facts_come_back_behind_the_document() {
    let memory = Memory::new(1 << 20);
    let cache = memory.create();
    let lengths = [0, 1, 19, 20, 21, 60, 124, 1100, 1200, 1235, 1260, 1300, 5000];
    for document_len in lengths {
        for facts_len in lengths {
            let number = (document_len * 10_000 + facts_len) as u32;
            let (document, facts) = (jwt(number, document_len), jwt(!number, facts_len));
            let body = Body { document: &document, facts: &facts };
            assert_eq!(cache.store(&key(number), &active(), body, NOW), Stored::Stored);
            assert_eq!(get(&cache, number), Found::Active(document, active()), "{number}");
            assert_eq!(facts_of(&cache, &key(number), NOW, &RULES), facts, "{number}");
            cache.check().unwrap();
        }
    }
    let (document, facts) = (jwt(1, 10), vec![1; 1 << 16]);
    let body = Body { document: &document, facts: &facts };
    assert_eq!(cache.store(&key(1), &active(), body, NOW), Stored::TooLarge);
    // Nor are they kept of what is not active.
    let body = Body { document: &document, facts: &facts[..50] };
    cache.store(&key(1), &inactive(), body, NOW);
    assert_eq!(get(&cache, 1), Found::Inactive(inactive()));
    cache.check().unwrap();
}

#[test]
fn an_answer_that_was_overtaken_is_not_stored() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    let later = Record { confirmed: NOW + 10, ..inactive() };
    cache.store(&key(1), &later, b"", NOW + 20);
    assert_eq!(cache.store(&key(1), &active(), b"jwt", NOW + 30), Stored::Outdated);
    assert_eq!(look_up(&cache, &key(1), NOW + 30, &RULES), Found::Inactive(later));
    // Unless the clock was set back: what lies in the future was not asked later.
    assert_eq!(cache.store(&key(1), &active(), b"jwt", NOW + 5), Stored::Stored);
    assert_eq!(get(&cache, 1), Found::Active(b"jwt".to_vec(), active()));
}

#[test]
fn an_answer_that_was_overtaken_removes_nothing() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    assert!(!cache.remove_older(&key(1), NOW, NOW), "nothing is known");
    let later = Record { confirmed: NOW + 10, ..active() };
    cache.store(&key(1), &later, b"jwt", NOW + 20);
    assert!(!cache.remove_older(&key(1), NOW, NOW + 30));
    assert!(!cache.remove_older(&key(1), NOW + 9, NOW + 10));
    let found = look_up(&cache, &key(1), NOW + 30, &RULES);
    assert_eq!(found, Found::Active(b"jwt".to_vec(), later));
    assert!(!cache.remove_older(&key(2), NOW + 30, NOW + 30), "another token");
    // As old, older, or of a future that a clock that was set back has made.
    for (asked, now) in [(NOW + 10, NOW + 30), (NOW + 11, NOW + 30), (NOW, NOW + 9)] {
        cache.store(&key(1), &later, b"jwt", NOW + 20);
        assert!(cache.remove_older(&key(1), asked, now), "{asked}, {now}");
        assert_eq!(look_up(&cache, &key(1), NOW + 30, &RULES), Found::Miss);
        assert_eq!(cache.stats().units_used, 0);
        cache.check().unwrap();
    }
}

#[test]
fn unknown_and_removed_tokens_are_missed() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    assert_eq!(get(&cache, 1), Found::Miss);
    assert!(!cache.remove(&key(1)));
    cache.store(&key(1), &active(), &jwt(1, 2000), NOW);
    assert!(cache.remove(&key(1)));
    assert_eq!(get(&cache, 1), Found::Miss);
    assert_eq!(cache.stats().units_used, 0);
    cache.check().unwrap();
}

#[test]
fn rules_are_the_asking_locations() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    cache.store(&key(1), &active(), b"jwt", NOW);
    let short = Freshness { max_ttl: 1000, default_ttl: 1000, ..RULES };
    let hit = Found::Active(b"jwt".to_vec(), active());
    assert_eq!(look_up(&cache, &key(1), NOW + 2000, &short), Found::Miss);
    // What is stale for one location is there for the next.
    assert_eq!(look_up(&cache, &key(1), NOW + 2000, &RULES), hit);
    // A clock that was set back by an hour leaves nothing fresh, and forward again everything.
    assert_eq!(look_up(&cache, &key(1), NOW - 3_600_000, &RULES), Found::Miss);
    assert_eq!(look_up(&cache, &key(1), NOW, &short), hit);

    cache.store(&key(2), &inactive(), b"", NOW);
    let brief = Freshness { negative_ttl: 1000, control: Control::Lower, ..RULES };
    assert_eq!(look_up(&cache, &key(2), NOW + 2000, &brief), Found::Miss);
    assert_eq!(look_up(&cache, &key(2), NOW + 500, &brief), Found::Inactive(inactive()));
}

#[test]
fn the_age_comes_with_the_verdict() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    let record = Record { expires: Some(NOW + 9_000), ..active() };
    cache.store(&key(1), &record, b"jwt", NOW);
    let rules = Freshness { refresh: 1_000, use_stale: 3_000, ..RULES };
    let age = |after| {
        let mut room = [MaybeUninit::uninit(); 3];
        match cache.look_up(&key(1), NOW + after, &rules, |len| room.get_mut(..len)) {
            LookUp::Active { age, .. } => age,
            _ => Age::Over,
        }
    };
    let ages = [0, 999, 1_000, 1_999, 2_000, 4_999, 5_000].map(age);
    let expected =
        [Age::Fresh, Age::Fresh, Age::Aging, Age::Aging, Age::Stale, Age::Stale, Age::Over];
    assert_eq!(ages, expected);
}

#[test]
fn an_expired_token_stays_expired_and_its_jwt_is_gone() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    let record = Record { expires: Some(NOW + 1000), ..active() };
    let expired = Found::Expired(Record { state: State::Expired, ..record });
    cache.store(&key(1), &record, &jwt(0x5e_c4_e7_00, 3000), NOW);
    assert!(matches!(look_up(&cache, &key(1), NOW + 999, &RULES), Found::Active(..)));
    assert!(contains(&memory, &jwt(0x5e_c4_e7_00, 100)));
    // Even where nothing would be fresh any more.
    let nothing =
        Freshness { max_ttl: 0, default_ttl: 0, negative_ttl: 0, control: Control::Obey, ..RULES };
    assert_eq!(look_up(&cache, &key(1), NOW + 1000, &nothing), expired);
    assert!(!contains(&memory, &jwt(0x5e_c4_e7_00, 8)));
    assert_eq!((cache.stats().units_used, cache.stats().small_entries), (1, 1));
    // Time does not run back.
    assert_eq!(look_up(&cache, &key(1), NOW, &RULES), expired);
    cache.check().unwrap();
    // An answer that comes too late is stored as what it is by then.
    cache.store(&key(2), &record, &jwt(0x5e_c4_e7_00, 3000), NOW + 1000);
    assert_eq!(look_up(&cache, &key(2), NOW, &RULES), expired);
    assert!(!contains(&memory, &jwt(0x5e_c4_e7_00, 8)));
}

fn contains(memory: &Memory, what: &[u8]) -> bool {
    // SAFETY: the whole mapping is readable, and nobody writes to it now.
    let bytes = unsafe { std::slice::from_raw_parts(memory.base.as_ptr(), memory.len) };
    bytes.windows(what.len()).any(|window| window == what)
}

#[test]
fn a_token_is_in_the_region_in_no_form_but_its_key() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    let realm = phantom_token_core::key::RealmKey::new(cache.secret(), []);
    let token = b"a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d";
    cache.store(&realm.token(token), &active(), b"jwt", NOW);
    assert!(!contains(&memory, &token[..8]));
}

#[test]
fn what_is_too_large_is_not_kept_and_what_was_known_before_neither() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    let units = cache.stats().units_total as usize;
    // The whole of what active entries may have, but for the head and its index units.
    let largest = (2000..units * 128)
        .rev()
        .find(|&len| {
            let data = (len - 20).div_ceil(124);
            1 + data + (data - 9).div_ceil(30) <= units - 16
        })
        .unwrap();
    for number in 1..9 {
        cache.store(&key(number), &active(), &jwt(number, 900), NOW);
    }
    assert_eq!(cache.store(&key(1), &active(), &jwt(1, largest + 1), NOW), Stored::TooLarge);
    assert_eq!(get(&cache, 1), Found::Miss);
    assert_eq!(cache.stats().active_entries, 7);
    cache.store(&key(9), &inactive(), b"", NOW);
    assert_eq!(cache.store(&key(1), &active(), &jwt(1, largest), NOW), Stored::Stored);
    assert_eq!(get(&cache, 1), Found::Active(jwt(1, largest), active()));
    assert_eq!(get(&cache, 9), Found::Inactive(inactive()));
    assert_eq!(cache.stats().active_entries, 1);
    cache.check().unwrap();
}

/// Of room that was initialised.
fn bytes(room: &[MaybeUninit<u8>]) -> Vec<u8> {
    // SAFETY: the callers have initialised all of it.
    room.iter().map(|byte| unsafe { byte.assume_init() }).collect()
}

#[test]
fn without_room_nothing_is_given() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    cache.store(&key(1), &active(), &jwt(1, 500), NOW);
    let mut asked = 0;
    let found = cache.look_up(&key(1), NOW, &RULES, |len| {
        asked = len;
        None
    });
    assert!(matches!(found, LookUp::NoRoom));
    assert_eq!(asked, 500);
    let mut short = [MaybeUninit::new(0); 499];
    assert!(matches!(cache.look_up(&key(1), NOW, &RULES, |_| Some(&mut short)), LookUp::NoRoom));
    assert_eq!(bytes(&short), [0; 499]);
    let mut long = [MaybeUninit::new(9); 600];
    let LookUp::Active { document: given, .. } =
        cache.look_up(&key(1), NOW, &RULES, |_| Some(&mut long))
    else {
        panic!("no JWT");
    };
    assert_eq!(given, jwt(1, 500));
    assert_eq!(bytes(&long[500..]), [9; 100]);
}

#[test]
fn the_cache_within_the_room_callback_is_refused_and_nothing_breaks() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    cache.store(&key(1), &active(), b"jwt", NOW);
    let mut room = [MaybeUninit::uninit(); 8];
    let found = cache.look_up(&key(1), NOW, &RULES, |_| {
        assert_eq!(cache.store(&key(2), &active(), b"jwt", NOW), Stored::Unavailable);
        assert!(!cache.remove(&key(1)));
        Some(&mut room)
    });
    assert!(matches!(found, LookUp::Active { .. }));
    assert_eq!(cache.store(&key(2), &active(), b"jwt", NOW), Stored::Stored);
    cache.check().unwrap();
}

#[test]
fn a_panic_in_the_room_callback_frees_the_lock_and_loses_nothing() {
    let memory = Memory::new(1 << 16);
    let cache = memory.create();
    cache.store(&key(1), &active(), b"jwt", NOW);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.look_up(&key(1), NOW, &RULES, |_| panic!("out of memory"));
    }));
    assert!(panicked.is_err());
    assert_eq!(get(&cache, 1), Found::Active(b"jwt".to_vec(), active()));
    assert_eq!(cache.stats().recoveries, 0);
}

#[test]
fn attaching_keeps_everything_at_whatever_address() {
    let [here, there] = Memory::twice(1 << 20);
    let cache = here.create();
    for number in 0..100 {
        cache.store(&key(number), &active(), &jwt(number, 1200), NOW);
    }
    let other = there.attach();
    assert!(here.base != there.base);
    assert_eq!(other.secret(), &SECRET);
    for number in 0..100 {
        assert_eq!(get(&other, number), Found::Active(jwt(number, 1200), active()));
    }
    assert_eq!(other.store(&key(7), &inactive(), b"", NOW), Stored::Stored);
    assert_eq!(get(&cache, 7), Found::Inactive(inactive()));
    assert_eq!(cache.stats(), other.stats());
    other.check().unwrap();
}

#[test]
fn what_is_no_cache_of_ours_is_refused() {
    let memory = Memory::new(1 << 16);
    // SAFETY: the memory outlives the handles, which are dropped at once.
    let attach = |len| unsafe { Cache::attach(memory.base, len) }.map(drop);
    assert_eq!(attach(memory.len), Err(OpenError::NotACache));
    let _ = memory.create();
    assert_eq!(attach(memory.len), Ok(()));
    let (found, expected) = (1 << 16, 1 << 15);
    assert_eq!(attach(1 << 15), Err(OpenError::Length { found, expected }));
    let least = Cache::MIN_SIZE;
    assert_eq!(attach(least - 1), Err(OpenError::TooSmall { len: least - 1, least }));
    // SAFETY: within the mapping.
    let odd = NonNull::new(unsafe { memory.base.as_ptr().add(4) }).unwrap();
    // SAFETY: refused before anything is read.
    let refused = unsafe { Cache::attach(odd, least) }.map(drop);
    assert_eq!(refused, Err(OpenError::Misaligned));
    // The layout version stands behind magic and length.
    // SAFETY: within the mapping, and no handle is in use.
    unsafe { memory.base.as_ptr().add(16).write(99) };
    assert!(matches!(attach(memory.len), Err(OpenError::Layout { found: 99, .. })));
    // SAFETY: as above.
    unsafe { memory.base.as_ptr().write(0) };
    assert_eq!(attach(memory.len), Err(OpenError::NotACache));
}

#[test]
fn junk_pushes_out_no_active_entry() {
    let memory = Memory::new(1 << 20);
    let cache = memory.create();
    let mut count = 0;
    while cache.stats().active_evictions == 0 {
        cache.store(&key(count), &active(), &jwt(count, 1200), NOW);
        count += 1;
    }
    for number in 1_000_000..1_050_000 {
        cache.store(&key(number), &inactive(), b"", NOW);
    }
    assert_eq!(cache.stats().active_evictions, 1);
    assert_eq!(get(&cache, 0), Found::Miss);
    for number in 1..count {
        assert_eq!(get(&cache, number), Found::Active(jwt(number, 1200), active()));
    }
    // Yet the newest junk is known: it costs no question the second time.
    assert_eq!(get(&cache, 1_049_999), Found::Inactive(inactive()));
    cache.check().unwrap();
}

#[test]
fn junk_stays_within_an_eighth_even_of_an_empty_cache() {
    let memory = Memory::new(1 << 20);
    let cache = memory.create();
    for number in 0..50_000 {
        cache.store(&key(number), &inactive(), b"", NOW);
    }
    let stats = cache.stats();
    assert_eq!(stats.units_used, stats.units_total / 8);
    cache.check().unwrap();
}

#[test]
fn active_entries_leave_the_small_ones_their_reserve() {
    let memory = Memory::new(1 << 20);
    let cache = memory.create();
    for number in 0..1000 {
        cache.store(&key(number), &inactive(), b"", NOW);
    }
    for number in 1000..3000 {
        cache.store(&key(number), &active(), &jwt(number, 1200), NOW);
    }
    let reserve = (cache.stats().units_total / 128) as u32;
    assert!(reserve >= 16 && cache.stats().small_entries >= u64::from(reserve));
    for number in 1000 - reserve..1000 {
        assert_eq!(get(&cache, number), Found::Inactive(inactive()));
    }
    cache.check().unwrap();
}

#[test]
fn a_jwt_of_1200_bytes_and_its_facts_cost_at_most_1450_bytes_of_region() {
    let key_of_facts = FactsKey::new(&SECRET);
    let mut collector = Collector::new(&key_of_facts);
    collector.claims(
        br#"{"scope":"openid read write","aud":"https://api.example","sub":"a","client_id":"b","sid":"c"}"#,
    );
    let mut room = [0; facts::MAX_LEN];
    let facts = collector.write(&mut room);
    let kept = Facts::read(facts);
    assert!(kept.subject.is_some() && kept.client.is_some() && kept.session.is_some());
    let body = Body { document: &[b'x'; 1200], facts };
    for len in [256 << 10, 1 << 20, 5_000_000, 16 << 20, 40 << 20] {
        let memory = Memory::new(len);
        let cache = memory.create();
        let entries = (len / 1200) as u32;
        for number in 0..entries {
            cache.store(&key(number), &active(), body, NOW);
        }
        let stats = cache.stats();
        let each = len as u64 / stats.active_entries;
        assert!(each <= 1450, "{each} bytes each in {len} bytes: {stats:?}");
        cache.check().unwrap();
    }
}

#[test]
fn an_empty_cache_takes_no_memory() {
    let memory = Memory::new(1 << 30);
    let cache = memory.create();
    assert!(resident(&memory) <= 17, "{} pages", resident(&memory));
    cache.store(&key(1), &active(), &jwt(1, 1200), NOW);
    assert!(resident(&memory) <= 20, "{} pages", resident(&memory));
}

/// Pages of the mapping that are in memory.
fn resident(memory: &Memory) -> usize {
    let mut pages = vec![0_u8; memory.len / 4096];
    // SAFETY: one byte per page of our own mapping.
    let result =
        unsafe { libc::mincore(memory.base.as_ptr().cast(), memory.len, pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().filter(|&&page| page & 1 == 1).count()
}
