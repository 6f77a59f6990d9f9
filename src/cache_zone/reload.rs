//! What a reload finds under the name of a zone, and whether NGINX takes the memory over.
//!
//! NGINX reuses the memory where name, size and tag are the same and the new zone does not say `noreuse`. It
//! frees the old zone's memory, once the new configuration is accepted, where the size is another or the *old*
//! zone says `noreuse`; and the new one's, if the configuration is refused, by the *new* zone's word. One that
//! still said so at the next reload would lose memory that is in use: the flag is there from when the
//! zone is declared until it is settled which configuration counts.

use core::ptr::NonNull;

use nginx_sys::ngx_cycle_t;

use super::Zone;
use crate::pool::bytes_of;
use crate::slot;
use crate::zones::{find, zones};

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
