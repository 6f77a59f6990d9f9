//! The shared-memory zone, for the cache and the questions in flight: declared with the configuration, made or
//! found again with the cycle.

mod advice;
mod content;
mod reload;
mod zone;

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_conf_t, ngx_cycle_t, ngx_int_t, ngx_parse_size, ngx_shared_memory_add, ngx_shm_zone_t,
};
use phantom_token_core::cache::Cache;
use thiserror::Error;

use crate::code::{ERROR, OK};
use crate::guard::guard;
use crate::log::{Shown, log};
use crate::pool::Pool;
use crate::slab;
use crate::slot;
use zone::Predecessor;

pub(crate) use zone::Zone;

/// The zone that is made where none is named.
pub(crate) const DEFAULT_NAME: &[u8] = b"phantom_token";
/// Its size: about 11,000 JWTs of 1,200 bytes.
pub(crate) const DEFAULT_SIZE: usize = 16 * 1024 * 1024;

/// What NGINX keeps for itself at the beginning of a zone, at most: its slab pool and page table.
const NGINX_SHARE: usize = 64 * 1024;

/// The new configuration is accepted.
///
/// # Safety
/// `cycle` is the new one, and its modules are being initialised.
pub(crate) unsafe fn accepted(cycle: &ngx_cycle_t) {
    // SAFETY: passed on.
    unsafe { reload::settle(cycle) };
}

/// What is wrong with a declaration.
#[derive(Debug, Error)]
pub(crate) enum ZoneError {
    #[error("zone \"{0}\" of \"phantom_token_cache_zone\" is declared twice")]
    Duplicate(String),
    #[error(
        "invalid zone \"{0}\" of \"phantom_token_cache_zone\": it is \"name:size\", with the size in \
         bytes, or with \"k\" or \"m\" behind it in KiB or MiB: there is no \"g\""
    )]
    Invalid(String),
    #[error("zone \"{0}\" is too small: at least {min}k are needed", min = min_size() / 1024)]
    TooSmall(String),
    #[error("no memory for the zone of \"phantom_token_cache_zone\"")]
    NoMemory,
}

/// The smallest zone that makes sense, in bytes.
fn min_size() -> usize {
    (Cache::MIN_SIZE + NGINX_SHARE).max(slab::least())
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
    // SAFETY: NGINX reads the configuration of this cycle.
    let predecessor = unsafe { Predecessor::of(&*cf.cycle, name.as_bytes(), size) };
    let zone = Zone { name, size, predecessor, content: None };
    let zone = pool.place(zone).ok_or(ZoneError::NoMemory)?;
    // SAFETY: NGINX has just made the zone, and waits for all of it.
    unsafe {
        (*shm_zone.as_ptr()).init = Some(init);
        (*shm_zone.as_ptr()).data = zone.as_ptr().cast();
        (*shm_zone.as_ptr()).noreuse = matches!(predecessor, Predecessor::Other(_)).into();
    }
    Ok(zone)
}

/// NGINX has mapped the zone, or found it in the running cycle: `previous` is then that cycle's
/// [`Zone`]. This runs before the new configuration is accepted, so it changes nothing that is in use.
unsafe extern "C" fn init(shm_zone: *mut ngx_shm_zone_t, previous: *mut c_void) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with the zone that `request` set up; `previous` is null or the `data` of
        // a zone of the same name and tag.
        let (shm_zone, zone, previous) = unsafe {
            let zone = &mut *(*shm_zone).data.cast::<Zone>();
            (&mut *shm_zone, zone, previous.cast::<Zone>().as_ref())
        };
        let predecessor = core::mem::replace(&mut zone.predecessor, Predecessor::None);
        let opened = match previous.and_then(|previous| previous.content.as_ref()) {
            Some(content) if shm_zone.noreuse == 0 => content.attach(),
            _ => zone.fill(shm_zone, predecessor),
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
