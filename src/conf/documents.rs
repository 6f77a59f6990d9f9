//! The documents of the protected resources of a server block.

use core::cell::Cell;
use core::ptr;

use nginx_sys::{ngx_array_t, ngx_str_t};

use super::location::LocationConf;
use super::position::Position;
use crate::pool::bytes_of;

/// The documents of a server block, and what they are made of.
pub(crate) struct Published {
    /// `*const LocationConf`s whose challenges name a resource; null: none.
    pub(super) locations: Cell<*mut ngx_array_t>,
    /// Where one of its locations answers with documents.
    pub(super) handler_at: Cell<Option<Position>>,
    /// [`Entry`]s; null: none.
    pub(super) entries: Cell<*mut ngx_array_t>,
}

/// A document, and the request that it answers.
pub(super) struct Entry {
    pub(super) path: ngx_str_t,
    pub(super) query: ngx_str_t,
    pub(super) body: ngx_str_t,
}

impl Published {
    pub(super) const fn new() -> Self {
        Self {
            locations: Cell::new(ptr::null_mut()),
            handler_at: Cell::new(None),
            entries: Cell::new(ptr::null_mut()),
        }
    }

    /// The document that a request for this path (`$uri`) and query means, in the cycle's memory.
    pub(crate) fn document(&self, path: &[u8], query: &[u8]) -> Option<&[u8]> {
        // SAFETY: `publish` made the array, of entries whose strings are the cycle's.
        unsafe {
            let entries = self.entries.get().as_ref()?.as_slice::<Entry>();
            let is_meant =
                |entry: &&Entry| bytes_of(&entry.path) == path && bytes_of(&entry.query) == query;
            entries.iter().find(is_meant).map(|entry| bytes_of(&entry.body))
        }
    }

    pub(super) fn locations(&self) -> &[*const LocationConf] {
        // SAFETY: `describe_resource` pushes pointers to locations and nothing else.
        unsafe { self.locations.get().as_ref().map_or(&[], |locations| locations.as_slice()) }
    }
}
