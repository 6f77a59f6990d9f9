//! The bytes of the region as typed memory: what lies where, and one shard's part under its lock.
//!
//! ```text
//! header │ shard 0 │ shard 1 │ …          shard: head (lock, state) │ buckets │ units
//! ```

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};

use super::prefetch::prefetch;
use super::unit::{Key, NONE, UNIT, Unit};
use crate::lock::{Acquired, HeldUp, Lock};

/// Changes with every change of the layout, also of what the bytes mean.
const LAYOUT: u32 = 3;
const MAGIC: u64 = u64::from_le_bytes(*b"phantom\x01");

/// The smallest region, in bytes.
pub(super) const MIN_SIZE: usize = 16 * 1024;
/// Shards beyond this many no longer lower the wait for locks by anything that counts.
const MAX_SHARDS: usize = 16;
/// A shard is at least this large, so that the budgets, which are per shard, stay large.
const MIN_SHARD: usize = 4 << 20;
/// Units per bucket. An entry has about a dozen units, so most buckets hold one entry at most.
const UNITS_PER_BUCKET: usize = 4;

/// Why a region is no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Less than [`super::Cache::MIN_SIZE`].
    #[error("the cache zone has {len} bytes for the cache and needs {least}: make the zone larger")]
    TooSmall {
        /// Bytes that there are.
        len: usize,
        /// Bytes that there must be.
        least: usize,
    },
    /// The region does not begin at a multiple of 8.
    #[error("the cache zone begins at an address that is not a multiple of 8")]
    Misaligned,
    /// No cache was made here, or not to the end.
    #[error("the cache zone holds no cache")]
    NotACache,
    /// Made by a version of this module that lays out the region in another way.
    #[error(
        "the cache zone was laid out by another version of the module (layout {found}, this one \
         has {expected})"
    )]
    Layout {
        /// Layout version of the region.
        found: u32,
        /// Layout version of this build.
        expected: u32,
    },
    /// Made with another length.
    #[error("the cache zone was made with {found} bytes and has {expected} now")]
    Length {
        /// Length that the region was made with.
        found: u64,
        /// Length that it has.
        expected: u64,
    },
    /// The system makes no process-shared robust mutex.
    #[error("cannot make a lock between processes in the cache zone (system error {0})")]
    Lock(i32),
}

#[repr(C)]
struct Header {
    magic: AtomicU64,
    len: u64,
    layout: u32,
    shards: u32,
    secret: [u8; 32],
}

#[repr(C)]
struct ShardHead {
    lock: Lock,
    /// Not zero while the shard is being changed.
    dirty: AtomicU32,
    state: State,
}

const HEADER: usize = UNIT;
const SHARD_HEAD: usize = UNIT;
const ALIGN: usize = align_of::<Unit>();
const _: () = assert!(size_of::<Header>() <= HEADER && align_of::<Header>() <= ALIGN);
const _: () = assert!(size_of::<ShardHead>() <= SHARD_HEAD && align_of::<ShardHead>() <= ALIGN);

/// What a shard knows of itself. All zero: an empty shard.
#[repr(C)]
#[derive(Default)]
pub(super) struct State {
    /// First free unit.
    pub(super) free: u32,
    /// Units from here on were never used and are on no list: an empty zone costs no memory.
    pub(super) touched: u32,
    pub(super) active: List,
    pub(super) small: List,
    /// Times that the shard was emptied because its content could not be trusted.
    pub(super) recoveries: u64,
}

/// A list of entries, see `order`.
#[repr(C)]
#[derive(Default)]
pub(super) struct List {
    pub(super) newest: u32,
    pub(super) oldest: u32,
    pub(super) entries: u32,
    pub(super) units: u32,
    pub(super) evictions: u64,
}

/// Where things lie in a region of a given length. It follows from the length alone.
#[derive(Clone, Copy)]
struct Geometry {
    shards: usize,
    shard_len: usize,
    buckets: usize,
    /// Where the units begin in a shard.
    units_offset: usize,
    units: usize,
}

impl Geometry {
    fn new(len: usize) -> Self {
        let shards = 1 << (len / MIN_SHARD).clamp(1, MAX_SHARDS).ilog2();
        let shard_len = len.saturating_sub(HEADER) / shards / UNIT * UNIT;
        // The buckets take at most one byte per unit and less than one unit's length to round up.
        let units = shard_len.saturating_sub(SHARD_HEAD + UNIT) / (UNIT + 4 / UNITS_PER_BUCKET);
        let units = units.min(u32::MAX as usize - 1);
        let buckets = (units / UNITS_PER_BUCKET).max(1);
        let units_offset = SHARD_HEAD + (buckets * size_of::<u32>()).next_multiple_of(UNIT);
        Self { shards, shard_len, buckets, units_offset, units }
    }
}

/// The bucket of a key. Its first four bytes have chosen the shard; the next four choose here.
#[inline]
pub(super) fn bucket_number(key: &Key, buckets: usize) -> usize {
    let [_, _, _, _, a, b, c, d, ..] = *key;
    let spread = u64::from(u32::from_le_bytes([a, b, c, d]));
    ((spread * buckets as u64) >> 32) as usize
}

/// The region, as this process sees it.
pub(super) struct Region {
    base: NonNull<u8>,
    geometry: Geometry,
    /// This process has emptied a shard, and has not said so yet.
    emptied: Cell<bool>,
    held_up: HeldUp,
}

impl Region {
    /// Formats a region of zeros.
    ///
    /// # Safety
    ///
    /// As for [`super::Cache::create`].
    pub(super) unsafe fn create(
        base: NonNull<u8>,
        len: usize,
        secret: [u8; 32],
    ) -> Result<Self, OpenError> {
        let region = Self::new(base, len)?;
        for shard in 0..region.geometry.shards {
            let head = region.shard_head(shard);
            // SAFETY: the head lies within the region, which nobody else uses yet.
            unsafe { Lock::init(&raw mut (*head).lock) }.map_err(OpenError::Lock)?;
        }
        let header = region.header();
        // SAFETY: as above. The magic comes last: a region half made is none.
        unsafe {
            (*header).len = len as u64;
            (*header).layout = LAYOUT;
            (*header).shards = region.geometry.shards as u32;
            (*header).secret = secret;
            (*header).magic.store(MAGIC, Ordering::Release);
        }
        Ok(region)
    }

    /// Takes up a region that [`Region::create`] has made.
    ///
    /// # Safety
    ///
    /// As for [`super::Cache::attach`].
    pub(super) unsafe fn attach(base: NonNull<u8>, len: usize) -> Result<Self, OpenError> {
        let region = Self::new(base, len)?;
        let header = region.header();
        // SAFETY: the header lies within the region, any bytes are a valid header, and nobody writes to it
        // once the magic is there.
        let (magic, found) = unsafe { ((*header).magic.load(Ordering::Acquire), &*header) };
        if magic != MAGIC {
            return Err(OpenError::NotACache);
        }
        if found.layout != LAYOUT {
            return Err(OpenError::Layout { found: found.layout, expected: LAYOUT });
        }
        if found.len != len as u64 || found.shards as usize != region.geometry.shards {
            return Err(OpenError::Length { found: found.len, expected: len as u64 });
        }
        Ok(region)
    }

    fn new(base: NonNull<u8>, len: usize) -> Result<Self, OpenError> {
        if !base.as_ptr().addr().is_multiple_of(ALIGN) {
            return Err(OpenError::Misaligned);
        }
        if len < MIN_SIZE {
            return Err(OpenError::TooSmall { len, least: MIN_SIZE });
        }
        Ok(Self {
            base,
            geometry: Geometry::new(len),
            emptied: Cell::new(false),
            held_up: HeldUp::default(),
        })
    }

    pub(super) fn shards(&self) -> usize {
        self.geometry.shards
    }

    pub(super) fn secret(&self) -> &[u8; 32] {
        // SAFETY: within the region, and not written again once the region is made.
        unsafe { &(*self.header()).secret }
    }

    /// Whether a lock was waited for in vain through this handle since this was last asked.
    pub(super) fn take_held_up(&self) -> bool {
        self.held_up.take()
    }

    /// Whether a shard was emptied through this handle since this was last asked.
    pub(super) fn take_emptied(&self) -> bool {
        self.emptied.take()
    }

    fn header(&self) -> *mut Header {
        self.base.as_ptr().cast()
    }

    /// `shard` is below `shards()`.
    #[inline]
    fn shard_head(&self, shard: usize) -> *mut ShardHead {
        debug_assert!(shard < self.geometry.shards);
        // SAFETY: all shards lie within the region; offsets are multiples of the alignment.
        unsafe { self.base.as_ptr().add(HEADER + shard * self.geometry.shard_len).cast() }
    }

    /// Has the processor fetch the bucket of a key while its shard is being locked.
    #[inline]
    pub(super) fn expect_bucket(&self, shard: usize, key: &Key) {
        let head = self.shard_head(shard & (self.geometry.shards - 1)).cast::<u8>();
        let number = bucket_number(key, self.geometry.buckets);
        prefetch::<{ size_of::<u32>() }>(head.wrapping_add(SHARD_HEAD + number * size_of::<u32>()));
    }

    /// Locks a shard; numbers wrap around. `None`: the lock cannot be had, see
    /// [`Acquired::Unavailable`].
    #[inline]
    pub(super) fn lock(&self, shard: usize) -> Option<Locked<'_>> {
        let head = self.shard_head(shard & (self.geometry.shards - 1));
        // SAFETY: the head lies within the region and its lock was made with the region. Only the lock and
        // the flag, which are for sharing, are borrowed while the lock is not held.
        let (lock, dirty) = unsafe { (&(*head).lock, &(*head).dirty) };
        match self.held_up.acquire(lock, shard & (self.geometry.shards - 1)) {
            Acquired::Free => {}
            Acquired::OwnerDied => {
                dirty.store(1, Ordering::Release);
                lock.mark_consistent();
            }
            Acquired::Busy | Acquired::Unavailable => return None,
        }
        let geometry = &self.geometry;
        let base = head.cast::<u8>();
        // SAFETY: state, buckets and units are disjoint, aligned, within the region and valid whatever their
        // bytes. The lock, now ours, makes these the only references to them anywhere until `Locked` ends,
        // which gives it back; it refuses this thread a second time.
        let (state, buckets, units) = unsafe {
            (
                &mut (*head).state,
                std::slice::from_raw_parts_mut(base.add(SHARD_HEAD).cast(), geometry.buckets),
                std::slice::from_raw_parts_mut(
                    base.add(geometry.units_offset).cast(),
                    geometry.units,
                ),
            )
        };
        Some(Locked { lock, dirty, emptied: &self.emptied, state, buckets, units })
    }
}

/// A shard's memory, for as long as its lock is held.
///
/// Dropped without [`Locked::done`] after a change was announced, as by a panic, it leaves the mark of an
/// unfinished change behind.
pub(super) struct Locked<'a> {
    lock: &'a Lock,
    dirty: &'a AtomicU32,
    emptied: &'a Cell<bool>,
    pub(super) state: &'a mut State,
    pub(super) buckets: &'a mut [u32],
    pub(super) units: &'a mut [Unit],
}

impl Locked<'_> {
    /// An earlier owner announced a change and did not finish it.
    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Relaxed) != 0
    }

    /// Announces a change. Comes before its first write.
    #[inline]
    pub(super) fn change(&self) {
        self.dirty.store(1, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// Everything announced is finished: what the shard holds is in order.
    #[inline]
    pub(super) fn done(self) {
        self.dirty.store(0, Ordering::Release);
    }

    /// Makes the shard an empty one and overwrites what it held.
    pub(super) fn empty(&mut self) {
        self.change();
        let touched = (self.state.touched as usize).min(self.units.len());
        self.units.iter_mut().take(touched).for_each(|unit| unit.clear(NONE));
        self.buckets.fill(NONE);
        // Not before: who is killed here leaves the mark, and all is overwritten once more.
        compiler_fence(Ordering::Release);
        let counted = |list: &List| List { evictions: list.evictions, ..List::default() };
        *self.state = State {
            active: counted(&self.state.active),
            small: counted(&self.state.small),
            recoveries: self.state.recoveries.wrapping_add(1),
            ..State::default()
        };
        self.emptied.set(true);
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_within_the_region() {
        let mut len = MIN_SIZE;
        while len < 1 << 40 {
            for len in [len, len + 1, len + len / 3 + 8] {
                let geometry = Geometry::new(len);
                assert!(geometry.shards.is_power_of_two() && geometry.shards <= MAX_SHARDS);
                let end = geometry.units_offset + geometry.units * UNIT;
                assert!(end <= geometry.shard_len, "{len}");
                assert!(HEADER + geometry.shards * geometry.shard_len <= len, "{len}");
                // Nothing to speak of is lost to rounding.
                assert!(geometry.shard_len - end < 3 * UNIT, "{len}: {}", geometry.shard_len - end);
            }
            len *= 2;
        }
    }

    #[test]
    fn an_unfinished_change_leaves_its_mark() {
        let len = MIN_SIZE;
        let mut memory = vec![0_u64; len / 8];
        let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        // SAFETY: the memory is the region's alone and outlives it.
        let region = unsafe { Region::create(base, len, [0; 32]) }.unwrap();
        let locked = region.lock(0).unwrap();
        locked.change();
        locked.done();
        let locked = region.lock(0).unwrap();
        assert!(!locked.is_dirty());
        locked.change();
        drop(locked);
        assert!(region.lock(0).unwrap().is_dirty());
    }

    #[test]
    fn a_lock_that_this_thread_holds_is_refused() {
        let len = MIN_SIZE;
        let mut memory = vec![0_u64; len / 8];
        let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        // SAFETY: the memory is the region's alone and outlives it.
        let region = unsafe { Region::create(base, len, [0; 32]) }.unwrap();
        let locked = region.lock(0).unwrap();
        assert!(region.lock(0).is_none());
        drop(locked);
        assert!(region.lock(0).is_some());
    }
}
