//! The shared-memory zones of a cycle.

use nginx_sys::{ngx_list_part_t, ngx_list_t, ngx_shm_zone_t};

use crate::pool::bytes_of;

/// The zone of a name.
///
/// # Safety
/// As of [`zones`].
pub(crate) unsafe fn find(list: &ngx_list_t, name: &[u8]) -> Option<*mut ngx_shm_zone_t> {
    // SAFETY: the caller says so; names live as long as their zones.
    unsafe { zones(list).find(|zone| bytes_of(&(**zone).shm.name) == name) }
}

/// The zones of a cycle.
///
/// # Safety
/// `list` is a cycle's list of zones, and stays as it is meanwhile.
pub(crate) unsafe fn zones(list: &ngx_list_t) -> impl Iterator<Item = *mut ngx_shm_zone_t> {
    let mut part: *const ngx_list_part_t = &raw const list.part;
    let mut at = 0;
    core::iter::from_fn(move || {
        // SAFETY: the caller says so: each part has `nelts` zones.
        unsafe {
            while at >= part.as_ref()?.nelts {
                part = (*part).next;
                at = 0;
            }
            at += 1;
            Some((*part).elts.cast::<ngx_shm_zone_t>().add(at - 1))
        }
    })
}
