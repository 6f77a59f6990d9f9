//! `$host` and `$http_host` of a question: the host of its `proxy_pass`.
//!
//! An outer level's `proxy_set_header Host $http_host;` is meant for its APIs. The location that asks inherits it, where
//! it has no `proxy_set_header` of its own; but no client has sent the question, and the gateway's own name would be
//! as wrong as none. So these two say there what NGINX sends by itself.

use core::ptr;

use nginx_sys::{
    ngx_hash_key_t, ngx_http_core_main_conf_t, ngx_http_get_variable_pt, ngx_http_request_t,
    ngx_http_variable_t, ngx_int_t, ngx_variable_value_t,
};

use crate::code::{ERROR, OK};
use crate::guard::guard;
use crate::nginx::bits::variable_value;
use crate::pool::{Pool, bytes_of};
use crate::request::Request;

/// What NGINX reads a variable by.
#[derive(Clone, Copy)]
struct Reader {
    get: ngx_http_get_variable_pt,
    data: usize,
}

impl Reader {
    /// # Safety
    /// The request is live, and the value NGINX's to fill.
    unsafe fn read(
        self,
        request: *mut ngx_http_request_t,
        value: *mut ngx_variable_value_t,
    ) -> ngx_int_t {
        // SAFETY: the caller says so; the data is that of the reader.
        self.get.map_or(ERROR, |get| unsafe { get(request, value.cast(), self.data) })
    }
}

/// A variable that is read in another way where a question is.
struct Replaced {
    usual: Reader,
    proxied: Reader,
}

/// Replaces the readers of both variables. `None`: no memory.
///
/// # Safety
/// `main` is the core module's configuration while postconfiguration runs, and the pool the cycle's.
pub(crate) unsafe fn replace(main: &ngx_http_core_main_conf_t, pool: Pool<'_>) -> Option<()> {
    // SAFETY: the keys are those of NGINX's variables until it has made its tables of them, after this.
    unsafe {
        let Some(keys) = main.variables_keys.as_ref() else { return Some(()) };
        let keys = keys.keys.as_slice::<ngx_hash_key_t>();
        let find = |name: &[u8]| {
            let key = keys.iter().find(|key| bytes_of(&key.key) == name)?;
            ptr::NonNull::new(key.value.cast::<ngx_http_variable_t>())
        };
        // Without the proxy module nothing is inherited.
        let Some(proxied) = find(b"proxy_host").map(|variable| reader(variable.as_ptr())) else {
            return Some(());
        };
        for variable in [find(b"host"), find(b"http_host")].into_iter().flatten() {
            let variable = variable.as_ptr();
            let replaced = pool.place(Replaced { usual: reader(variable), proxied })?;
            (*variable).get_handler = Some(get);
            (*variable).data = replaced.as_ptr().expose_provenance();
        }
    }
    Some(())
}

/// # Safety
/// The variable is live.
unsafe fn reader(variable: *const ngx_http_variable_t) -> Reader {
    // SAFETY: the caller says so.
    unsafe { Reader { get: (*variable).get_handler, data: (*variable).data } }
}

unsafe extern "C" fn get(
    request: *mut ngx_http_request_t,
    value: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: `replace` has put it there, in the memory of the cycle. NGINX evaluates variables of live requests.
        unsafe {
            let replaced = &*ptr::with_exposed_provenance::<Replaced>(data);
            if !Request::from_ptr(request).is_question() {
                return replaced.usual.read(request, value);
            }
            if replaced.proxied.read(request, value) == OK
                && !variable_value::NOT_FOUND.is_set(value)
            {
                return OK;
            }
            // Not known before its location asks: whoever asks for it then sees it anew.
            let rc = replaced.usual.read(request, value);
            variable_value::NO_CACHEABLE.set(value, 1);
            rc
        }
    })
}
