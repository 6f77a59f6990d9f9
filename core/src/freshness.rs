//! How long a verdict may be used without asking again: the rules of one location.

use crate::record::{CacheDirectives, Record, State, UnixMillis};

/// How far the clock may have been set back since a verdict was confirmed, in milliseconds. Beyond it
/// nobody can tell how old the verdict is. Workers on one machine read the same clock, but NGINX's
/// cached time and the steps of a time daemon make small differences normal.
pub const CLOCK_TOLERANCE: i64 = 5_000;

/// What `Cache-Control` of the answer counts for (`phantom_token_cache_control`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// A `max-age` can only shorten. Where `exp` is known, an answer that wants no caching at all is
    /// not heeded: many servers say so on every answer, and its life is known from `exp`.
    Lower,
    /// HTTP's rules, on top of `exp`.
    Obey,
    /// `exp` alone.
    Ignore,
}

/// The rules of one location; all times in milliseconds, a negative one counts as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// An active token is asked about again at the latest this long after it was confirmed.
    pub max_ttl: i64,
    /// For active tokens where neither `exp` nor `max-age` tells; 0 keeps none of them.
    pub default_ttl: i64,
    /// For inactive tokens, whatever `Cache-Control` says: it protects the server from junk.
    pub negative_ttl: i64,
    /// What `Cache-Control` counts for.
    pub control: Control,
    /// An active token is confirmed again in the background when it was confirmed this long ago, and in
    /// the foreground past twice that time; 0 or less: never.
    pub refresh: i64,
    /// How long an active token with a known `exp` may be used past its time while the server cannot be
    /// asked.
    pub use_stale: i64,
}

/// What a verdict is good for at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// To be used.
    Fresh,
    /// To be used, and to be confirmed meanwhile.
    Aging,
    /// To be asked about. Of use only if the server cannot be asked.
    Stale,
    /// Of no use.
    Over,
}

impl Freshness {
    /// The first instant at which the verdict is no longer fresh; `None` if it never is.
    ///
    /// [`State::Expired`] is not judged by these rules, since time does not run back: [`i64::MAX`].
    #[must_use]
    #[inline]
    pub fn fresh_until(&self, record: &Record) -> Option<UnixMillis> {
        let after = |ttl: i64| record.confirmed.saturating_add(ttl.max(0));
        let until = match record.state {
            State::Expired => return Some(UnixMillis::MAX),
            State::Inactive => after(self.negative_ttl),
            State::Active => {
                let life = match self.life(record) {
                    Life::None => return None,
                    Life::Unknown if record.expires.is_some() => self.max_ttl,
                    Life::Unknown => self.default_ttl.min(self.max_ttl),
                    Life::Millis(life) => life.min(self.max_ttl),
                };
                let refresh = Some(self.refresh).filter(|&refresh| refresh > 0);
                let foreground = refresh.map_or(i64::MAX, |refresh| refresh.saturating_mul(2));
                after(life.min(foreground)).min(record.expires.unwrap_or(UnixMillis::MAX))
            }
        };
        // The tolerance of the clock must not lend a life to what has none.
        (until > record.confirmed).then_some(until)
    }

    /// The same rules for verdicts that come from nobody who could be asked again.
    #[must_use]
    pub fn without_server(self) -> Self {
        Self { refresh: 0, use_stale: 0, ..self }
    }

    /// Whether the verdict may be used at `now` without asking. If the clock was set back by more than
    /// [`CLOCK_TOLERANCE`], no verdict may.
    #[must_use]
    pub fn is_fresh(&self, record: &Record, now: UnixMillis) -> bool {
        now >= record.confirmed.saturating_sub(CLOCK_TOLERANCE)
            && self.fresh_until(record).is_some_and(|until| now < until)
    }

    /// What the verdict is good for at `now`; see [`Freshness::is_fresh`].
    #[must_use]
    #[inline(always)] // The short way of nearly every look-up; the long one is a call.
    pub fn age(&self, record: &Record, now: UnixMillis) -> Age {
        if self.is_young(record, now) { Age::Fresh } else { self.age_by_all_rules(record, now) }
    }

    fn age_by_all_rules(&self, record: &Record, now: UnixMillis) -> Age {
        if now < record.confirmed.saturating_sub(CLOCK_TOLERANCE) {
            return Age::Over;
        }
        let Some(until) = self.fresh_until(record) else { return Age::Over };
        let is_active = record.state == State::Active;
        if now < until {
            let is_due = is_active
                && self.refresh > 0
                && now >= record.confirmed.saturating_add(self.refresh);
            return if is_due { Age::Aging } else { Age::Fresh };
        }
        let usable = until.saturating_add(self.use_stale.max(0));
        match record.expires {
            Some(expires) if is_active && now < usable.min(expires) => Age::Stale,
            _ => Age::Over,
        }
    }

    /// Whether the verdict is [`Age::Fresh`] by all rules at once, as nearly every one is that is looked up: an active
    /// token with an `exp` to come, of an answer that said nothing of its own life, confirmed not long ago.
    #[inline(always)]
    fn is_young(&self, record: &Record, now: UnixMillis) -> bool {
        let known = record.directives == CacheDirectives::default();
        let longest = if self.refresh > 0 { self.max_ttl.min(self.refresh) } else { self.max_ttl };
        let elapsed = now.saturating_sub(record.confirmed);
        known
            && record.state == State::Active
            && record.expires.is_some_and(|expires| record.confirmed < expires && now < expires)
            && (0..longest).contains(&elapsed)
    }

    /// What `Cache-Control` makes of an active token.
    fn life(&self, record: &Record) -> Life {
        let directives = record.directives;
        let life = if directives.uncacheable || directives.max_age == Some(0) {
            Life::None
        } else {
            directives.max_age.map_or(Life::Unknown, |age| Life::Millis(i64::from(age) * 1_000))
        };
        match (self.control, life) {
            (Control::Ignore, _) => Life::Unknown,
            (Control::Lower, Life::None) if record.expires.is_some() => Life::Unknown,
            (Control::Lower | Control::Obey, life) => life,
        }
    }
}

/// How long an answer may be used, by `Cache-Control`.
enum Life {
    /// Not at all.
    None,
    /// It does not tell.
    Unknown,
    Millis(i64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Document;

    const CONFIRMED: i64 = 1_700_000_000_000;
    const RULES: Freshness = Freshness {
        max_ttl: 300_000,
        default_ttl: 20_000,
        negative_ttl: 10_000,
        control: Control::Lower,
        refresh: 0,
        use_stale: 0,
    };

    fn record(state: State, expires: Option<i64>, directives: CacheDirectives) -> Record {
        let expires = expires.map(|seconds| CONFIRMED + seconds * 1_000);
        let document = Document::Jwt;
        Record { state, confirmed: CONFIRMED, document, expires, directives, bound: false }
    }

    /// Seconds from the confirmation to the end, of an active token.
    fn life(control: Control, exp: Option<i64>, max_age: Option<u32>, no: bool) -> Option<i64> {
        let directives = CacheDirectives { max_age, uncacheable: no };
        let rules = Freshness { control, ..RULES };
        let until = rules.fresh_until(&record(State::Active, exp, directives))?;
        Some((until - CONFIRMED) / 1_000)
    }

    #[test]
    fn active_tokens() {
        use Control::{Ignore, Lower, Obey};
        // exp, max-age, uncacheable; then what each control makes of it, in seconds.
        type Case = (Option<i64>, Option<u32>, bool, [Option<i64>; 3]);
        let cases: &[Case] = &[
            (Some(100), None, false, [Some(100), Some(100), Some(100)]),
            (Some(900), None, false, [Some(300), Some(300), Some(300)]),
            (Some(100), Some(50), false, [Some(50), Some(50), Some(100)]),
            (Some(100), Some(500), false, [Some(100), Some(100), Some(100)]),
            (Some(900), Some(500), false, [Some(300), Some(300), Some(300)]),
            (Some(100), Some(0), false, [Some(100), None, Some(100)]),
            (Some(100), None, true, [Some(100), None, Some(100)]),
            (Some(100), Some(50), true, [Some(100), None, Some(100)]),
            (Some(100), Some(0), true, [Some(100), None, Some(100)]),
            (Some(0), None, false, [None, None, None]),
            (Some(-9), Some(50), false, [None, None, None]),
            (None, None, false, [Some(20), Some(20), Some(20)]),
            (None, Some(50), false, [Some(50), Some(50), Some(20)]),
            (None, Some(500), false, [Some(300), Some(300), Some(20)]),
            (None, Some(u32::MAX), false, [Some(300), Some(300), Some(20)]),
            (None, Some(0), false, [None, None, Some(20)]),
            (None, None, true, [None, None, Some(20)]),
            (None, Some(50), true, [None, None, Some(20)]),
        ];
        for &(exp, max_age, no, expected) in cases {
            let found = [Lower, Obey, Ignore].map(|control| life(control, exp, max_age, no));
            assert_eq!(found, expected, "exp {exp:?}, max-age {max_age:?}, uncacheable {no}");
        }
    }

    #[test]
    fn the_other_states() {
        let directives = CacheDirectives { max_age: Some(0), uncacheable: true };
        let inactive = record(State::Inactive, None, directives);
        let expired = record(State::Expired, Some(-9), directives);
        for control in [Control::Lower, Control::Obey, Control::Ignore] {
            let rules = Freshness { control, ..RULES };
            assert_eq!(rules.fresh_until(&inactive), Some(CONFIRMED + 10_000));
            assert_eq!(rules.fresh_until(&expired), Some(i64::MAX));
            assert!(rules.is_fresh(&expired, CONFIRMED));
        }
    }

    #[test]
    fn a_ttl_of_zero_keeps_nothing() {
        let none = CacheDirectives::default();
        for ttl in [0, -1, i64::MIN] {
            let rules = Freshness {
                max_ttl: ttl,
                default_ttl: ttl,
                negative_ttl: ttl,
                use_stale: 1_000,
                ..RULES
            };
            for record in [
                record(State::Active, Some(100), none),
                record(State::Active, None, none),
                record(State::Active, None, CacheDirectives { max_age: Some(9), ..none }),
                record(State::Inactive, None, none),
            ] {
                assert_eq!(rules.fresh_until(&record), None);
                assert!(!rules.is_fresh(&record, CONFIRMED));
                assert!(!rules.is_fresh(&record, CONFIRMED - 1));
                assert_eq!(rules.age(&record, CONFIRMED), Age::Over);
            }
        }
    }

    #[test]
    fn default_ttl_is_bounded_too() {
        let rules = Freshness { max_ttl: 5_000, ..RULES };
        let unknown = record(State::Active, None, CacheDirectives::default());
        assert_eq!(rules.fresh_until(&unknown), Some(CONFIRMED + 5_000));
    }

    #[test]
    fn huge_times_saturate() {
        let max = i64::MAX;
        let rules = Freshness {
            max_ttl: max,
            default_ttl: max,
            negative_ttl: max,
            control: Control::Obey,
            refresh: max,
            use_stale: max,
        };
        let mut record = record(State::Active, None, CacheDirectives::default());
        assert_eq!(rules.fresh_until(&record), Some(i64::MAX));
        record.confirmed = i64::MIN;
        assert!(rules.is_fresh(&record, i64::MIN));
    }

    /// Ages at seconds after the confirmation.
    fn ages(rules: Freshness, record: &Record, at: &[i64]) -> Vec<Age> {
        at.iter().map(|second| rules.age(record, CONFIRMED + second * 1_000)).collect()
    }

    #[test]
    fn aging() {
        use Age::{Aging, Fresh, Over};
        let none = CacheDirectives::default();
        let rules = Freshness { refresh: 60_000, ..RULES };
        let known = record(State::Active, Some(900), none);
        assert_eq!(ages(rules, &known, &[0, 59, 60, 119, 120]), [Fresh, Fresh, Aging, Aging, Over]);
        // Whatever else ends its time comes first.
        let short = record(State::Active, Some(70), none);
        assert_eq!(ages(rules, &short, &[59, 60, 69, 70]), [Fresh, Aging, Aging, Over]);
        let lowered =
            record(State::Active, Some(900), CacheDirectives { max_age: Some(30), ..none });
        assert_eq!(ages(rules, &lowered, &[29, 30]), [Fresh, Over]);
        let inactive = record(State::Inactive, None, none);
        let rules = Freshness { refresh: 1_000, ..RULES };
        assert_eq!(ages(rules, &inactive, &[0, 1, 9, 10]), [Fresh, Fresh, Fresh, Over]);
    }

    #[test]
    fn staleness() {
        use Age::{Fresh, Over, Stale};
        let none = CacheDirectives::default();
        let rules = Freshness { use_stale: 60_000, ..RULES };
        let long = record(State::Active, Some(900), none);
        assert_eq!(ages(rules, &long, &[299, 300, 359, 360]), [Fresh, Stale, Stale, Over]);
        let short = record(State::Active, Some(310), none);
        assert_eq!(ages(rules, &short, &[299, 300, 309, 310]), [Fresh, Stale, Stale, Over]);
        // Without `exp` nobody knows how long the token may live.
        let unknown = record(State::Active, None, CacheDirectives { max_age: Some(9), ..none });
        assert_eq!(ages(rules, &unknown, &[8, 9]), [Fresh, Over]);
        let inactive = record(State::Inactive, None, none);
        assert_eq!(ages(rules, &inactive, &[9, 10]), [Fresh, Over]);
        let obeyed = Freshness { control: Control::Obey, ..rules };
        let kept_nowhere = CacheDirectives { uncacheable: true, ..none };
        let never = record(State::Active, Some(900), kept_nowhere);
        assert_eq!(ages(obeyed, &never, &[0, 1]), [Over, Over]);
        let refreshed = Freshness { refresh: 60_000, ..rules };
        assert_eq!(ages(refreshed, &long, &[59, 60, 120, 179, 180])[2..], [Stale, Stale, Over]);
        assert_eq!(rules.age(&long, CONFIRMED - CLOCK_TOLERANCE - 1), Over);
    }

    /// The short way says what the long one does, at every edge of every rule.
    #[test]
    fn who_is_young_is_fresh() {
        const TIMES: [i64; 9] = [i64::MIN, -1, 0, 1, 10_000, 20_000, 60_000, 300_000, i64::MAX];
        let none = CacheDirectives::default();
        let directives = [
            none,
            CacheDirectives { max_age: Some(10), ..none },
            CacheDirectives { uncacheable: true, ..none },
        ];
        let mut young = 0_u32;
        for (max_ttl, refresh, control) in TIMES
            .iter()
            .flat_map(|&max_ttl| TIMES.map(|refresh| (max_ttl, refresh)))
            .flat_map(|(max_ttl, refresh)| {
                [Control::Lower, Control::Obey, Control::Ignore]
                    .map(|control| (max_ttl, refresh, control))
            })
        {
            let rules = Freshness { max_ttl, refresh, control, use_stale: 5_000, ..RULES };
            for (state, directives) in [State::Active, State::Inactive, State::Expired]
                .iter()
                .flat_map(|&state| directives.map(|directives| (state, directives)))
            {
                for life in [None, Some(-1), Some(0), Some(1), Some(100_000), Some(i64::MAX)] {
                    let mut record = record(state, None, directives);
                    record.expires = life.map(|life| CONFIRMED.saturating_add(life));
                    for time in TIMES {
                        for now in
                            [-1, 0, 1].map(|off| CONFIRMED.saturating_add(time).saturating_add(off))
                        {
                            let age = rules.age_by_all_rules(&record, now);
                            assert_eq!(rules.age(&record, now), age, "{rules:?} {record:?} {now}");
                            young += u32::from(rules.is_young(&record, now));
                        }
                    }
                    record.confirmed = i64::MAX / 2;
                    let now = i64::MIN / 2;
                    let age = rules.age_by_all_rules(&record, now);
                    assert_eq!(rules.age(&record, now), age, "{rules:?} {record:?} {now}");
                }
            }
        }
        assert!(young > 100, "{young}");
    }

    #[test]
    fn without_a_server_nothing_ages() {
        use Age::{Fresh, Over};
        let rules = Freshness { refresh: 60_000, use_stale: 60_000, ..RULES }.without_server();
        let known = record(State::Active, Some(900), CacheDirectives::default());
        assert_eq!(
            ages(rules, &known, &[0, 60, 120, 299, 300, 359]),
            [Fresh, Fresh, Fresh, Fresh, Over, Over]
        );
        let short = record(State::Active, Some(100), CacheDirectives::default());
        assert_eq!(ages(rules, &short, &[99, 100]), [Fresh, Over]);
    }

    #[test]
    fn the_clock() {
        let record = record(State::Active, Some(100), CacheDirectives::default());
        let cases = [
            (CONFIRMED, true),
            (CONFIRMED + 99_999, true),
            (CONFIRMED + 100_000, false),
            (CONFIRMED - CLOCK_TOLERANCE, true),
            (CONFIRMED - CLOCK_TOLERANCE - 1, false),
        ];
        for (now, expected) in cases {
            assert_eq!(RULES.is_fresh(&record, now), expected, "{}", now - CONFIRMED);
        }
    }
}
