//! The shared memory where used DPoP proofs are remembered: one for all locations and workers, made with the
//! first configuration that has need of it and found again by the next ones.
//!
//! Apart from the caches, so that these may change their size while no proof counts twice.

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{ngx_conf_t, ngx_int_t, ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_pool_t};
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

/// No zone that a directive declares has a colon in its name.
const NAME: &[u8] = b"phantom_token:dpop";
/// Its size where none is said: room for about 800,000 proofs. Memory that no proof needs is not touched.
pub(crate) const DEFAULT_SIZE: usize = 8 * 1024 * 1024;

/// The zone, in one cycle's pool.
pub(crate) struct ProofZone {
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
    fn create(shm_zone: &ngx_shm_zone_t) -> Result<Self, ProofZoneError> {
        let secret = random::secret().ok_or(ProofZoneError::NoRandomness)?;
        // SAFETY: NGINX has made the slab pool at the beginning of the zone, which nobody else knows of yet.
        let region = unsafe { slab::rest(shm_zone.shm.addr.cast::<ngx_slab_pool_t>()) };
        let secrets = Secrets { names: ProofKey::new(&secret), nonces: Nonces::new(&secret) };
        Self::open(region.ok_or(ProofZoneError::NoMemory)?, secrets)
    }

    /// The same table in another cycle; `None`: it lies in other memory.
    fn attach(&self, shm_zone: &ngx_shm_zone_t) -> Option<Result<Self, ProofZoneError>> {
        let (base, len) = self.region;
        let begin = shm_zone.shm.addr.addr();
        let is_within = base.addr().get() > begin
            && base.addr().get() + len <= begin.saturating_add(shm_zone.shm.size);
        is_within.then(|| Self::open(self.region, self.secrets))
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
    let zone = pool.place(ProofZone { content: None }).ok_or(ProofZoneError::NoMemory)?;
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

/// NGINX has mapped the zone, or found it in the running cycle: `previous` is then that cycle's
/// [`ProofZone`]. This runs before the new configuration is accepted, and changes nothing that is in use.
unsafe extern "C" fn init(shm_zone: *mut ngx_shm_zone_t, previous: *mut c_void) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with the zone that `request` set up; `previous` is null or the `data` of
        // a zone of the same name and tag.
        let (shm_zone, zone, previous) = unsafe {
            let zone = &mut *(*shm_zone).data.cast::<ProofZone>();
            (&*shm_zone, zone, previous.cast::<ProofZone>().as_ref())
        };
        let known = previous.and_then(|previous| previous.content.as_ref());
        let opened = known
            .and_then(|content| content.attach(shm_zone))
            .unwrap_or_else(|| Content::create(shm_zone));
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
