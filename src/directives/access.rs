//! Setters of the directives that say whose requests are translated, and what goes upstream and to the client.

use core::ffi::{c_char, c_void};
use core::mem::offset_of;

use nginx_sys::{
    ngx_command_t, ngx_conf_set_str_slot, ngx_conf_t, ngx_http_get_variable_index, ngx_str_t,
};

use super::argument::{Fault, array, compile, set, shown, text, variable_name};
use crate::conf::{Carrier, LocationConf, Position, SetHeader, TokenSource, UNSET, main_conf};
use crate::headers;
use crate::pool::{Pool, bytes_of, push};

/// `phantom_token on | off [token=$variable [from=cookie:NAME | from=header:NAME]]`
pub(super) unsafe extern "C" fn set_phantom_token(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if conf.enable != UNSET {
            return Err(Fault::Duplicate);
        }
        let switch = text(args.first());
        conf.enable = match switch {
            b"on" => 1,
            b"off" => 0,
            _ => return Err(Fault::Switch(shown(switch))),
        };
        conf.enabled_at = Position::of(cf);
        if let Some(arg) = args.get(1) {
            let arg = text(Some(arg));
            let value = arg.strip_prefix(b"token=").ok_or_else(|| Fault::Switch(shown(arg)))?;
            let from = args.get(2).map(|from| text(Some(from)));
            conf.token_source = token_source(cf, pool, value, from)?;
        }
        if conf.is_on() {
            use_module(cf);
        }
        Ok(())
    })
}

/// Notes that the default zone is needed, where none is declared.
fn use_module(cf: &mut ngx_conf_t) {
    main_conf(cf).used.set(true);
}

/// Compiles `$variable`, and finds out what carries it.
fn token_source(
    cf: &mut ngx_conf_t,
    pool: Pool<'_>,
    value: &[u8],
    from: Option<&[u8]>,
) -> Result<*const TokenSource, Fault> {
    let name = variable_name(value).ok_or(Fault::TokenSource)?;
    if name == b"http_authorization" {
        return Err(Fault::TokenSource);
    }
    let carrier = if let Some(header) = name.strip_prefix(b"http_") {
        if is_reserved(header) {
            return Err(Fault::ReservedHeader(shown(header)));
        }
        Carrier::Header(pool.string(header).ok_or(Fault::NoMemory)?)
    } else if let Some(cookie) = name.strip_prefix(b"cookie_") {
        Carrier::Cookie(pool.string(cookie).ok_or(Fault::NoMemory)?)
    } else {
        Carrier::Other
    };
    let carrier = match (from, carrier) {
        (None, carrier) => carrier,
        (Some(from), Carrier::Other) => named_carrier(pool, from)?,
        // The variable's own name says it.
        (Some(from), _) => return Err(Fault::TokenFrom(shown(from))),
    };
    let compiled = compile(cf, value)?;
    let value = pool.place(compiled).ok_or(Fault::NoMemory)?.as_ptr();
    let mut name = pool.string(name).ok_or(Fault::NoMemory)?;
    // SAFETY: the name is the cycle's, as NGINX expects.
    let index = unsafe { ngx_http_get_variable_index(cf, &raw mut name) };
    let index = usize::try_from(index).map_err(|_| Fault::Logged)?;
    let is_carrier_named = from.is_some();
    let source = TokenSource { value, name, index, carrier, is_carrier_named };
    Ok(pool.place(source).ok_or(Fault::NoMemory)?.as_ptr())
}

/// Reads `from=cookie:NAME` or `from=header:NAME`.
fn named_carrier(pool: Pool<'_>, from: &[u8]) -> Result<Carrier, Fault> {
    // RFC 9110 section 5.6.2: what names of headers and cookies consist of.
    let is_name = |name: &[u8]| {
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !name.is_empty() && name.iter().all(is_token)
    };
    let fault = || Fault::TokenFrom(shown(from));
    let carrier = from.strip_prefix(b"from=").ok_or_else(fault)?;
    if let Some(name) = carrier.strip_prefix(b"cookie:").filter(|name| is_name(name)) {
        return Ok(Carrier::Cookie(pool.string(name).ok_or(Fault::NoMemory)?));
    }
    let name = carrier.strip_prefix(b"header:").filter(|name| is_name(name)).ok_or_else(fault)?;
    if is_reserved(name) {
        return Err(Fault::ReservedHeader(shown(name)));
    }
    Ok(Carrier::Header(pool.string(name).ok_or(Fault::NoMemory)?))
}

/// Headers that NGINX keeps pointers to or writes by itself: they can neither be taken out nor set.
const RESERVED_HEADERS: [&[u8]; 31] = [
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"connection",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"depth",
    b"destination",
    b"expect",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"overwrite",
    b"proxy-connection",
    b"range",
    b"referer",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"user-agent",
    b"via",
    b"x-forwarded-for",
    b"x-real-ip",
];

/// Whether a header's name, with `-` or `_`, is one of [`RESERVED_HEADERS`].
fn is_reserved(name: &[u8]) -> bool {
    RESERVED_HEADERS.iter().any(|reserved| headers::same_name(name, reserved))
}

/// The name of a header that can be taken out and set.
fn header_name<'a>(arg: Option<&ngx_str_t>) -> Result<&'a [u8], Fault> {
    let name = text(arg);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    if name.is_empty() || !name.iter().all(is_name) {
        return Err(Fault::HeaderName(shown(name)));
    }
    if is_reserved(name) {
        return Err(Fault::ReservedHeader(shown(name)));
    }
    Ok(name)
}

/// `phantom_token_set_header name value`
pub(super) unsafe extern "C" fn set_asserted_header(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        let name = header_name(args.first())?;
        if name.eq_ignore_ascii_case(b"authorization") || headers::is_dpop(name) {
            return Err(Fault::ReservedHeader(shown(name)));
        }
        if conf.sets(name) {
            return Err(Fault::Duplicate);
        }
        let string = |bytes: &[u8]| pool.string(bytes).ok_or(Fault::NoMemory);
        let lowcase = name.to_ascii_lowercase();
        let mut variable = b"http_".to_vec();
        variable.extend(lowcase.iter().map(|&byte| if byte == b'-' { b'_' } else { byte }));
        let mut variable = string(&variable)?;
        // SAFETY: the name is the cycle's, as NGINX expects.
        let variable = unsafe { ngx_http_get_variable_index(cf, &raw mut variable) };
        let header = SetHeader {
            name: headers::Name::new(string(name)?, string(&lowcase)?),
            value: compile(cf, text(args.get(1)))?,
            variable: usize::try_from(variable).map_err(|_| Fault::Logged)?,
        };
        let set_headers = array::<SetHeader>(pool, &mut conf.set_headers)?;
        // SAFETY: the array was made for these headers.
        unsafe { push(set_headers, header) }.ok_or(Fault::NoMemory)
    })
}

/// `phantom_token_header name` and `phantom_token_envelope_header name`
pub(super) unsafe extern "C" fn set_header(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    let checked = set(cf, conf, |_cf, _pool, args, _conf| {
        let name = header_name(args.first())?;
        // SAFETY: NGINX hands over the directive that it found.
        let is_envelope = unsafe { (*command).offset } == offset_of!(LocationConf, envelope_header);
        if is_envelope && headers::same_name(name, b"authorization") {
            return Err(Fault::ReservedHeader(shown(name)));
        }
        Ok(())
    });
    if !checked.is_null() {
        return checked;
    }
    // SAFETY: NGINX's own setter, called as NGINX would.
    unsafe { ngx_conf_set_str_slot(cf, command, conf) }
}

/// `phantom_token_scopes "a b"` and `phantom_token_scope a`: one list, in the order of the file.
pub(super) unsafe extern "C" fn set_scopes(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |_cf, pool, args, conf| {
        let value = text(args.first());
        if value.is_empty() {
            return Err(Fault::Empty);
        }
        // SAFETY: the string is the cycle's.
        let mut scopes = unsafe { bytes_of(&conf.scopes) }.to_vec();
        if !scopes.is_empty() {
            scopes.push(b' ');
        }
        scopes.extend_from_slice(value);
        conf.scopes = pool.string(&scopes).ok_or(Fault::NoMemory)?;
        Ok(())
    })
}
