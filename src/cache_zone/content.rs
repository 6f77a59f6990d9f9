//! What lies in a zone: the table of questions in flight, used DPoP proofs, and the cache.

use core::ptr::NonNull;

use nginx_sys::{ngx_shm_zone_t, ngx_slab_alloc, ngx_slab_pool_t};
use phantom_token_core::cache::{Cache, OpenError};
use phantom_token_core::flights::{Flights, FlightsError};
use phantom_token_core::key::ProofKey;
use phantom_token_core::replay::Replays;
use thiserror::Error;

use crate::random;

/// What lies in a zone.
pub(super) struct Content {
    cache_region: Region,
    pub(super) cache: Cache,
    flights_region: Region,
    pub(super) flights: Flights,
    replays_region: Region,
    pub(super) replays: Replays,
    /// By the secret of the cache.
    pub(super) proof_key: ProofKey,
}

/// Memory within a zone.
type Region = (NonNull<u8>, usize);

/// Why a zone cannot be used.
#[derive(Debug, Error)]
pub(super) enum ContentError {
    #[error("{0}")]
    Cache(#[from] OpenError),
    #[error("{0}")]
    Flights(#[from] FlightsError),
    #[error("no room for the used proofs in the zone")]
    Replays,
    #[error("no memory in the zone")]
    NoMemory,
    #[error("the system gives no random numbers for the secret of the zone")]
    NoRandomness,
}

/// As many questions in flight as a zone's size lets one expect.
pub(super) fn max_flights(size: usize) -> usize {
    (size / (32 * 1024)).clamp(64, 1024)
}

/// How many bytes of a zone used proofs are remembered in: 8 for each.
fn replays_len(size: usize) -> usize {
    // SAFETY: set when NGINX starts.
    let page = unsafe { nginx_sys::ngx_pagesize };
    (size / 32).max(page)
}

impl Content {
    /// A fresh zone: the tables of questions and of proofs take what they need, and the cache all other free
    /// pages. The keys of a cache that is to be copied mean something with its secret alone.
    pub(super) fn create(
        shm_zone: &ngx_shm_zone_t,
        secret: Option<&[u8; 32]>,
    ) -> Result<Self, ContentError> {
        let secret = secret.copied().or_else(random::secret).ok_or(ContentError::NoRandomness)?;
        let slab = shm_zone.shm.addr.cast::<ngx_slab_pool_t>();
        let len = Flights::size_for(max_flights(shm_zone.shm.size));
        // SAFETY: NGINX has made the slab pool at the beginning of the zone; nobody else knows of the zone
        // yet. `pfree` counts its free pages, which are one run in a fresh zone.
        let (flights_region, replays_region, cache_region) = unsafe {
            let flights = pages(slab, len)?;
            let replays = pages(slab, replays_len(shm_zone.shm.size))?;
            let rest = (*slab).pfree * nginx_sys::ngx_pagesize;
            (flights, replays, pages(slab, rest)?)
        };
        // SAFETY: the pages are ours alone, page-aligned, zeroed by the system, and stay mapped as long as
        // any cycle has the zone.
        let (flights, cache) = unsafe {
            (
                Flights::create(flights_region.0, flights_region.1)?,
                Cache::create(cache_region.0, cache_region.1, secret)?,
            )
        };
        let replays = open_replays(replays_region)?;
        let proof_key = ProofKey::new(cache.secret());
        Ok(Self {
            cache_region,
            cache,
            flights_region,
            flights,
            replays_region,
            replays,
            proof_key,
        })
    }

    /// The same memory once more, with all that it holds.
    pub(super) fn attach(&self) -> Result<Self, ContentError> {
        let (flights, cache) = (self.attach_flights()?, self.attach_cache()?);
        // Whatever lies there is a table of proofs.
        let replays = open_replays(self.replays_region)?;
        let proof_key = ProofKey::new(cache.secret());
        let Self { cache_region, flights_region, replays_region, .. } = *self;
        Ok(Self {
            cache_region,
            cache,
            flights_region,
            flights,
            replays_region,
            replays,
            proof_key,
        })
    }

    fn attach_flights(&self) -> Result<Flights, FlightsError> {
        // SAFETY: the region is one that `create` made, and mapped for as long as this content is in use.
        unsafe { Flights::attach(self.flights_region.0, self.flights_region.1) }
    }

    /// The cache once more, if it still is one.
    pub(super) fn attach_cache(&self) -> Result<Cache, OpenError> {
        // SAFETY: as in `attach_flights`.
        unsafe { Cache::attach(self.cache_region.0, self.cache_region.1) }
    }
}

/// The table of used proofs in memory that [`Content::create`] has set apart for it.
fn open_replays((base, len): Region) -> Result<Replays, ContentError> {
    // SAFETY: the region is used for nothing else, and mapped for as long as the content is in use.
    unsafe { Replays::open(base, len) }.ok_or(ContentError::Replays)
}

/// At least `len` bytes, in whole pages.
///
/// # Safety
/// `slab` is the pool of a zone that nobody else uses yet.
unsafe fn pages(slab: *mut ngx_slab_pool_t, len: usize) -> Result<Region, ContentError> {
    // SAFETY: the caller says so; the size of a page is set when NGINX starts.
    unsafe {
        let len = len.next_multiple_of(nginx_sys::ngx_pagesize);
        let base = NonNull::new(ngx_slab_alloc(slab, len).cast::<u8>());
        Ok((base.ok_or(ContentError::NoMemory)?, len))
    }
}
