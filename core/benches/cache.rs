//! What a hit costs: `cargo bench -p phantom-token-core --bench cache`.
//!
//! Without arguments: times of the token's hash and of hits with few and many entries, beside what the
//! machine takes to copy as many bytes from a random place of as much memory: no cache can be faster than
//! that. `hit ENTRIES` and `copy PIECES` time one of these alone, to be run in turns: `scripts/bench look-up` does
//! so. With `count WHAT TIMES` it does one thing so many times and nothing else, so that the difference between
//! two runs under `valgrind --tool=callgrind` divided by the difference of TIMES is the instructions of one.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::time::Instant;

use phantom_token_core::cache::{Cache, LookUp};
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::key::RealmKey;
use phantom_token_core::record::{CacheDirectives, Document, Record, State};
use sha2::{Digest, Sha256};

const NOW: i64 = 1_700_000_000_000;
const JWT: usize = 1200;
/// Length of 256 random bits in base64url, the most common kind of opaque token.
const TOKEN: usize = 43;
const RULES: Freshness = Freshness {
    max_ttl: 300_000,
    default_ttl: 0,
    negative_ttl: 10_000,
    control: Control::Lower,
    refresh: 0,
    use_stale: 0,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(),
        ["hit", entries] => {
            report_hits("hit", hits(entries.parse().expect("ENTRIES is a number")));
        }
        ["copy", pieces] => {
            report_hits("copy", copies(pieces.parse().expect("PIECES is a number")));
        }
        ["count", what, times] => count(what, times.parse().expect("TIMES is a number")),
        _ => eprintln!(
            "usage: cache [hit ENTRIES | copy PIECES | count none|blake3|sha256|hit TIMES]"
        ),
    }
}

/// Zeroed memory that processes could share.
fn map(len: usize) -> NonNull<u8> {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping of zeros.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
    assert!(base != libc::MAP_FAILED, "no memory");
    // As the module does with its zones; where the system does not heed it, that is part of what is measured.
    #[cfg(target_os = "linux")]
    // SAFETY: the mapping has just been made, and what it holds does not change.
    unsafe {
        libc::madvise(base, len, libc::MADV_HUGEPAGE);
    }
    NonNull::new(base.cast()).expect("mmap gives no null")
}

/// A region for so many entries, with a secret.
fn cache(entries: u32) -> Cache {
    let len = (entries as usize * 1500).max(1 << 20);
    // SAFETY: a fresh mapping of zeros, which stays until the program ends.
    unsafe { Cache::create(map(len), len, [7; 32]) }.expect("the region is large enough")
}

/// Numbers below a limit, in no order (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(limit)) >> 64) as u32
    }
}

fn token(number: u32) -> [u8; TOKEN] {
    let mut token = [b'x'; TOKEN];
    token[..4].copy_from_slice(&number.to_le_bytes());
    token
}

fn fill(cache: &Cache, realm: &RealmKey, entries: u32) {
    let record = Record {
        state: State::Active,
        confirmed: NOW,
        expires: Some(NOW + 3_600_000),
        directives: CacheDirectives::default(),
        document: Document::Jwt,
        bound: false,
    };
    for number in 0..entries {
        cache.store(&realm.token(&token(number)), &record, &[b'j'; JWT], NOW);
    }
}

fn hit(cache: &Cache, realm: &RealmKey, number: u32, room: &mut [MaybeUninit<u8>]) {
    let key = realm.token(black_box(&token(number)));
    let found = cache.look_up(&key, NOW + 1, &RULES, |len| room.get_mut(..len));
    assert!(matches!(black_box(found), LookUp::Active { .. }), "every look-up is a hit");
}

/// What a SHA-256 keyed by a first block would cost, the nearest alternative to keyed BLAKE3.
fn sha256(keyed: &Sha256, token: &[u8]) -> [u8; 32] {
    let mut hasher = keyed.clone();
    hasher.update(token);
    hasher.finalize().into()
}

fn report() {
    let realm = RealmKey::new(&[7; 32], [&b"realm"[..]]);
    let keyed = Sha256::new_with_prefix([7; 64]);
    println!("hash of a {TOKEN}-byte token");
    let times = 2_000_000;
    println!("  keyed BLAKE3   {:6.1} ns", each(times, |n| _ = black_box(realm.token(&token(n)))));
    println!(
        "  keyed SHA-256  {:6.1} ns",
        each(times, |n| _ = black_box(sha256(&keyed, &token(n))))
    );

    println!("hit, hash included, {JWT}-byte JWT, entries in random order");
    for entries in [1, 1000, 100_000, 1_000_000] {
        report_hits(&format!("{entries:>9} entries"), hits(entries));
    }
    println!("copy of {JWT} bytes from a random place of as much memory as such entries take");
    for entries in [1, 1000, 100_000, 1_000_000] {
        report_hits(&format!("{entries:>9} pieces "), copies(entries));
    }
}

/// Times of single hits, sorted.
fn hits(entries: u32) -> Vec<u64> {
    let realm = RealmKey::new(&[7; 32], [&b"realm"[..]]);
    let cache = cache(entries);
    fill(&cache, &realm, entries);
    let mut room = [MaybeUninit::uninit(); JWT];
    single(entries, |number| hit(&cache, &realm, number, &mut room))
}

/// Times of single copies, sorted.
fn copies(pieces: u32) -> Vec<u64> {
    const PIECE: usize = 1408;
    let len = pieces as usize * PIECE;
    // SAFETY: the mapping has this length, holds zeros and stays until the program ends.
    let memory = unsafe { std::slice::from_raw_parts_mut(map(len).as_ptr(), len) };
    memory.fill(1);
    let mut room = [0; JWT];
    single(pieces, |number| {
        let from = number as usize * PIECE;
        black_box(&mut room).copy_from_slice(&memory[from..from + JWT]);
    })
}

/// Times of single calls with random numbers below a limit, in nanoseconds and sorted.
fn single(limit: u32, mut call: impl FnMut(u32)) -> Vec<u64> {
    let mut random = Random(u64::from(limit));
    (0..1_000_000).for_each(|_| call(random.below(limit)));
    let mut times: Vec<u64> = (0..500_000)
        .map(|_| {
            let number = random.below(limit);
            let start = Instant::now();
            call(number);
            start.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    times
}

fn report_hits(what: &str, sorted: Vec<u64>) {
    let part = |of: usize| sorted[sorted.len() * of / 1000];
    println!("  {what}  p50 {} ns  p99 {} ns  p99.9 {} ns", part(500), part(990), part(999));
}

/// Nanoseconds of one of `times` calls, in the quietest of five runs.
fn each(times: u32, mut call: impl FnMut(u32)) -> f64 {
    let run = |_| {
        let start = Instant::now();
        (0..times).for_each(&mut call);
        start.elapsed().as_nanos() as f64 / f64::from(times)
    };
    (0..5).map(run).fold(f64::INFINITY, f64::min)
}

fn count(what: &str, times: u32) {
    let realm = RealmKey::new(&[7; 32], [&b"realm"[..]]);
    let keyed = Sha256::new_with_prefix([7; 64]);
    let cache = cache(1000);
    fill(&cache, &realm, 1000);
    let mut room = [MaybeUninit::uninit(); JWT];
    for n in 0..times {
        match what {
            "none" => _ = black_box(token(n)),
            "blake3" => _ = black_box(realm.token(&token(n))),
            "sha256" => _ = black_box(sha256(&keyed, &token(n))),
            "hit" => hit(&cache, &realm, n % 1000, &mut room),
            _ => panic!("cannot count {what}"),
        }
    }
}
