//! JWK sets: no panic, and no key that is private, secret or for something else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::jose::{KeySet, KeySetError};
use phantom_token_fuzz::reference::keys::candidates;

fuzz_target!(|text: &[u8]| {
    match KeySet::parse(text) {
        Ok(set) => {
            assert!(!set.is_empty());
            assert!(set.len() <= candidates(text).unwrap_or(0));
            assert_eq!(KeySet::parse(text).map(|again| *again.identity()), Ok(*set.identity()));
            for key in set.ignored() {
                assert!(!key.to_string().contains(char::is_control));
            }
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            let is_set = !matches!(
                error,
                KeySetError::NoKey | KeySetError::TooManyKeys | KeySetError::NoUsableKey(_)
            );
            assert!(is_set || candidates(text).is_some());
        }
    }
});
