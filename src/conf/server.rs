//! The `server` level.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use nginx_sys::{ngx_conf_t, ngx_http_conf_ctx_t};

use super::documents::Published;
use crate::guard::guard;
use crate::pool::Pool;
use crate::slot::ctx_index;

/// The `server` level: no directives of its own, but the identity of the block, and what its locations
/// say of their resources.
pub(crate) struct ServerConf {
    /// Hash over names and addresses: two blocks never share a verdict, and one block keeps its
    /// verdicts over a reload, wherever in the file it stands.
    pub(crate) identity: Cell<[u8; 32]>,
    pub(crate) published: Published,
}

/// `create_srv_conf`
pub(crate) unsafe extern "C" fn create_server(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: NGINX calls with a live configuration and its pool.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        pool.place(ServerConf { identity: Cell::new([0; 32]), published: Published::new() })
            .map_or(ptr::null_mut(), |place| place.as_ptr().cast())
    })
}

/// This module's part of the `server` level that is read or merged.
pub(super) fn server_conf(cf: &ngx_conf_t) -> &ServerConf {
    // SAFETY: while an http block is read, `ctx` is the context of the level that is read or merged, with a
    // configuration of every module; in http itself it has one of this level, too.
    unsafe {
        let context = cf.ctx.cast::<ngx_http_conf_ctx_t>();
        &*(*(*context).srv_conf.add(ctx_index())).cast::<ServerConf>()
    }
}

/// Names, for the key, the server block that `server` is the configuration of.
pub(crate) fn set_identity(server: &ServerConf, identity: [u8; 32]) {
    server.identity.set(identity);
}
