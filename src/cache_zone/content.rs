//! What lies in a zone: the table of questions in flight, and the cache.

use nginx_sys::{ngx_shm_zone_t, ngx_slab_pool_t};
use phantom_token_core::cache::{Cache, OpenError};
use phantom_token_core::flights::{Flights, FlightsError};
use thiserror::Error;

use crate::random;
use crate::slab::{self, Region};

/// What lies in a zone.
pub(super) struct Content {
    cache_region: Region,
    pub(super) cache: Cache,
    flights_region: Region,
    pub(super) flights: Flights,
}

/// Why a zone cannot be used.
#[derive(Debug, Error)]
pub(super) enum ContentError {
    #[error("{0}")]
    Cache(#[from] OpenError),
    #[error("{0}")]
    Flights(#[from] FlightsError),
    #[error("no memory in the zone")]
    NoMemory,
    #[error("the system gives no random numbers for the secret of the zone")]
    NoRandomness,
}

/// As many questions in flight as a zone's size lets one expect.
pub(super) fn max_flights(size: usize) -> usize {
    (size / (32 * 1024)).clamp(64, 1024)
}

impl Content {
    /// A fresh zone: the table of questions takes what it needs, and the cache all other free
    /// pages. The keys of a cache that is to be copied mean something with its secret alone.
    pub(super) fn create(
        shm_zone: &ngx_shm_zone_t,
        secret: Option<&[u8; 32]>,
    ) -> Result<Self, ContentError> {
        let secret = secret.copied().or_else(random::secret).ok_or(ContentError::NoRandomness)?;
        let slab = shm_zone.shm.addr.cast::<ngx_slab_pool_t>();
        let len = Flights::size_for(max_flights(shm_zone.shm.size));
        // SAFETY: NGINX has made the slab pool at the beginning of the zone; nobody else knows of the zone
        // yet.
        let (flights_region, cache_region) = unsafe {
            (
                slab::pages(slab, len).ok_or(ContentError::NoMemory)?,
                slab::rest(slab).ok_or(ContentError::NoMemory)?,
            )
        };
        // SAFETY: the pages are ours alone, page-aligned, zeroed by the system, and stay mapped as long as
        // any cycle has the zone.
        let (flights, cache) = unsafe {
            (
                Flights::create(flights_region.0, flights_region.1)?,
                Cache::create(cache_region.0, cache_region.1, secret)?,
            )
        };
        Ok(Self { cache_region, cache, flights_region, flights })
    }

    /// The same memory once more, with all that it holds.
    pub(super) fn attach(&self) -> Result<Self, ContentError> {
        let (flights, cache) = (self.attach_flights()?, self.attach_cache()?);
        let Self { cache_region, flights_region, .. } = *self;
        Ok(Self { cache_region, cache, flights_region, flights })
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
