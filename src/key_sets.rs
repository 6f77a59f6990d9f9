//! Keys at hand: those of a file, and those that were fetched, which lie in the zone as they came and decoded in
//! each worker that has used them.

use core::cell::RefCell;
use core::mem::MaybeUninit;
use core::num::NonZeroUsize;
use core::ops::Deref;
use std::rc::Rc;

use lru::LruCache;
use phantom_token_core::cache::{Body, Cache, LookUp, Stored};
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::jose::{self, KeySet, SetAge};
use phantom_token_core::key::{self, TokenKey};
use phantom_token_core::record::{CacheDirectives, Document, Record, State, UnixMillis};

use crate::conf::{LocationConf, ServerConf};
use crate::keys::Keys;

/// How many decoded sets a worker keeps. One that goes is decoded again when it is asked for.
const SETS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// A set lies in the zone until another one replaces it, whatever its age: it may be the last good one.
const FOR_EVER: Freshness = Freshness {
    max_ttl: i64::MAX,
    default_ttl: i64::MAX,
    negative_ttl: 0,
    control: Control::Ignore,
    refresh: 0,
    use_stale: 0,
};

/// Keys that can be used now.
pub(crate) enum Set<'l> {
    File(&'l KeySet),
    Fetched(Rc<KeySet>),
}

impl Deref for Set<'_> {
    type Target = KeySet;

    fn deref(&self) -> &KeySet {
        match self {
            Self::File(set) => set,
            Self::Fetched(set) => set,
        }
    }
}

/// The keys of a location, if they need not be fetched first; `question::fetch_keys` does that.
pub(crate) fn at_hand<'l>(
    location: &'l LocationConf,
    server: &ServerConf,
    now: UnixMillis,
) -> Option<Set<'l>> {
    match location.keys()? {
        Keys::File(set) => Some(Set::File(set)),
        Keys::Uri(_) => Place::of(location, server)?.find(now).map(|(set, _)| Set::Fetched(set)),
    }
}

/// A set as this worker knows it.
struct Known {
    set: Rc<KeySet>,
    /// When it was asked for, and what the answer said of its life.
    record: Record,
    /// When this worker tried in vain to get another one.
    tried: UnixMillis,
    /// The log has said that the server has no other one to give.
    fails: bool,
    /// A JWT was not verified by it, though it may be by the server's keys of now.
    doubted: bool,
}

struct Worker(RefCell<Option<LruCache<TokenKey, Known>>>);

// SAFETY: a worker of NGINX runs requests in one thread, and each worker has sets of its own.
unsafe impl Sync for Worker {}

static WORKER: Worker = Worker(RefCell::new(None));

/// Drops all decoded sets of this worker.
pub(crate) fn forget() {
    let Worker(sets) = &WORKER;
    if let Ok(mut sets) = sets.try_borrow_mut() {
        *sets = None;
    }
}

/// What became of a set that could not be fetched.
pub(crate) enum Failed {
    /// There is none.
    NoSet,
    /// The last good one goes on, for the first time or not.
    LastGood {
        /// The log has not said so yet.
        is_news: bool,
    },
}

/// Where the set of one source is kept.
pub(crate) struct Place<'l> {
    cache: Option<&'l Cache>,
    /// The set.
    pub(crate) key: TokenKey,
    /// An entry without a body, which says when another one was asked for in vain.
    tried: TokenKey,
}

impl<'l> Place<'l> {
    /// `None`: the location fetches no keys. Two server blocks never share a set: the same URI leads each to its
    /// own location.
    pub(crate) fn of(location: &'l LocationConf, server: &ServerConf) -> Option<Self> {
        let Keys::Uri(source) = location.keys()? else { return None };
        let identity = server.identity.get();
        let key = |purpose| {
            key::keys(location.secret(), [purpose, &identity[..], &source.identity()[..]])
        };
        Some(Self { cache: location.shared_cache(), key: key(b"set"), tried: key(b"tried") })
    }

    /// The newest set, and its age.
    pub(crate) fn find(&self, now: UnixMillis) -> Option<(Rc<KeySet>, SetAge)> {
        let shared = self.cache.and_then(|cache| cache.glance(&self.key));
        let own = self.with(|known| known.record.confirmed);
        if shared.is_some_and(|shared| own.is_none_or(|own| shared.confirmed > own)) {
            // Another worker has fetched it. It was judged then, and is again now.
            if let Some((set, record)) = self.load(now) {
                self.put(Rc::new(set), record);
            }
        }
        self.with(|known| {
            let age = jose::age(&known.record, now);
            let age = if known.doubted && age == SetAge::Fresh { SetAge::Aging } else { age };
            (Rc::clone(&known.set), age)
        })
    }

    fn load(&self, now: UnixMillis) -> Option<(KeySet, Record)> {
        let mut text = Vec::<MaybeUninit<u8>>::new();
        let found = self.cache?.look_up(&self.key, now, &FOR_EVER, |len| {
            text.resize(len, MaybeUninit::uninit());
            Some(&mut text[..])
        });
        match found {
            LookUp::Active { document, record, .. } if record.document == Document::Keys => {
                KeySet::parse(document).ok().map(|set| (set, record))
            }
            _ => None,
        }
    }

    /// Whether another set was fetched, or tried to be, just now, by whatever worker.
    pub(crate) fn is_recent(&self, now: UnixMillis) -> bool {
        let shared = |key| self.cache.and_then(|cache| cache.glance(key));
        let is_recent = |then| jose::is_recent(then, now);
        self.with(|known| is_recent(known.record.confirmed) || is_recent(known.tried))
            .unwrap_or(false)
            || [&self.key, &self.tried]
                .into_iter()
                .filter_map(shared)
                .any(|record| is_recent(record.confirmed))
    }

    /// Whether this set, which has just arrived, has other keys that cannot be used than the one before: of those the log
    /// has told.
    pub(crate) fn is_news(&self, set: &KeySet, now: UnixMillis) -> bool {
        let before = self.find(now);
        before.is_none_or(|(before, _)| before.unusable() != set.unusable())
    }

    /// A new set has arrived. Says whether it ends an outage that the log has told of, and whether it has found
    /// room for the other workers.
    pub(crate) fn keep(
        &self,
        set: KeySet,
        (asked, directives): (UnixMillis, CacheDirectives),
        text: &[u8],
        now: UnixMillis,
    ) -> (bool, Stored) {
        let record = record(asked, directives);
        let body = Body { document: text, facts: &[] };
        let stored = self.cache.map_or(Stored::Stored, |cache| {
            cache.remove(&self.tried);
            cache.store(&self.key, &record, body, now)
        });
        let failed = self.with(|known| known.fails).unwrap_or(false);
        self.put(Rc::new(set), record);
        (failed, stored)
    }

    /// No new set has arrived.
    pub(crate) fn fail(&self, now: UnixMillis) -> Failed {
        if self.find(now).is_none() {
            return Failed::NoSet;
        }
        if let Some(cache) = self.cache {
            let record = record(now, CacheDirectives::default());
            cache.store(&self.tried, &record, Body::default(), now);
        }
        self.pause(now);
        let is_news = self.with(|known| !core::mem::replace(&mut known.fails, true));
        Failed::LastGood { is_news: is_news.unwrap_or(false) }
    }

    /// Whether a JWT that the set does not verify is at fault. It may be the set, where that is not of now and no other
    /// one could be had.
    pub(crate) fn is_of_now(&self, now: UnixMillis) -> bool {
        self.with(|known| jose::is_recent(known.record.confirmed, now)).unwrap_or(false)
    }

    /// Has this worker ask for no other set for a while.
    pub(crate) fn pause(&self, now: UnixMillis) {
        self.with(|known| known.tried = now);
    }

    /// A JWT that may be right was not verified by this set, and nobody waits for another one.
    pub(crate) fn doubt(&self) {
        self.with(|known| known.doubted = true);
    }

    fn put(&self, set: Rc<KeySet>, record: Record) {
        let known = Known { set, record, tried: i64::MIN, fails: false, doubted: false };
        let Worker(sets) = &WORKER;
        let Ok(mut sets) = sets.try_borrow_mut() else { return };
        sets.get_or_insert_with(|| LruCache::new(SETS)).put(self.key, known);
    }

    fn with<T>(&self, body: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let Worker(sets) = &WORKER;
        sets.try_borrow_mut().ok()?.as_mut()?.get_mut(&self.key).map(body)
    }
}

fn record(confirmed: UnixMillis, directives: CacheDirectives) -> Record {
    Record {
        state: State::Active,
        confirmed,
        document: Document::Keys,
        expires: None,
        directives,
        bound: false,
    }
}
