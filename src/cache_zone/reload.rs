//! Whether NGINX takes the memory of a zone over at a reload.
//!
//! NGINX reuses the memory where name, size and tag are the same and the new zone does not say `noreuse`. It
//! frees the old zone's memory, once the new configuration is accepted, where the size is another or the *old*
//! zone says `noreuse`; and the new one's, if the configuration is refused, by the *new* zone's word. One that
//! still said so at the next reload would lose memory that is in use: the flag is there from when the
//! zone is declared until it is settled which configuration counts.

use nginx_sys::ngx_cycle_t;

use crate::pool::bytes_of;
use crate::slot;
use crate::zones::{find, zones};

/// The new configuration is accepted: lets NGINX free the memory of the zones that were replaced, and not that
/// of the new ones at the next reload.
///
/// # Safety
/// `cycle` is the new one, and its modules are being initialised.
pub(super) unsafe fn settle(cycle: &ngx_cycle_t) {
    // SAFETY: both cycles are live, and their lists hold zones.
    unsafe {
        for zone in zones(&cycle.shared_memory) {
            if (*zone).tag != slot::tag() || (*zone).noreuse == 0 {
                continue;
            }
            (*zone).noreuse = 0;
            let old_zones = cycle.old_cycle.as_ref().map(|old| &old.shared_memory);
            if let Some(old) = old_zones.and_then(|zones| find(zones, bytes_of(&(*zone).shm.name)))
            {
                (*old).noreuse = 1;
            }
        }
    }
}
