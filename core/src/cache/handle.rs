//! A process's handle of the region: what is asked of the cache.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::body::Body;
use super::check::check;
use super::entry::{LookUp, Stored};
use super::region::{MIN_SIZE, OpenError, Region};
use super::shard::Shard;
use super::unit::Key;
use crate::freshness::Freshness;
use crate::key::TokenKey;
use crate::record::{Record, State, UnixMillis};

/// Figures of the whole cache. Shards are counted one after another, not at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries with a JWT.
    pub active_entries: u64,
    /// Entries that say inactive or expired.
    pub small_entries: u64,
    /// Active entries that had to go for others, since the region was made.
    pub active_evictions: u64,
    /// Small entries that had to go for others, since the region was made.
    pub small_evictions: u64,
    /// Units of 128 bytes in use.
    pub units_used: u64,
    /// Units of 128 bytes that there are.
    pub units_total: u64,
    /// Shards emptied because a process died or failed in the middle of a change, or because their
    /// content contradicted itself.
    pub recoveries: u64,
}

/// This process's handle of the region.
pub struct Cache {
    pub(super) region: Region,
}

impl Cache {
    /// The smallest region, in bytes: room for nine JWTs of 1,200 bytes.
    pub const MIN_SIZE: usize = MIN_SIZE;

    /// Makes a cache in a region of zeros. Does not touch memory that no entry needs.
    ///
    /// # Errors
    ///
    /// [`OpenError::TooSmall`], [`OpenError::Misaligned`], [`OpenError::Lock`].
    ///
    /// # Safety
    ///
    /// `base..base + len` is valid for reads and writes for as long as the handle lives, is zeroed, and is
    /// used by nothing but handles made by this function and by [`Cache::attach`], the latter after this
    /// one has returned. Processes may share it.
    pub unsafe fn create(
        base: NonNull<u8>,
        len: usize,
        secret: [u8; 32],
    ) -> Result<Self, OpenError> {
        // SAFETY: passed on.
        unsafe { Region::create(base, len, secret) }.map(|region| Self { region })
    }

    /// Takes up a cache that is in use, with all its entries.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for a region that [`Cache::create`] did not make, or not in this version or length.
    ///
    /// # Safety
    ///
    /// As for [`Cache::create`], but for the zeros: a region without a cache is refused, one with a cache
    /// was written by nothing else.
    pub unsafe fn attach(base: NonNull<u8>, len: usize) -> Result<Self, OpenError> {
        // SAFETY: passed on.
        unsafe { Region::attach(base, len) }.map(|region| Self { region })
    }

    /// The secret that the region was made with, for [`crate::key::RealmKey::new`].
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        self.region.secret()
    }

    /// Looks a token up, judges what is known by the rules of the asking location, and marks it as used.
    ///
    /// The body is copied into what `room` gives for its length, initialised or not. `room` runs while the
    /// shard is locked: it must be short, and what it does with this cache is refused.
    ///
    /// An active entry whose `exp` has passed is turned into one that only says so; its JWT is overwritten.
    #[inline]
    pub fn look_up<'b>(
        &self,
        key: &TokenKey,
        now: UnixMillis,
        rules: &Freshness,
        room: impl FnOnce(usize) -> Option<&'b mut [MaybeUninit<u8>]>,
    ) -> LookUp<'b> {
        self.shard(key)
            .and_then(|shard| shard.run(|shard| shard.look_up(key.cut(), now, rules, room)))
            .unwrap_or(LookUp::Miss)
    }

    /// What is known under this key, without its body, however old it is; marks it as used.
    pub fn glance(&self, key: &TokenKey) -> Option<Record> {
        self.shard(key).and_then(|shard| shard.run(|shard| shard.glance(key.cut()))).flatten()
    }

    /// Stores what the authorization server said, in place of what was known of the token. Entries
    /// of the same kind that nobody asked for lately go where there is no room. An answer to an earlier question
    /// than the one that is known by now is not stored: the server may have revoked the token in between.
    ///
    /// The body counts for active records alone. One whose `exp` has passed is stored as expired.
    pub fn store<'a>(
        &self,
        key: &TokenKey,
        record: &Record,
        body: impl Into<Body<'a>>,
        now: UnixMillis,
    ) -> Stored {
        let mut record = *record;
        if record.state == State::Active && record.is_expired(now) {
            record.state = State::Expired;
        }
        let body = if record.state == State::Active { body.into() } else { Body::default() };
        self.shard(key)
            .and_then(|shard| shard.run(|shard| shard.store(key.cut(), &record, body, now)))
            .unwrap_or(Stored::Unavailable)
    }

    /// Forgets a token. Says whether anything was known of it.
    pub fn remove(&self, key: &TokenKey) -> bool {
        self.shard(key)
            .and_then(|shard| shard.run(|shard| shard.remove(key.cut())))
            .unwrap_or(false)
    }

    /// Forgets a token, unless what is known is the answer to a later question than the one that was `asked` then:
    /// for an answer that may not be stored. Says whether anything was forgotten.
    pub fn remove_older(&self, key: &TokenKey, asked: UnixMillis, now: UnixMillis) -> bool {
        self.shard(key)
            .and_then(|shard| shard.run(|shard| shard.remove_older(key.cut(), asked, now)))
            .unwrap_or(false)
    }

    /// Figures for a status page.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for shard in (0..self.region.shards()).filter_map(|number| self.region.lock(number)) {
            Shard::new(shard).run(|shard| {
                let state = shard.state();
                stats.active_entries += u64::from(state.active.entries);
                stats.small_entries += u64::from(state.small.entries);
                stats.active_evictions =
                    stats.active_evictions.wrapping_add(state.active.evictions);
                stats.small_evictions = stats.small_evictions.wrapping_add(state.small.evictions);
                stats.units_used += u64::from(state.active.units) + u64::from(state.small.units);
                stats.units_total += u64::from(shard.total());
                stats.recoveries = stats.recoveries.wrapping_add(state.recoveries);
                Ok(())
            });
        }
        stats
    }

    /// Whether a call by this handle has emptied a shard since this was last asked, and how many were in all,
    /// see [`Stats::recoveries`]. Each is told of by one handle, unless its process dies before it asks.
    ///
    /// After a look-up that gave anything but a miss there is nothing new to say.
    #[must_use]
    pub fn emptied(&self) -> Option<u64> {
        self.region.take_emptied().then(|| self.stats().recoveries)
    }

    /// Whether this handle has waited for a lock in vain since this was last asked: another process keeps it, and what lies
    /// behind it counts as a miss until it is given back.
    #[must_use]
    pub fn held_up(&self) -> bool {
        self.region.take_held_up()
    }

    /// Verifies every invariant of the structure. For tests: walks all of it, under the locks.
    ///
    /// # Errors
    ///
    /// Says what is not as it should be.
    #[doc(hidden)]
    pub fn check(&self) -> Result<(), String> {
        for number in 0..self.region.shards() {
            let locked = self.region.lock(number).ok_or("a lock cannot be had")?;
            let found = Shard::new(locked).run(|shard| Ok(check(shard)));
            found.unwrap_or(Ok(())).map_err(|what| format!("shard {number}: {what}"))?;
        }
        Ok(())
    }

    #[inline]
    fn shard(&self, key: &TokenKey) -> Option<Shard<'_>> {
        self.shard_of(key.cut())
    }

    // Used in several places, and a hit saves 40 instructions.
    #[inline(always)]
    pub(super) fn shard_of(&self, key: &Key) -> Option<Shard<'_>> {
        let [a, b, c, d, ..] = *key;
        let number = u32::from_le_bytes([a, b, c, d]) as usize;
        self.region.expect_bucket(number, key);
        self.region.lock(number).map(Shard::new)
    }
}
