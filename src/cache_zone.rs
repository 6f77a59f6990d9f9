//! The shared-memory zone, for the cache and the questions in flight: declared with the configuration, made or
//! found again with the cycle.

mod advice;
mod content;
mod reload;

use core::ffi::c_void;
use core::ptr::NonNull;
use std::time::Instant;

use nginx_sys::{
    ngx_conf_t, ngx_cycle_t, ngx_int_t, ngx_log_t, ngx_parse_size, ngx_shared_memory_add,
    ngx_shm_zone_t, ngx_str_t,
};
use phantom_token_core::cache::Cache;
use phantom_token_core::flights::Flights;
use thiserror::Error;

use crate::code::{ERROR, OK};
use crate::guard::guard;
use crate::log::{Shown, log};
use crate::pool::{Pool, bytes_of};
use crate::slab;
use crate::slot;
use content::{Content, ContentError, max_flights};
use reload::Predecessor;

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
    /// As long as the cycle is being made.
    predecessor: Predecessor,
    /// What lies in the zone, once the cycle has made or found it.
    content: Option<Content>,
}

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

    /// Says in the log that something in the zone was emptied by what this process did, once each time.
    pub(crate) fn tell_emptied(&self, log: *mut ngx_log_t) {
        let Some(content) = &self.content else { return };
        self.tell_emptied_cache(&content.cache, log);
        if let Some(count) = content.flights.emptied() {
            log!(
                NGX_LOG_WARN,
                log,
                "phantom_token: zone \"{}\": the table of questions in flight was not in order, as after the \
                 death of a worker: it was emptied, {count} such events in all",
                Shown(self.name())
            );
        }
    }

    fn tell_emptied_cache(&self, cache: &Cache, log: *mut ngx_log_t) {
        if let Some(count) = cache.emptied() {
            log!(
                NGX_LOG_WARN,
                log,
                "phantom_token: zone \"{}\": part of the cache was not in order, as after the death of a \
                 worker: it was emptied, {count} such events in all",
                Shown(self.name())
            );
        }
    }

    /// How many questions in flight the zone can keep.
    pub(crate) fn max_flights(&self) -> usize {
        max_flights(self.size)
    }

    /// Makes the content of fresh memory.
    fn fill(
        &self,
        shm_zone: &ngx_shm_zone_t,
        predecessor: Predecessor,
    ) -> Result<Content, ContentError> {
        let log = shm_zone.shm.log;
        let name = Shown(self.name());
        if let Err(error) = advice::leave_out_of_dumps(shm_zone) {
            log!(
                NGX_LOG_NOTICE,
                log,
                "phantom_token: zone \"{name}\" can be part of a core dump: {error}"
            );
        }
        advice::prefer_large_pages(shm_zone);
        match predecessor {
            // SAFETY: NGINX makes the cycle's zones; the running configuration is there until it is done.
            Predecessor::Other(old) => return self.copy(shm_zone, unsafe { old.as_ref() }),
            Predecessor::Foreign => log!(
                NGX_LOG_NOTICE,
                log,
                "phantom_token: zone \"{name}\" starts empty: the one in use was made by another module, \
                 or by another copy of this one"
            ),
            Predecessor::None | Predecessor::Same => {}
        }
        Content::create(shm_zone, None)
    }

    /// Makes the content of fresh memory out of what `old` holds, as far as it fits.
    fn copy(&self, shm_zone: &ngx_shm_zone_t, old: &Self) -> Result<Content, ContentError> {
        let log = shm_zone.shm.log;
        let name = Shown(self.name());
        let Some(content) = &old.content else { return Content::create(shm_zone, None) };
        match content.attach_cache() {
            Ok(cache) => {
                if let Err(error) = content.attach() {
                    log!(
                        NGX_LOG_NOTICE,
                        log,
                        "phantom_token: zone \"{name}\" is made anew: {error}"
                    );
                }
                let began = Instant::now();
                let content = Content::create(shm_zone, Some(cache.secret()))?;
                // Another secret is the one thing that can be wrong, and this is the same.
                let copied = content.cache.copy_from(&cache).unwrap_or_default();
                old.tell_emptied_cache(&cache, log);
                log!(
                    NGX_LOG_NOTICE,
                    log,
                    "phantom_token: zone \"{name}\" of {}k replaces one of {}k, {copied} entries were \
                     copied in {} ms",
                    self.size / 1024,
                    old.size / 1024,
                    began.elapsed().as_millis()
                );
                Ok(content)
            }
            Err(error) => {
                log!(NGX_LOG_NOTICE, log, "phantom_token: zone \"{name}\" starts empty: {error}");
                Content::create(shm_zone, None)
            }
        }
    }
}

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
    #[error("invalid zone \"{0}\" of \"phantom_token_cache_zone\": it is \"name:size\"")]
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
