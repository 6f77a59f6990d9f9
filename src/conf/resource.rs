//! The protected resource (RFC 9728) that a location belongs to.

use core::ptr;

use nginx_sys::{ngx_array_t, ngx_http_handler_pt, ngx_str_t};
use phantom_token_core::metadata::Resource;

use super::position::Position;
use crate::pool::bytes_of;

/// What a location says of the resource that it belongs to, and whether it answers with documents itself.
pub(crate) struct ResourceConf {
    /// `phantom_token_resource`; no data: none.
    pub(crate) identifier: ngx_str_t,
    pub(crate) identified_at: Position,
    /// `phantom_token_authorization_server`: issuers, as `&str`s; null: none.
    pub(crate) authorization_servers: *mut ngx_array_t,
    /// `phantom_token_resource_metadata`: what answers here; none: something else.
    pub(crate) handler: ngx_http_handler_pt,
    pub(crate) handler_at: Position,
    /// It is for clients that have no token yet, and `phantom_token` is on only further out.
    pub(super) is_open: bool,
}

impl ResourceConf {
    /// A level where nothing was said.
    pub(super) const fn unset(nowhere: Position) -> Self {
        Self {
            identifier: ngx_str_t::empty(),
            identified_at: nowhere,
            authorization_servers: ptr::null_mut(),
            handler: None,
            handler_at: nowhere,
            is_open: false,
        }
    }

    /// The resource, where one is named.
    pub(super) fn resource(&self) -> Option<Resource<'_>> {
        // SAFETY: the string is the cycle's.
        let identifier = unsafe { bytes_of(&self.identifier) };
        // The setter has let no other pass.
        if identifier.is_empty() { None } else { Resource::parse(identifier).ok() }
    }

    /// The issuers, as they were given.
    pub(super) fn authorization_servers(&self) -> &[&str] {
        // SAFETY: the setter pushes slices of the cycle's memory and nothing else.
        unsafe { self.authorization_servers.as_ref().map_or(&[], |servers| servers.as_slice()) }
    }
}
