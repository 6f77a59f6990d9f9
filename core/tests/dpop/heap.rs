//! What a proof takes of Rust's heap: nothing where its key is known, and no more than one key more where it is not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroUsize;

use phantom_token_core::dpop::{ALGORITHMS, Proofs};
use phantom_token_core::key::ProofKey;

use crate::keys::{Pair, new_p256, pair_for};
use crate::support::*;

/// Counts what the thread takes, and what of it is still there.
struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
    static KEPT: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: all is passed on to the system's allocator; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        KEPT.set(KEPT.get() + 1);
        // SAFETY: the caller keeps to the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        KEPT.set(KEPT.get() - 1);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// How often a check takes from the heap.
fn taken(proofs: &mut Proofs, pair: &Pair, proof: &str) -> usize {
    let (key, names) = (thumbprint(pair), ProofKey::new(&SECRET));
    let expect = expect(&key);
    let before = TAKEN.get();
    let checked = proofs.check(proof.as_bytes(), &expect, &names, NOW);
    let taken = TAKEN.get() - before;
    assert!(checked.is_ok(), "{:?}", checked.err());
    taken
}

#[test]
fn a_proof_of_a_known_key_takes_nothing() {
    for algorithm in ALGORITHMS {
        let (mut proofs, pair) = (proofs(), pair_for(algorithm));
        let jwt = proof(algorithm, pair);
        assert!(taken(&mut proofs, pair, &jwt) > 0, "{algorithm}: the key is parsed once");
        assert_eq!(taken(&mut proofs, pair, &jwt), 0, "{algorithm}");
    }
}

#[test]
fn of_many_keys_the_last_ones_are_kept() {
    let mut proofs = Proofs::new(NonZeroUsize::new(2).unwrap());
    let pairs = [new_p256(), new_p256(), new_p256()];
    let proof_of = |n: usize| proof("ES256", &pairs[n]);
    let jwts = [proof_of(0), proof_of(1), proof_of(2)];
    let mut check = |n: usize| taken(&mut proofs, &pairs[n], &jwts[n]);
    check(0);
    check(1);
    assert_eq!((check(0), check(1)), (0, 0), "there is room for two");
    check(0);
    let new = check(2);
    assert!(new > 0, "a third one is parsed");
    assert_eq!((check(0), check(2)), (0, 0), "in the place of the one that was used longest ago");
    let kept = KEPT.get();
    for _ in 0..100 {
        assert_eq!(
            [check(1), check(0), check(2)],
            [new; 3],
            "no room for three in turn: each is parsed anew"
        );
    }
    assert_eq!(KEPT.get(), kept, "and nothing piles up");
}
