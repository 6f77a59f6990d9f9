//! The shared-memory zone: declared with the configuration, made or found again with the cycle.

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_conf_t, ngx_int_t, ngx_parse_size, ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_alloc,
    ngx_slab_pool_t, ngx_str_t,
};
use phantom_token_core::cache::{Cache, OpenError};
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
    /// Where the cache lies within the zone, once the cycle has made or found it.
    region: Option<(NonNull<u8>, usize)>,
    cache: Option<Cache>,
}

impl Zone {
    /// The name, as declared.
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: the name is the cycle's, as is the zone.
        unsafe { bytes_of(&self.name) }
    }

    /// The cache; there from the moment that the cycle has its zones.
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
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
    let zone = pool.place(Zone { name, region: None, cache: None }).ok_or(ZoneError::NoMemory)?;
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
        let opened = match previous.and_then(|previous| previous.region) {
            Some(region) => attach(region),
            None => create(shm_zone),
        };
        match opened {
            Ok((region, cache)) => {
                zone.region = Some(region);
                zone.cache = Some(cache);
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
    #[error("no memory in the zone")]
    NoMemory,
    #[error("the system gives no random numbers for the secret of the zone")]
    NoRandomness,
}

type Opened = ((NonNull<u8>, usize), Cache);

/// A fresh zone: all its free pages become the cache's region.
fn create(shm_zone: &ngx_shm_zone_t) -> Result<Opened, InitError> {
    let slab = shm_zone.shm.addr.cast::<ngx_slab_pool_t>();
    // SAFETY: NGINX has made the slab pool at the beginning of the zone; nobody else knows of the zone
    // yet. `pfree` counts its free pages, which are one run in a fresh zone.
    let (base, len) = unsafe {
        let len = (*slab).pfree * nginx_sys::ngx_pagesize;
        (ngx_slab_alloc(slab, len), len)
    };
    let base = NonNull::new(base.cast::<u8>()).ok_or(InitError::NoMemory)?;

    let secret = random::secret().ok_or(InitError::NoRandomness)?;
    // SAFETY: the pages are ours alone, page-aligned, zeroed by the system, and stay mapped as long as
    // any cycle has the zone.
    let cache = unsafe { Cache::create(base, len, secret) }?;
    Ok(((base, len), cache))
}

/// The zone of the running cycle, with all that it holds.
fn attach((base, len): (NonNull<u8>, usize)) -> Result<Opened, InitError> {
    // SAFETY: NGINX kept the mapping, because name, size and tag are the same; the region is the one
    // that `create` made in it.
    let cache = unsafe { Cache::attach(base, len) }?;
    Ok(((base, len), cache))
}
