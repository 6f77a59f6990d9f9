//! The `http` level: the zones, and what all locations need together.

use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use core::ptr;

use nginx_sys::{
    ngx_array_create, ngx_array_t, ngx_conf_t, ngx_cycle_t, ngx_http_conf_ctx_t, ngx_http_module,
};
use phantom_token_core::dpop::Proofs;

use crate::cache_zone::{self, Zone, ZoneError};
use crate::guard::guard;
use crate::log::Shown;
use crate::pool::{Pool, push};
use crate::proof_zone::{self, ProofZone, ProofZoneError};
use crate::random;
use crate::slot::ctx_index;

/// What a worker checks DPoP proofs with, made at the first one.
pub(crate) type Checker = RefCell<Option<Proofs>>;

/// The `http` level.
pub(crate) struct MainConf {
    /// `*const Zone`s, in the order of their declaration.
    pub(crate) zones: *mut ngx_array_t,
    /// `phantom_token on` is somewhere: the default zone is needed.
    pub(crate) used: Cell<bool>,
    /// A location that is on has an `error_page` or `post_action`, which requests may follow before it is decided about
    /// their tokens.
    pub(crate) can_be_led_away: Cell<bool>,
    /// DPoP proofs are checked somewhere: their zone is needed.
    pub(crate) takes_proofs: Cell<bool>,
    /// `phantom_token_dpop_zone`, in bytes; `usize::MAX` where it is not said.
    pub(crate) proof_zone_size: usize,
    /// That zone; null: none.
    proof_zone: Cell<*const ProofZone>,
    /// The largest `phantom_token_max_introspections` in use.
    pub(crate) max_introspections: Cell<usize>,
    /// On the heap, for as long as the cycle.
    proofs: *const Checker,
    /// Stands in for a zone's secret where no zone is in use.
    pub(super) secret: [u8; 32],
}

/// `create_main_conf`
pub(crate) unsafe extern "C" fn create_main(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: NGINX calls with a live configuration and its pool.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        // SAFETY: the pool is live; the elements are pointers.
        let zones = unsafe { ngx_array_create(pool.as_ptr(), 1, size_of::<*const Zone>()) };
        if zones.is_null() {
            return ptr::null_mut();
        }
        let Some(secret) = random::secret() else { return ptr::null_mut() };
        let Some(proofs) = pool.keep(Checker::default()) else { return ptr::null_mut() };
        pool.place(MainConf {
            zones,
            used: Cell::new(false),
            can_be_led_away: Cell::new(false),
            takes_proofs: Cell::new(false),
            proof_zone_size: usize::MAX,
            proof_zone: Cell::new(ptr::null()),
            max_introspections: Cell::new(0),
            proofs: proofs.as_ptr(),
            secret,
        })
        .map_or(ptr::null_mut(), |place| place.as_ptr().cast())
    })
}

impl MainConf {
    /// Where all used proofs are remembered, whatever location they are for: two stores would take one twice.
    pub(crate) fn proof_zone(&self) -> Option<&ProofZone> {
        // SAFETY: the zone, null or not, is the cycle's.
        unsafe { self.proof_zone.get().as_ref() }
    }

    /// What this worker checks proofs with.
    pub(crate) fn proofs(&self) -> &Checker {
        // SAFETY: create_main made it, for as long as the cycle.
        unsafe { &*self.proofs }
    }

    /// The declared zones.
    pub(crate) fn zones(&self) -> &[*const Zone] {
        // SAFETY: create_main made the array, and cache_zone pushes pointers to zones only.
        unsafe { (*self.zones).as_slice() }
    }

    /// Asks NGINX for one more zone.
    pub(crate) fn declare_zone(
        &self,
        cf: &mut ngx_conf_t,
        name: &[u8],
        size: usize,
    ) -> Result<(), ZoneError> {
        // SAFETY: zones live in the cycle's pool.
        if self.zones().iter().any(|zone| unsafe { (**zone).name() } == name) {
            return Err(ZoneError::Duplicate(Shown(name).to_string()));
        }
        let zone = cache_zone::request(cf, name, size)?;
        // SAFETY: create_main made the array for pointers to zones.
        unsafe { push::<*const Zone>(self.zones, zone.as_ptr()) }.ok_or(ZoneError::NoMemory)
    }
}

/// This module's part of the `http` level.
pub(crate) fn main_conf(cf: &ngx_conf_t) -> &MainConf {
    // SAFETY: while an http block is read, `ctx` is its context, with a configuration of every module.
    unsafe {
        let context = cf.ctx.cast::<ngx_http_conf_ctx_t>();
        &*(*(*context).main_conf.add(ctx_index())).cast::<MainConf>()
    }
}

/// Asks NGINX for the zone of used proofs, if any location has need of it.
pub(crate) fn declare_proof_zone(cf: &mut ngx_conf_t) -> Result<(), ProofZoneError> {
    let main = main_conf(cf);
    if !main.takes_proofs.get() {
        return Ok(());
    }
    let size = match main.proof_zone_size {
        usize::MAX => proof_zone::DEFAULT_SIZE,
        size => size,
    };
    let zone = proof_zone::request(cf, size)?;
    main_conf(cf).proof_zone.set(zone.as_ptr());
    Ok(())
}

/// The largest `phantom_token_max_introspections` in use; 0: none is.
///
/// # Safety
/// `cycle` is live and its configuration complete.
pub(crate) unsafe fn max_introspections(cycle: *mut ngx_cycle_t) -> usize {
    // SAFETY: the caller says so. NGINX has a slot for every module, null where there is no such block.
    unsafe {
        let http = *(*cycle).conf_ctx.add(ngx_http_module.index);
        let context = http.cast::<ngx_http_conf_ctx_t>().as_ref();
        context.map_or(0, |context| {
            let main = *context.main_conf.add(ctx_index());
            (*main.cast::<MainConf>()).max_introspections.get()
        })
    }
}
