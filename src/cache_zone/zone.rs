//! One zone, and the one that it is to replace.

use core::ptr::NonNull;
use std::time::Instant;

use nginx_sys::{ngx_cycle_t, ngx_log_t, ngx_shm_zone_t, ngx_str_t};
use phantom_token_core::cache::Cache;
use phantom_token_core::flights::Flights;

use super::advice;
use super::content::{Content, ContentError, max_flights};
use crate::log::{Shown, log};
use crate::pool::bytes_of;
use crate::slot;
use crate::zones::find;

/// One zone, in one cycle's pool.
pub(crate) struct Zone {
    pub(super) name: ngx_str_t,
    pub(super) size: usize,
    /// As long as the cycle is being made.
    pub(super) predecessor: Predecessor,
    /// What lies in the zone, once the cycle has made or found it.
    pub(super) content: Option<Content>,
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

    /// Says in the log that something in the zone was emptied by what this process did, or could not be had, once each time.
    pub(crate) fn tell_emptied(&self, log: *mut ngx_log_t) {
        let Some(content) = &self.content else { return };
        // Both, so that neither is told of later.
        if content.cache.held_up() | content.flights.held_up() {
            log!(
                NGX_LOG_ERR,
                log,
                "phantom_token: zone \"{}\": another worker has kept a lock for more than 20 ms and may be stopped \
                 (SIGSTOP, a debugger); until it goes on, what the lock guards is missing: part of the cache, or \
                 the table without which nothing new is asked",
                Shown(self.name())
            );
        }
        self.tell_emptied_cache(&content.cache, log);
        if let Some(count) = content.flights.emptied() {
            log!(
                NGX_LOG_ERR,
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
                NGX_LOG_ERR,
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
    pub(super) fn fill(
        &self,
        shm_zone: &ngx_shm_zone_t,
        predecessor: Predecessor,
    ) -> Result<Content, ContentError> {
        let log = shm_zone.shm.log;
        let name = Shown(self.name());
        if let Err(error) = advice::leave_out_of_dumps(shm_zone) {
            log!(
                NGX_LOG_ERR,
                log,
                "phantom_token: zone \"{name}\" can be part of a core dump: {error}"
            );
        }
        advice::prefer_large_pages(shm_zone);
        match predecessor {
            // SAFETY: NGINX makes the cycle's zones; the running configuration is there until it is done.
            Predecessor::Other(old) => return self.copy(shm_zone, unsafe { old.as_ref() }),
            Predecessor::Foreign => log!(
                NGX_LOG_ERR,
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
                    log!(NGX_LOG_ERR, log, "phantom_token: zone \"{name}\" is made anew: {error}");
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
                log!(NGX_LOG_ERR, log, "phantom_token: zone \"{name}\" starts empty: {error}");
                Content::create(shm_zone, None)
            }
        }
    }
}

/// What the running configuration has under the name of a zone.
#[derive(Clone, Copy)]
pub(super) enum Predecessor {
    /// Nothing.
    None,
    /// A zone of another module, or of another copy of this one, as after an upgrade under another path.
    /// What lies in it is not ours to know.
    Foreign,
    /// The same zone, with all that it holds.
    Same,
    /// Ours, but of another size, or not in order. The zone lives at least until the new configuration is
    /// accepted. (NGINX 1.22 does not hand it to the new zone.)
    Other(NonNull<Zone>),
}

impl Predecessor {
    /// Finds out.
    ///
    /// # Safety
    /// `cycle` is the one whose configuration is being read.
    pub(super) unsafe fn of(cycle: &ngx_cycle_t, name: &[u8], size: usize) -> Self {
        // SAFETY: the running cycle lives at least until the new one is complete. The tag says that `data` is
        // what `request` put there.
        unsafe {
            let old_zones = cycle.old_cycle.as_ref().map(|old| &old.shared_memory);
            let Some(old) = old_zones.and_then(|zones| find(zones, name)) else {
                return Self::None;
            };
            if (*old).tag != slot::tag() {
                return Self::Foreign;
            }
            let Some(zone) = NonNull::new((*old).data.cast::<Zone>()) else { return Self::None };
            let content = zone.as_ref().content.as_ref();
            if (*old).shm.size == size && content.is_some_and(|content| content.attach().is_ok()) {
                Self::Same
            } else {
                Self::Other(zone)
            }
        }
    }
}
