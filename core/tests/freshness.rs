//! What holds of every verdict's life, whatever the location's rules are.

use phantom_token_core::freshness::{Age, CLOCK_TOLERANCE, Control, Freshness};
use phantom_token_core::record::{CacheDirectives, Document, Record, State};
use proptest::prelude::*;

/// Times that meet each other, and the ends of the range.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..2_000_000_i64, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

fn rules() -> impl Strategy<Value = Freshness> {
    let control = prop_oneof![Just(Control::Lower), Just(Control::Obey), Just(Control::Ignore)];
    let times =
        (time(), time(), time(), prop_oneof![Just(0), time()], prop_oneof![Just(0), time()]);
    (times, control).prop_map(
        |((max_ttl, default_ttl, negative_ttl, refresh, use_stale), control)| Freshness {
            max_ttl,
            default_ttl,
            negative_ttl,
            control,
            refresh,
            use_stale,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let state = prop_oneof![3 => Just(State::Active), 1 => Just(State::Inactive)];
    let max_age = prop::option::of(prop_oneof![Just(0), 0..2_000_u32, any::<u32>()]);
    let directives = (max_age, any::<bool>())
        .prop_map(|(max_age, uncacheable)| CacheDirectives { max_age, uncacheable });
    let kinds = [Document::Jwt, Document::Exchanged, Document::Json];
    let kind = proptest::sample::select(kinds.to_vec());
    (state, time(), kind, prop::option::of(time()), directives, any::<bool>()).prop_map(
        |(state, confirmed, kind, expires, directives, bound)| {
            let is_active = state == State::Active;
            let expires = expires.filter(|_| is_active);
            let document = if is_active { kind } else { Document::Jwt };
            Record { state, confirmed, document, expires, directives, bound }
        },
    )
}

proptest! {
    // A failure prints its minimal input; no file is left behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_past_exp_nor_past_the_ttl(rules in rules(), record in record(), now in time()) {
        if rules.is_fresh(&record, now) {
            prop_assert!(!record.is_over(now));
            let ttl = if record.state == State::Active { rules.max_ttl } else { rules.negative_ttl };
            prop_assert!(i128::from(now) < i128::from(record.confirmed) + i128::from(ttl));
            prop_assert!(i128::from(now) >= i128::from(record.confirmed) - i128::from(CLOCK_TOLERANCE));
        }
    }

    /// A JWT that was exchanged for the token lives as long as one that came with the verdict; yet when it is
    /// over, nobody knows of the token that it has expired.
    #[test]
    fn what_is_kept_changes_no_life(rules in rules(), record in record(), now in time()) {
        let of = |document| Record { document, ..record };
        let [plain, exchanged] = [Document::Jwt, Document::Exchanged].map(of);
        prop_assert_eq!(rules.age(&exchanged, now), rules.age(&plain, now));
        prop_assert_eq!(exchanged.is_over(now), plain.is_over(now));
        prop_assert_eq!(plain.is_expired(now), plain.is_over(now));
        prop_assert!(!exchanged.is_expired(now));
    }

    #[test]
    fn ages_agree(rules in rules(), record in record(), now in time()) {
        let age = rules.age(&record, now);
        prop_assert_eq!(rules.is_fresh(&record, now), matches!(age, Age::Fresh | Age::Aging));
        if matches!(age, Age::Aging | Age::Stale) {
            prop_assert_eq!(record.state, State::Active);
            prop_assert!(!record.is_over(now));
        }
        if age == Age::Stale {
            prop_assert!(record.expires.is_some() && rules.use_stale > 0);
        }
    }

    #[test]
    fn one_instant_ends_it(rules in rules(), record in record()) {
        if let Some(until) = rules.fresh_until(&record) {
            prop_assert!(until > record.confirmed);
            prop_assert!(rules.is_fresh(&record, until - 1));
            prop_assert!(!rules.is_fresh(&record, until));
        } else {
            prop_assert!(!rules.is_fresh(&record, record.confirmed));
        }
    }

    /// `None`, never fresh, is less than any time.
    #[test]
    fn where_exp_is_known_cache_control_only_shortens(rules in rules(), record in record()) {
        let under = |control| Freshness { control, ..rules }.fresh_until(&record);
        if record.expires.is_some() || record.state == State::Inactive {
            prop_assert!(under(Control::Obey) <= under(Control::Lower));
            prop_assert!(under(Control::Lower) <= under(Control::Ignore));
        }
    }

    #[test]
    fn without_exp_lower_and_obey_are_one(rules in rules(), record in record()) {
        let record = Record { expires: None, ..record };
        let under = |control| Freshness { control, ..rules }.fresh_until(&record);
        prop_assert_eq!(under(Control::Lower), under(Control::Obey));
        let silent = Record { directives: CacheDirectives::default(), ..record };
        let silently = Freshness { control: Control::Lower, ..rules }.fresh_until(&silent);
        prop_assert_eq!(under(Control::Ignore), silently);
    }

    #[test]
    fn a_longer_ttl_is_never_shorter(rules in rules(), record in record(), more in 0..i64::MAX) {
        let longer = Freshness { max_ttl: rules.max_ttl.saturating_add(more), ..rules };
        prop_assert!(rules.fresh_until(&record) <= longer.fresh_until(&record));
    }
}
