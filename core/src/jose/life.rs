//! When a JWK set is fetched again.

use crate::freshness::CLOCK_TOLERANCE;
use crate::record::{Record, UnixMillis};

/// A set is fetched at most once in so many milliseconds, whatever asks for another one, also while the server fails.
pub const INTERVAL: i64 = 10_000;
/// The life of a set whose answer says nothing of it. What says `no-store`, `no-cache` or `max-age=0`, as many
/// servers do in every answer, says nothing.
const DEFAULT_LIFE: i64 = 10 * 60 * 1_000;
/// The shortest life that an answer can give a set: half of it is an interval.
const SHORTEST_LIFE: i64 = 2 * INTERVAL;
const LONGEST_LIFE: i64 = 24 * 60 * 60 * 1_000;

/// What a set is good for at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAge {
    /// To be used.
    Fresh,
    /// To be used, and to be fetched again meanwhile: half of its life is over.
    Aging,
    /// To be fetched again before it is used, if the server can be asked.
    Old,
}

/// How old the set is that this record is about. A clock that was set back makes it old: nobody can tell.
#[must_use]
pub fn age(record: &Record, now: UnixMillis) -> SetAge {
    let directives = record.directives;
    let stated = directives.max_age.filter(|&age| age > 0 && !directives.uncacheable);
    let life = stated
        .map_or(DEFAULT_LIFE, |age| (i64::from(age) * 1_000).clamp(SHORTEST_LIFE, LONGEST_LIFE));
    match now.saturating_sub(record.confirmed) {
        age if age < -CLOCK_TOLERANCE || age >= life => SetAge::Old,
        age if age >= life / 2 => SetAge::Aging,
        _ => SetAge::Fresh,
    }
}

/// Whether what happened at `then` was less than an [`INTERVAL`] ago.
#[must_use]
pub fn is_recent(then: UnixMillis, now: UnixMillis) -> bool {
    (-CLOCK_TOLERANCE..INTERVAL).contains(&now.saturating_sub(then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CacheDirectives, Document, State};

    const FETCHED: UnixMillis = 1_000_000;

    fn ages(max_age: Option<u32>, uncacheable: bool, after: &[i64]) -> Vec<SetAge> {
        let record = Record {
            state: State::Active,
            confirmed: FETCHED,
            document: Document::Keys,
            expires: None,
            directives: CacheDirectives { max_age, uncacheable },
            bound: false,
        };
        after.iter().map(|seconds| age(&record, FETCHED + seconds * 1_000)).collect()
    }

    #[test]
    fn lives() {
        use SetAge::{Aging, Fresh, Old};
        let expected = [Fresh, Fresh, Aging, Aging, Old];
        assert_eq!(ages(Some(100), false, &[0, 49, 50, 99, 100]), expected);
        for (max_age, uncacheable) in
            [(None, false), (Some(0), false), (None, true), (Some(60), true)]
        {
            assert_eq!(ages(max_age, uncacheable, &[0, 299, 300, 599, 600]), expected);
        }
        assert_eq!(ages(Some(1), false, &[0, 9, 10, 19, 20]), expected);
        let day = 24 * 3_600;
        assert_eq!(ages(Some(u32::MAX), false, &[0, 1, day / 2, day - 1, day]), expected);
        assert_eq!(ages(None, false, &[-5, -6]), [Fresh, Old]);
    }

    #[test]
    fn recent() {
        let recent = |after| is_recent(FETCHED, FETCHED + after);
        assert!(recent(-5_000) && recent(0) && recent(9_999));
        assert!(!recent(-5_001) && !recent(10_000) && !is_recent(i64::MIN, 0));
    }
}
