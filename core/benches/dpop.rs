//! How long a DPoP proof takes to check, per algorithm: `cargo bench -p phantom-token-core --bench dpop`.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use phantom_token_core::dpop::{ALGORITHMS, Expect, Proofs};
use phantom_token_core::key::ProofKey;

#[path = "../tests/jose/support.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod keys;
#[path = "../tests/dpop/support.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod support;

use support::{NOW, SECRET, expect, proof, thumbprint};

/// The best of so many rounds is what the machine takes when nothing else runs.
const ROUNDS: u32 = 200;
const PROOFS: u32 = 10;

fn main() {
    for algorithm in ALGORITHMS {
        let pair = keys::pair_for(algorithm);
        let (proof, key) = (proof(algorithm, pair), thumbprint(pair));
        let time = |known| {
            let best = (0..ROUNDS).map(|_| round(&proof, &expect(&key), known)).min();
            best.unwrap_or_default().as_secs_f64() * 1e6 / f64::from(PROOFS)
        };
        let (known, new) = (time(true), time(false));
        println!(
            "{algorithm}: {known:.1} µs for a proof of {} bytes, {new:.1} µs by a new key",
            proof.len()
        );
    }
}

fn round(proof: &str, expect: &Expect<'_>, known: bool) -> Duration {
    let names = ProofKey::new(&SECRET);
    let new = || Proofs::new(NonZeroUsize::MIN);
    let mut proofs = new();
    let check = |proofs: &mut Proofs| {
        let checked = proofs.check(black_box(proof.as_bytes()), expect, &names, NOW);
        assert!(black_box(checked).is_ok());
    };
    check(&mut proofs);
    let start = Instant::now();
    for _ in 0..PROOFS {
        if !known {
            proofs = new();
        }
        check(&mut proofs);
    }
    start.elapsed()
}
