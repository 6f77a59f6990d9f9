//! The variables: `$phantom_token_jwt` and its like.

use core::fmt::Write;

use nginx_sys::{
    ngx_conf_t, ngx_http_add_variable, ngx_http_request_t, ngx_int_t, ngx_str_t,
    ngx_variable_value_t,
};
use phantom_token_core::key;

use crate::claims;
use crate::code::{ERROR, OK};
use crate::context::{Context, Outcome};
use crate::guard::guard;
use crate::nginx::bits::variable_value;
use crate::pool::{bytes_of, string_over};
use crate::request::Request;

/// Reads one variable; `None`: not found.
type Read = for<'r> fn(Request<'r>, &Context) -> Option<ngx_str_t>;

/// Name and reader, in the order of the index that NGINX keeps as the variable's data.
const VARIABLES: [(&[u8], Read); 5] = [
    (b"phantom_token_jwt", jwt),
    (b"phantom_token_cache_status", cache_status),
    (b"phantom_token_error", error),
    (b"phantom_token_fingerprint", fingerprint),
    (b"phantom_token_introspection_time", introspection_time),
];

/// Adds the variables to a configuration. `None`: NGINX has said why not.
///
/// # Safety
/// `cf` is the live configuration in preconfiguration.
pub(crate) unsafe fn add(cf: *mut ngx_conf_t) -> Option<()> {
    for (index, (name, _)) in VARIABLES.iter().enumerate() {
        let mut name = string_over(name);
        // SAFETY: the caller says so. NGINX copies the name.
        unsafe {
            let flags = nginx_sys::NGX_HTTP_VAR_NOCACHEABLE as usize;
            let variable = ngx_http_add_variable(cf, &raw mut name, flags).as_mut()?;
            variable.get_handler = Some(get);
            variable.data = index;
        }
    }
    let mut prefix = string_over(CLAIM);
    // SAFETY: as above.
    unsafe {
        let flags = (nginx_sys::NGX_HTTP_VAR_NOCACHEABLE | nginx_sys::NGX_HTTP_VAR_PREFIX) as usize;
        ngx_http_add_variable(cf, &raw mut prefix, flags).as_mut()?.get_handler = Some(get_claim);
    }
    Some(())
}

/// A variable for every claim, by its name.
const CLAIM: &[u8] = b"phantom_token_claim_";

unsafe extern "C" fn get(
    request: *mut ngx_http_request_t,
    value: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX evaluates variables of live requests, into a value that is ours to fill. The
        // context belongs to the main request, whose state a subrequest sees, too.
        let (request, value) = unsafe { (Request::from_ptr(request), &mut *value) };
        let text = VARIABLES.get(data).and_then(|(_, read)| {
            let context = Context::of(request.main())?;
            // SAFETY: the context lives in the pool of the main request.
            read(request, unsafe { context.as_ref() })
        });
        fill(value, text);
        OK
    })
}

/// A claim of the verdict: `data` is NGINX's pointer to the variable's whole name.
unsafe extern "C" fn get_claim(
    request: *mut ngx_http_request_t,
    value: *mut ngx_variable_value_t,
    data: usize,
) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: as of `get`. NGINX hands a variable with a prefix the address of its name, which lives as
        // long as the configuration.
        let (request, value, name) = unsafe {
            let name = bytes_of(&*core::ptr::with_exposed_provenance::<ngx_str_t>(data));
            (Request::from_ptr(request), &mut *value, name)
        };
        let text = Context::of(request.main()).and_then(|context| {
            // SAFETY: as of `get`.
            let context = unsafe { context.as_ref() };
            let name = name.get(CLAIM.len()..)?;
            if context.reason.get().is_some() { None } else { claims::text(request, context, name) }
        });
        fill(value, text);
        OK
    })
}

fn fill(value: &mut ngx_variable_value_t, text: Option<ngx_str_t>) {
    let (len, data) = text.map_or((0, value.data), |text| (text.len, text.data));
    value.data = data;
    let value: *mut ngx_variable_value_t = value;
    // SAFETY: the value is live, and ours to write.
    unsafe {
        variable_value::VALID.set(value, 1);
        variable_value::NO_CACHEABLE.set(value, 0);
        variable_value::ESCAPE.set(value, 0);
        variable_value::NOT_FOUND.set(value, u32::from(text.is_none()));
        variable_value::LEN.set(value, u32::try_from(len).unwrap_or(0));
    }
}

fn jwt(_request: Request<'_>, context: &Context) -> Option<ngx_str_t> {
    match context.outcome() {
        Some(Outcome::Active { carried, record })
            if context.reason.get().is_none() && record.document.is_access_token() =>
        {
            Some(carried.bare())
        }
        _ => None,
    }
}

fn cache_status(_request: Request<'_>, context: &Context) -> Option<ngx_str_t> {
    Some(string_over(context.cache_status.get().as_str().as_bytes()))
        .filter(|status| status.len != 0)
}

fn error(_request: Request<'_>, context: &Context) -> Option<ngx_str_t> {
    context.reason.get().map(|reason| string_over(reason.slug().as_bytes()))
}

fn fingerprint(request: Request<'_>, context: &Context) -> Option<ngx_str_t> {
    // SAFETY: the token is in the request's memory.
    let token = unsafe { bytes_of(&context.token.get()) };
    if token.is_empty() {
        return None;
    }
    request.pool().string(&key::fingerprint(token))
}

fn introspection_time(request: Request<'_>, context: &Context) -> Option<ngx_str_t> {
    let took = context.took.get()?;
    let mut text = Stack::<24>::default();
    write!(text, "{}.{:03}", took / 1000, took % 1000).ok()?;
    request.pool().string(text.written())
}

/// Text on the stack.
struct Stack<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Stack<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Stack<N> {
    fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> Write for Stack<N> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(core::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
