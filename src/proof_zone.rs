//! The shared memory where used DPoP proofs are remembered: one for all locations and workers, made with the
//! first configuration that has need of it and found again by the next ones.
//!
//! Apart from the caches, so that these may change their size while no proof counts twice.

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_conf_t, ngx_int_t, ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_pool_t, ngx_timeofday,
};
use phantom_token_core::dpop::Nonces;
use phantom_token_core::key::ProofKey;
use phantom_token_core::replay::Replays;
use thiserror::Error;

use crate::code::{ERROR, OK};
use crate::guard::guard;
use crate::log::log;
use crate::pool::Pool;
use crate::random;
use crate::slab::{self, Region};
use crate::slot;
use crate::zones::find;

/// No zone that a directive declares has a colon in its name.
const NAME: &[u8] = b"phantom_token:dpop";
/// Its size where none is said: room for about 800,000 proofs. Memory that no proof needs is not touched.
pub(crate) const DEFAULT_SIZE: usize = 8 * 1024 * 1024;

/// The zone, in one cycle's pool.
pub(crate) struct ProofZone {
    /// That of the running configuration, as long as the cycle is being made. (NGINX does not hand it over where the
    /// size is another.)
    predecessor: Option<NonNull<ProofZone>>,
    /// What lies there, once the cycle has made or found it.
    content: Option<Content>,
}

struct Content {
    region: Region,
    replays: Replays,
    secrets: Secrets,
}

/// What is made of the zone's secret.
#[derive(Clone, Copy)]
struct Secrets {
    names: ProofKey,
    nonces: Nonces,
}

impl Secrets {
    fn new() -> Result<Self, ProofZoneError> {
        let secret = random::secret().ok_or(ProofZoneError::NoRandomness)?;
        Ok(Self { names: ProofKey::new(&secret), nonces: Nonces::new(&secret) })
    }
}

/// Why the zone cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ProofZoneError {
    #[error(
        "\"phantom_token_dpop_zone\" is too small: at least {min}k are needed",
        min = slab::least() / 1024
    )]
    TooSmall,
    #[error("no memory for the zone of used DPoP proofs")]
    NoMemory,
    #[error("the system gives no random numbers for the secret of used DPoP proofs")]
    NoRandomness,
}

impl ProofZone {
    /// Used proofs, and the key of their names; there from the moment that the cycle has its zones.
    pub(crate) fn replays(&self) -> Option<(&Replays, &ProofKey)> {
        self.content.as_ref().map(|content| (&content.replays, &content.secrets.names))
    }

    /// What gives the nonces of this machine; there as the proofs are.
    pub(crate) fn nonces(&self) -> Option<&Nonces> {
        self.content.as_ref().map(|content| &content.secrets.nonces)
    }
}

impl Content {
    /// A table of fresh memory.
    fn create(shm_zone: &ngx_shm_zone_t, secrets: Secrets) -> Result<Self, ProofZoneError> {
        // SAFETY: NGINX has made the slab pool at the beginning of the zone, which nobody else knows of yet.
        let region = unsafe { slab::rest(shm_zone.shm.addr.cast::<ngx_slab_pool_t>()) };
        Self::open(region.ok_or(ProofZoneError::NoMemory)?, secrets)
    }

    /// A table of fresh memory, with all that this one remembers.
    fn move_to(&self, shm_zone: &ngx_shm_zone_t) -> Result<Self, ProofZoneError> {
        let moved = Self::create(shm_zone, self.secrets)?;
        let now = u64::try_from(ngx_timeofday().sec).unwrap_or(0);
        moved.replays.copy_from(&self.replays, now);
        Ok(moved)
    }

    /// Whether this is what lies in that zone.
    fn is_of(&self, shm_zone: &ngx_shm_zone_t) -> bool {
        let (base, len) = self.region;
        let begin = shm_zone.shm.addr.addr();
        base.addr().get() > begin
            && base.addr().get() + len <= begin.saturating_add(shm_zone.shm.size)
    }

    fn open(region: Region, secrets: Secrets) -> Result<Self, ProofZoneError> {
        // SAFETY: the pages are used for nothing else, begin as zeros, and stay mapped as long as any cycle has
        // the zone. Whatever lies there is a table of proofs.
        let replays = unsafe { Replays::open(region.0, region.1) };
        Ok(Self { region, replays: replays.ok_or(ProofZoneError::NoMemory)?, secrets })
    }
}

/// Refuses a zone without room for anything.
pub(crate) fn check_size(size: usize) -> Result<(), ProofZoneError> {
    if size < slab::least() { Err(ProofZoneError::TooSmall) } else { Ok(()) }
}

/// Asks NGINX for the zone. The result lives in the cycle's pool.
pub(crate) fn request(
    cf: &mut ngx_conf_t,
    size: usize,
) -> Result<NonNull<ProofZone>, ProofZoneError> {
    // SAFETY: the configuration's pool is the cycle's.
    let pool = unsafe { Pool::from_ptr(cf.pool) };
    // SAFETY: the running cycle lives at least until the new one is complete. The tag says that `data` is what was
    // put there below.
    let predecessor = unsafe {
        let old_zones = (*cf.cycle).old_cycle.as_ref().map(|old| &old.shared_memory);
        old_zones
            .and_then(|zones| find(zones, NAME))
            .filter(|old| (**old).tag == slot::tag())
            .and_then(|old| NonNull::new((*old).data.cast::<ProofZone>()))
    };
    let zone = ProofZone { predecessor, content: None };
    let zone = pool.place(zone).ok_or(ProofZoneError::NoMemory)?;
    let mut name = pool.string(NAME).ok_or(ProofZoneError::NoMemory)?;
    // SAFETY: all of it is live. The tag is ours: no other module can take the zone for its own.
    let shm_zone =
        NonNull::new(unsafe { ngx_shared_memory_add(cf, &raw mut name, size, slot::tag()) })
            .ok_or(ProofZoneError::NoMemory)?;
    // SAFETY: NGINX has just made the zone, and waits for all of it.
    unsafe {
        (*shm_zone.as_ptr()).init = Some(init);
        (*shm_zone.as_ptr()).data = zone.as_ptr().cast();
    }
    Ok(zone)
}

/// NGINX has mapped the zone, or found it in the running cycle. This runs before the new configuration is accepted,
/// and changes nothing that is in use.
unsafe extern "C" fn init(shm_zone: *mut ngx_shm_zone_t, _previous: *mut c_void) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with the zone that `request` set up, whose predecessor lives until the new
        // configuration is accepted.
        let (shm_zone, zone, known) = unsafe {
            let zone = &mut *(*shm_zone).data.cast::<ProofZone>();
            let known = zone.predecessor.take().and_then(|old| old.as_ref().content.as_ref());
            (&*shm_zone, zone, known)
        };
        let opened = match known {
            Some(content) if content.is_of(shm_zone) => {
                Content::open(content.region, content.secrets)
            }
            Some(content) => content.move_to(shm_zone),
            None => Secrets::new().and_then(|secrets| Content::create(shm_zone, secrets)),
        };
        match opened {
            Ok(content) => {
                zone.content = Some(content);
                OK
            }
            Err(error) => {
                log!(NGX_LOG_EMERG, shm_zone.shm.log, "phantom_token: {error}");
                ERROR
            }
        }
    })
}
