//! The module's place in NGINX's per-module tables.

use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static CTX_INDEX: AtomicUsize = AtomicUsize::new(0);

/// The index. NGINX gives a loaded module the same one in every cycle.
pub(crate) fn ctx_index() -> usize {
    CTX_INDEX.load(Relaxed)
}

/// Notes the index that NGINX gave, before anything of the configuration is read.
pub(crate) fn set_ctx_index(index: usize) {
    CTX_INDEX.store(index, Relaxed);
}

/// An address that says "this module" to NGINX: two modules can never share a zone.
pub(crate) fn tag() -> *mut c_void {
    (&raw const CTX_INDEX).cast_mut().cast()
}
