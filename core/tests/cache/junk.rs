//! A flood of tokens that nobody issued, through a zone of the default size. `PHANTOM_TOKEN_OPERATIONS` says
//! how many there are instead of those of a usual run.

use crate::support::*;

const VALID: u32 = 5_000;
const JUNK: u32 = 100_000;

#[test]
fn a_flood_of_junk_pushes_out_none_of_5000_valid_tokens() {
    let junk: u32 =
        std::env::var("PHANTOM_TOKEN_OPERATIONS").map_or(JUNK, |count| count.parse().unwrap());
    let memory = Memory::new(16 << 20);
    let cache = memory.create();
    for number in 0..VALID {
        cache.store(&key(number), &active(), &jwt(number, 1200), NOW);
    }
    for number in VALID..VALID + junk {
        cache.store(&key(number), &inactive(), b"", NOW);
    }
    let stats = cache.stats();
    assert_eq!((stats.active_entries, stats.active_evictions), (u64::from(VALID), 0));
    // The junk that is still known takes no more than its eighth.
    assert_eq!(stats.small_entries + stats.small_evictions, u64::from(junk));
    assert!(stats.small_entries <= stats.units_total / 8);
    for number in 0..VALID {
        assert_eq!(get(&cache, number), Found::Active(jwt(number, 1200), active()), "{number}");
    }
    assert_eq!(get(&cache, VALID + junk - 1), Found::Inactive(inactive()));
    cache.check().unwrap();
}
