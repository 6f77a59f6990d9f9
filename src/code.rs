//! NGINX's return codes, in the types in which its functions return them.

use core::ffi::c_char;

use nginx_sys::ngx_int_t;

/// `NGX_OK`
pub(crate) const OK: ngx_int_t = nginx_sys::NGX_OK as ngx_int_t;
/// `NGX_ERROR`
pub(crate) const ERROR: ngx_int_t = nginx_sys::NGX_ERROR as ngx_int_t;
/// `NGX_AGAIN`
pub(crate) const AGAIN: ngx_int_t = nginx_sys::NGX_AGAIN as ngx_int_t;
/// `NGX_DECLINED`
pub(crate) const DECLINED: ngx_int_t = nginx_sys::NGX_DECLINED as ngx_int_t;

/// `NGX_CONF_OK`
pub(crate) fn conf_ok() -> *mut c_char {
    core::ptr::null_mut()
}

/// `NGX_CONF_ERROR`
pub(crate) fn conf_error() -> *mut c_char {
    ngx::core::NGX_CONF_ERROR
}
