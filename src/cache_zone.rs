//! The shared-memory zone, for the cache and the questions in flight: declared with the configuration, made
//! or found again with the cycle.

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_conf_t, ngx_int_t, ngx_parse_size, ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_alloc,
    ngx_slab_pool_t, ngx_str_t,
};
use phantom_token_core::cache::{Cache, OpenError};
use phantom_token_core::flights::{Flights, FlightsError};
use thiserror::Error;

use crate::code::{ERROR, OK};
use crate::guard::guard;
use crate::log::{Shown, log};
use crate::pool::{Pool, bytes_of};
use crate::random;
use crate::slot;

/// The zone that is made where none is named.
pub(crate) const DEFAULT_NAME: &[u8] = b"phantom_token";
/// Its size: about 11,000 JWTs of 1,200 bytes.
pub(crate) const DEFAULT_SIZE: usize = 16 * 1024 * 1024;

/// What NGINX keeps for itself at the beginning of a zone, at most: its slab pool and page table.
const NGINX_SHARE: usize = 64 * 1024;

/// One zone, in one cycle's pool.
pub(crate) struct Zone {
    name: ngx_str_t,
    size: usize,
    /// What lies in the zone, once the cycle has made or found it.
    content: Option<Content>,
}

/// What lies in a zone.
struct Content {
    cache_region: Region,
    cache: Cache,
    flights_region: Region,
    flights: Flights,
}

/// Memory within a zone.
type Region = (NonNull<u8>, usize);

impl Zone {
    /// The name, as declared.
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: the name is the cycle's, as is the zone.
        unsafe { bytes_of(&self.name) }
    }

    /// The cache; there from the moment that the cycle has its zones.
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.content.as_ref().map(|content| &content.cache)
    }

    /// The questions in flight; there as the cache is.
    pub(crate) fn flights(&self) -> Option<&Flights> {
        self.content.as_ref().map(|content| &content.flights)
    }

    /// How many questions in flight the zone can keep.
    pub(crate) fn max_flights(&self) -> usize {
        max_flights(self.size)
    }
}

/// What is wrong with a declaration.
#[derive(Debug, Error)]
pub(crate) enum ZoneError {
    #[error("zone \"{0}\" of \"phantom_token_cache_zone\" is declared twice")]
    Duplicate(String),
    #[error("invalid zone \"{0}\" of \"phantom_token_cache_zone\": it is \"name:size\"")]
    Invalid(String),
    #[error("zone \"{0}\" is too small: at least {min}k are needed", min = min_size() / 1024)]
    TooSmall(String),
    #[error("no memory for the zone of \"phantom_token_cache_zone\"")]
    NoMemory,
}

/// The smallest zone that makes sense, in bytes.
fn min_size() -> usize {
    Cache::MIN_SIZE + NGINX_SHARE
}

/// As many as its size lets one expect.
fn max_flights(size: usize) -> usize {
    (size / (32 * 1024)).clamp(64, 1024)
}

/// Splits `name:size`.
pub(crate) fn parse(value: &[u8]) -> Result<(&[u8], usize), ZoneError> {
    let invalid = || ZoneError::Invalid(Shown(value).to_string());
    let colon = value.iter().position(|&byte| byte == b':').ok_or_else(invalid)?;
    let (name, size) = value.split_at(colon);
    let mut size = crate::pool::string_over(size.get(1..).unwrap_or_default());
    // SAFETY: ngx_parse_size reads `len` bytes.
    let size = usize::try_from(unsafe { ngx_parse_size(&raw mut size) }).map_err(|_| invalid())?;
    if name.is_empty() || name == b"off" || size == 0 {
        return Err(invalid());
    }
    Ok((name, size))
}

/// Asks NGINX for a zone. The result lives in the cycle's pool.
pub(crate) fn request(
    cf: &mut ngx_conf_t,
    name: &[u8],
    size: usize,
) -> Result<NonNull<Zone>, ZoneError> {
    if size < min_size() {
        return Err(ZoneError::TooSmall(Shown(name).to_string()));
    }
    // SAFETY: the configuration's pool is the cycle's.
    let pool = unsafe { Pool::from_ptr(cf.pool) };
    let mut name = pool.string(name).ok_or(ZoneError::NoMemory)?;
    // SAFETY: all of it is live. The tag is ours: no other module can take the zone for its own.
    let shm_zone =
        NonNull::new(unsafe { ngx_shared_memory_add(cf, &raw mut name, size, slot::tag()) })
            .ok_or(ZoneError::NoMemory)?;
    let zone = pool.place(Zone { name, size, content: None }).ok_or(ZoneError::NoMemory)?;
    // SAFETY: NGINX has just made the zone, and waits for both.
    unsafe {
        (*shm_zone.as_ptr()).init = Some(init);
        (*shm_zone.as_ptr()).data = zone.as_ptr().cast();
    }
    Ok(zone)
}

/// NGINX has mapped the zone, or found it in the running cycle: `previous` is then that cycle's
/// [`Zone`]. This runs before the new configuration is accepted, so it changes nothing that is in use.
unsafe extern "C" fn init(shm_zone: *mut ngx_shm_zone_t, previous: *mut c_void) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with the zone that `declare` set up; `previous` is null or the `data` of
        // a zone of the same name, tag and size.
        let (shm_zone, zone, previous) = unsafe {
            let zone = &mut *(*shm_zone).data.cast::<Zone>();
            (&mut *shm_zone, zone, previous.cast::<Zone>().as_ref())
        };
        let opened = match previous.and_then(|previous| previous.content.as_ref()) {
            Some(content) => attach(content.cache_region, content.flights_region),
            None => create(shm_zone),
        };
        match opened {
            Ok(content) => {
                zone.content = Some(content);
                OK
            }
            Err(error) => {
                log!(
                    NGX_LOG_EMERG,
                    shm_zone.shm.log,
                    "phantom_token: zone \"{}\": {error}",
                    Shown(zone.name())
                );
                ERROR
            }
        }
    })
}

/// Why a zone cannot be used.
#[derive(Debug, Error)]
enum InitError {
    #[error("{0}")]
    Cache(#[from] OpenError),
    #[error("{0}")]
    Flights(#[from] FlightsError),
    #[error("no memory in the zone")]
    NoMemory,
    #[error("the system gives no random numbers for the secret of the zone")]
    NoRandomness,
}

/// A fresh zone: the table of questions takes what it needs, and the cache all other free pages.
fn create(shm_zone: &ngx_shm_zone_t) -> Result<Content, InitError> {
    let slab = shm_zone.shm.addr.cast::<ngx_slab_pool_t>();
    let len = Flights::size_for(max_flights(shm_zone.shm.size));
    // SAFETY: NGINX has made the slab pool at the beginning of the zone; nobody else knows of the zone
    // yet. `pfree` counts its free pages, which are one run in a fresh zone.
    let (flights_region, cache_region) = unsafe {
        let flights = pages(slab, len)?;
        let rest = (*slab).pfree * nginx_sys::ngx_pagesize;
        (flights, pages(slab, rest)?)
    };
    let secret = random::secret().ok_or(InitError::NoRandomness)?;
    // SAFETY: the pages are ours alone, page-aligned, zeroed by the system, and stay mapped as long as
    // any cycle has the zone.
    let (flights, cache) = unsafe {
        (
            Flights::create(flights_region.0, flights_region.1)?,
            Cache::create(cache_region.0, cache_region.1, secret)?,
        )
    };
    Ok(Content { cache_region, cache, flights_region, flights })
}

/// At least `len` bytes, in whole pages.
///
/// # Safety
/// `slab` is the pool of a zone that nobody else uses yet.
unsafe fn pages(slab: *mut ngx_slab_pool_t, len: usize) -> Result<Region, InitError> {
    // SAFETY: the caller says so; the size of a page is set when NGINX starts.
    unsafe {
        let len = len.next_multiple_of(nginx_sys::ngx_pagesize);
        let base = NonNull::new(ngx_slab_alloc(slab, len).cast::<u8>());
        Ok((base.ok_or(InitError::NoMemory)?, len))
    }
}

/// The zone of the running cycle, with all that it holds.
fn attach(cache_region: Region, flights_region: Region) -> Result<Content, InitError> {
    // SAFETY: NGINX kept the mapping, because name, size and tag are the same; the regions are those
    // that `create` made in it.
    let (flights, cache) = unsafe {
        (
            Flights::attach(flights_region.0, flights_region.1)?,
            Cache::attach(cache_region.0, cache_region.1)?,
        )
    };
    Ok(Content { cache_region, cache, flights_region, flights })
}
