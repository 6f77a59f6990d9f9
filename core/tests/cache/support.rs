//! Regions, keys and JWTs for the tests of the cache.

use std::mem::MaybeUninit;

use phantom_token_core::cache::{Cache, LookUp};
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::key::{RealmKey, TokenKey};
use phantom_token_core::record::{CacheDirectives, Document, Record, State, UnixMillis};

pub(crate) use crate::random::Random;
pub(crate) use crate::shared::{Memory, fork, kill, wait, wait_at_most};

pub(crate) const SECRET: [u8; 32] = [0x5a; 32];
pub(crate) const NOW: UnixMillis = 1_700_000_000_000;
/// Everything is fresh for a day.
pub(crate) const RULES: Freshness = Freshness {
    max_ttl: 86_400_000,
    default_ttl: 86_400_000,
    negative_ttl: 86_400_000,
    control: Control::Ignore,
    refresh: 0,
    use_stale: 0,
};

impl Memory {
    /// The same memory twice, at two addresses.
    pub(crate) fn twice(len: usize) -> [Self; 2] {
        // SAFETY: plain system calls on a descriptor of our own.
        unsafe {
            let file = libc::memfd_create(c"cache".as_ptr(), libc::MFD_CLOEXEC);
            assert!(file >= 0);
            assert_eq!(libc::ftruncate(file, len as libc::off_t), 0);
            let both = [0, 1].map(|_| Self::map(len, libc::MAP_SHARED, file));
            libc::close(file);
            both
        }
    }

    pub(crate) fn create(&self) -> Cache {
        // SAFETY: the memory is zeroed and outlives the handle in every test.
        unsafe { Cache::create(self.base, self.len, SECRET) }.unwrap()
    }

    pub(crate) fn attach(&self) -> Cache {
        // SAFETY: as in `create`.
        unsafe { Cache::attach(self.base, self.len) }.unwrap()
    }
}

pub(crate) fn key(number: u32) -> TokenKey {
    RealmKey::new(&SECRET, []).token(&number.to_le_bytes())
}

pub(crate) fn active() -> Record {
    Record {
        state: State::Active,
        confirmed: NOW,
        expires: None,
        directives: CacheDirectives::default(),
        document: Document::Jwt,
        bound: false,
    }
}

pub(crate) fn inactive() -> Record {
    Record { state: State::Inactive, ..active() }
}

/// Fills `jwt` with what belongs to this key: the number again and again, so that another's bytes show
/// wherever they come from.
pub(crate) fn write_jwt(number: u32, jwt: &mut [u8]) {
    for piece in jwt.chunks_mut(4) {
        piece.copy_from_slice(&number.to_be_bytes()[..piece.len()]);
    }
}

pub(crate) fn jwt(number: u32, len: usize) -> Vec<u8> {
    let mut jwt = vec![0; len];
    write_jwt(number, &mut jwt);
    jwt
}

/// What a look-up said, comparable.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    Miss,
    Active(Vec<u8>, Record),
    Inactive(Record),
    Expired(Record),
    NoRoom,
}

pub(crate) fn look_up(cache: &Cache, key: &TokenKey, now: UnixMillis, rules: &Freshness) -> Found {
    let mut memory = vec![MaybeUninit::new(0xee); 1 << 17];
    match cache.look_up(key, now, rules, |len| memory.get_mut(..len)) {
        LookUp::Miss => Found::Miss,
        LookUp::Active { document: jwt, record, .. } => Found::Active(jwt.to_vec(), record),
        LookUp::Inactive(record) => Found::Inactive(record),
        LookUp::Expired(record) => Found::Expired(record),
        LookUp::NoRoom => Found::NoRoom,
    }
}

/// The facts that a look-up gives; none where there are none, or no active token.
pub(crate) fn facts_of(
    cache: &Cache,
    key: &TokenKey,
    now: UnixMillis,
    rules: &Freshness,
) -> Vec<u8> {
    let mut memory = vec![MaybeUninit::new(0xee); 1 << 17];
    match cache.look_up(key, now, rules, |len| memory.get_mut(..len)) {
        LookUp::Active { facts, .. } => facts.to_vec(),
        _ => Vec::new(),
    }
}

/// A look-up at [`NOW`] under [`RULES`].
pub(crate) fn get(cache: &Cache, number: u32) -> Found {
    look_up(cache, &key(number), NOW, &RULES)
}
