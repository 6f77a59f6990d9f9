//! Setters of the directives that say what a token must meet.

use core::ffi::{c_char, c_void};
use core::mem::offset_of;

use nginx_sys::{
    ngx_array_t, ngx_command_t, ngx_conf_t, ngx_http_complex_value_t, ngx_parse_time, ngx_str_t,
};
use phantom_token_core::dpop::{Base, MIN_NONCE_SECRET, Nonces};
use phantom_token_core::facts;
use phantom_token_core::reason::Reason;

use super::argument::{
    Fault, array, compile, read_file, set, shown, shown_url, text, variable_name,
};
use crate::conf::policy::Requirement;
use crate::conf::{DpopNonce, LocationConf, Position};
use crate::pool::{push, string_over};

/// A client needs the time for a request with a nonce that it was just told; what is a day old keeps no proof from
/// being made in advance.
const MIN_NONCE_LIFETIME: i64 = 1_000;
const MAX_NONCE_LIFETIME: i64 = 24 * 60 * 60 * 1_000;
const MAX_NONCE_SECRET: u64 = 4_096;

/// `phantom_token_require_scope a b …` and `phantom_token_require_audience value …`
pub(super) unsafe extern "C" fn set_required_names(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |_cf, pool, args, conf| {
        // SAFETY: NGINX hands over the directive that it found.
        let is_scope = unsafe { (*command).offset } == offset_of!(LocationConf, required_scopes);
        let place = if is_scope { &mut conf.required_scopes } else { &mut conf.required_audiences };
        if !place.is_null() {
            return Err(Fault::Duplicate);
        }
        if is_scope && args.len() > facts::MAX_NAMES {
            return Err(Fault::TooManyScopes);
        }
        let names = array::<ngx_str_t>(pool, place)?;
        for arg in args {
            let name = text(Some(arg));
            if name.is_empty() {
                return Err(Fault::Empty);
            }
            if is_scope && !name.iter().all(is_scope_character) {
                return Err(Fault::Scope(shown(name)));
            }
            // SAFETY: the array was made for strings.
            unsafe { push(names, *arg) }.ok_or(Fault::NoMemory)?;
        }
        Ok(())
    })
}

/// `phantom_token_client_certificate $variable`
pub(super) unsafe extern "C" fn set_client_certificate(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if !conf.client_certificate.is_null() {
            return Err(Fault::Duplicate);
        }
        let value = text(args.first());
        if variable_name(value).is_none() {
            return Err(Fault::ClientCertificate(shown(value)));
        }
        let compiled = compile(cf, value)?;
        conf.client_certificate = pool.place(compiled).ok_or(Fault::NoMemory)?.as_ptr();
        conf.needs_binding = Some(("phantom_token_client_certificate", Position::of(cf)));
        Ok(())
    })
}

/// `phantom_token_dpop_base url`
pub(super) unsafe extern "C" fn set_dpop_base(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, _pool, args, conf| {
        if conf.dpop_base.is_some() {
            return Err(Fault::Duplicate);
        }
        let url = text(args.first());
        let base = Base::parse(url).map_err(|fault| Fault::DpopBase(shown_url(url), fault))?;
        conf.dpop_base = Some(base);
        conf.needs_binding = Some(("phantom_token_dpop_base", Position::of(cf)));
        Ok(())
    })
}

/// `phantom_token_dpop_nonce off | time [file=path]`
pub(super) unsafe extern "C" fn set_dpop_nonce(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if !conf.dpop_nonce.is_null() {
            return Err(Fault::Duplicate);
        }
        let (time, file) = (text(args.first()), args.get(1).map(|arg| text(Some(arg))));
        let lifetime = match (time, file) {
            (b"off", None) => 0,
            (b"off", Some(_)) => return Err(Fault::NonceOff),
            _ => {
                let mut value = string_over(time);
                // SAFETY: ngx_parse_time reads `len` bytes.
                let time = unsafe { ngx_parse_time(&raw mut value, 0) } as i64;
                if !(MIN_NONCE_LIFETIME..=MAX_NONCE_LIFETIME).contains(&time) {
                    return Err(Fault::NonceTime(shown(text(args.first()))));
                }
                time
            }
        };
        let shared = match file {
            None => None,
            Some(file) => {
                let path =
                    file.strip_prefix(b"file=").ok_or_else(|| Fault::NonceFile(shown(file)))?;
                let (path, read) = read_file(cf, pool, path, MAX_NONCE_SECRET)?;
                let secret = read.map_err(|error| Fault::SecretFile(shown(path), error))?;
                if secret.len() < MIN_NONCE_SECRET {
                    return Err(Fault::NonceSecret(shown(path)));
                }
                Some(Nonces::new(&secret))
            }
        };
        let nonce = pool.place(DpopNonce { lifetime, shared }).ok_or(Fault::NoMemory)?;
        conf.dpop_nonce = nonce.as_ptr();
        if lifetime != 0 {
            conf.needs_binding = Some(("phantom_token_dpop_nonce", Position::of(cf)));
        }
        Ok(())
    })
}

/// RFC 6749 section 3.3.
fn is_scope_character(byte: &u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

/// `phantom_token_require $value … [error=401 | 403]`
pub(super) unsafe extern "C" fn set_requirement(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        let (args, reason) = match args {
            [args @ .., last] if text(Some(last)).starts_with(b"error=") => {
                match text(Some(last)) {
                    b"error=401" => (args, Reason::Requirement),
                    b"error=403" => (args, Reason::RequirementForbids),
                    other => return Err(Fault::RequirementError(shown(other))),
                }
            }
            _ => (args, Reason::Requirement),
        };
        if args.is_empty() {
            return Err(Fault::NoRequirement);
        }
        let mut values: *mut ngx_array_t = core::ptr::null_mut();
        let values = array::<ngx_http_complex_value_t>(pool, &mut values)?;
        for arg in args {
            let arg = text(Some(arg));
            if arg.is_empty() {
                return Err(Fault::Empty);
            }
            if arg.starts_with(b"error=") {
                return Err(Fault::RequirementError(shown(arg)));
            }
            let value = compile(cf, arg)?;
            if value.lengths.is_null() {
                return Err(Fault::NoVariable(shown(arg)));
            }
            // SAFETY: the array was made for compiled values.
            unsafe { push(values, value) }.ok_or(Fault::NoMemory)?;
        }
        let requirements = array::<Requirement>(pool, &mut conf.requirements)?;
        // SAFETY: the array was made for requirements.
        unsafe { push(requirements, Requirement::new(values, reason)) }.ok_or(Fault::NoMemory)
    })
}
