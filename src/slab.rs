//! Memory of a zone, from the slab pool that NGINX has made at its beginning.

use core::ptr::NonNull;

use nginx_sys::{ngx_slab_alloc, ngx_slab_pool_t};

/// Memory within a zone.
pub(crate) type Region = (NonNull<u8>, usize);

/// What NGINX's own modules ask for at least: where pages are large, what is rounded up to them counts.
const LEAST_PAGES: usize = 8;

/// The length of a page, in bytes.
pub(crate) fn page() -> usize {
    // SAFETY: set when NGINX starts.
    unsafe { nginx_sys::ngx_pagesize }
}

/// The smallest zone that NGINX can make a slab pool of with room for anything, in bytes.
pub(crate) fn least() -> usize {
    LEAST_PAGES * page()
}

/// At least `len` bytes, in whole pages; `None`: there are not so many.
///
/// # Safety
/// `slab` is the pool of a zone that nobody else uses yet.
pub(crate) unsafe fn pages(slab: *mut ngx_slab_pool_t, len: usize) -> Option<Region> {
    let len = len.next_multiple_of(page());
    // SAFETY: the caller says so.
    let base = NonNull::new(unsafe { ngx_slab_alloc(slab, len) }.cast::<u8>())?;
    Some((base, len))
}

/// All pages that are left.
///
/// # Safety
/// As of [`pages`], and nothing was ever given back: what is free is one run.
pub(crate) unsafe fn rest(slab: *mut ngx_slab_pool_t) -> Option<Region> {
    // SAFETY: the caller says so; `pfree` counts the free pages.
    unsafe { pages(slab, (*slab).pfree * page()) }
}
