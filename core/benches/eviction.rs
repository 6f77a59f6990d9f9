//! Which part of the look-ups are hits, beside an exact LRU of as many entries:
//! `cargo bench -p phantom-token-core --bench eviction`.

use std::collections::{BTreeMap, HashMap};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use phantom_token_core::cache::{Cache, LookUp};
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::key::RealmKey;
use phantom_token_core::record::{CacheDirectives, Document, Record, State};

const NOW: i64 = 1_700_000_000_000;
const REGION: usize = 4 << 20;
const LOOK_UPS: u32 = 600_000;
/// Tokens of the Zipf traces: ten times what the region holds.
const TOKENS: u32 = 30_000;
const RULES: Freshness = Freshness {
    max_ttl: i64::MAX,
    default_ttl: i64::MAX,
    negative_ttl: 0,
    control: Control::Ignore,
    refresh: 0,
    use_stale: 0,
};

/// Even numbers from 0 to 1 (splitmix64).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ranks of a Zipf distribution.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(tokens: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=tokens).map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let at = random.unit() * self.0.last().expect("there are tokens");
        self.0.partition_point(|&sum| sum < at) as u32
    }
}

/// The reference.
#[derive(Default)]
struct Lru {
    last_use: HashMap<u32, u32>,
    by_use: BTreeMap<u32, u32>,
}

impl Lru {
    fn is_hit(&mut self, token: u32, at: u32, capacity: usize) -> bool {
        let before = self.last_use.insert(token, at);
        self.by_use.insert(at, token);
        if let Some(before) = before {
            self.by_use.remove(&before);
        } else if self.last_use.len() > capacity {
            let (_, oldest) = self.by_use.pop_first().expect("it is full");
            self.last_use.remove(&oldest);
        }
        before.is_some()
    }
}

/// A region for the cache.
fn cache() -> (Vec<u64>, Cache) {
    let mut memory = vec![0_u64; REGION / 8];
    let base = NonNull::new(memory.as_mut_ptr().cast()).expect("a vector is not at null");
    // SAFETY: the memory is zeroed, used by nothing else and handed out beside the handle.
    let cache =
        unsafe { Cache::create(base, REGION, [7; 32]) }.expect("the region is large enough");
    (memory, cache)
}

fn run(name: &str, mut token: impl FnMut(u32) -> u32) {
    let realm = RealmKey::new(&[7; 32], [&b"realm"[..]]);
    let record = Record {
        state: State::Active,
        confirmed: NOW,
        document: Document::Jwt,
        expires: None,
        directives: CacheDirectives::default(),
        bound: false,
    };
    let (_memory, cache) = cache();
    let mut number = u32::MAX;
    while cache.stats().active_evictions == 0 {
        cache.store(&realm.token(&number.to_le_bytes()), &record, &[b'j'; 1200], NOW);
        number -= 1;
    }
    let capacity = cache.stats().active_entries as usize;

    let mut lru = Lru::default();
    let mut hits = [0_u32; 2];
    let mut room = [MaybeUninit::uninit(); 1200];
    for at in 0..LOOK_UPS {
        let token = token(at);
        let key = realm.token(&token.to_le_bytes());
        let found = cache.look_up(&key, NOW, &RULES, |len| room.get_mut(..len));
        if matches!(found, LookUp::Active { .. }) {
            hits[0] += 1;
        } else {
            cache.store(&key, &record, &[b'j'; 1200], NOW);
        }
        hits[1] += u32::from(lru.is_hit(token, at, capacity));
    }
    let [cache, lru] = hits.map(|hits| f64::from(hits) * 100.0 / f64::from(LOOK_UPS));
    println!("  {name:<44} {cache:5.1} %   LRU {lru:5.1} %");
}

fn main() {
    println!("hits of {LOOK_UPS} look-ups, region of {} MiB", REGION >> 20);
    for exponent in [0.7, 0.9, 1.1] {
        let zipf = Zipf::new(TOKENS, exponent);
        let mut random = Random(1);
        run(&format!("Zipf {exponent}, {TOKENS} tokens"), |_| zipf.draw(&mut random));
    }
    let zipf = Zipf::new(TOKENS, 0.9);
    let mut random = Random(2);
    run("Zipf 0.9, every other one a token used once", |at| {
        if at % 2 == 0 { zipf.draw(&mut random) } else { 1_000_000 + at }
    });
    let mut random = Random(3);
    run("Zipf 0.9, and 20,000 tokens once in a row, thrice", |at| {
        if at % 200_000 < 20_000 { 1_000_000 + at } else { zipf.draw(&mut random) }
    });
    // Tokens of sessions: each is used some 50 times over a while and never again.
    for alive in [2_000, 4_000] {
        let mut random = Random(4);
        run(&format!("sessions, {alive} at a time"), |at| {
            at / 50 + (random.unit() * f64::from(alive)) as u32
        });
    }
}
