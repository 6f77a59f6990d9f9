//! How long a JWT takes to verify, per algorithm: `cargo bench -p phantom-token-core --bench verify`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use phantom_token_core::jose::{KeySet, verify};
use phantom_token_core::jwt::Kind;

#[path = "../tests/jose/support.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod support;

use support::{ALGORITHMS, EXPECT, NOW, all_keys, token};

/// The best of so many rounds is what the machine takes when nothing else runs.
const ROUNDS: u32 = 200;
const JWTS: u32 = 10;

fn main() {
    let keys = all_keys();
    for algorithm in ALGORITHMS {
        let jwt = token(algorithm);
        let best = (0..ROUNDS).map(|_| round(&jwt, &keys)).min().unwrap_or_default();
        let time = best.as_secs_f64() * 1e6 / f64::from(JWTS);
        println!("{algorithm}: {time:.1} µs for a JWT of {} bytes", jwt.len());
    }
}

fn round(jwt: &str, keys: &KeySet) -> Duration {
    let start = Instant::now();
    for _ in 0..JWTS {
        let verified = verify(black_box(jwt.as_bytes()), Kind::AccessToken, keys, &EXPECT, NOW);
        assert!(black_box(verified).is_ok());
    }
    start.elapsed()
}
