//! Setters of the directives that say by what JWTs are verified, and whose.

use core::ffi::{c_char, c_void};

use nginx_sys::{ngx_command_t, ngx_conf_set_msec_slot, ngx_conf_t, ngx_msec_t};
use phantom_token_core::jose::{KeySet, MAX_SET};

use super::argument::{Fault, array, read_file, set, shown, text};
use crate::conf::choice::accept_jwt;
use crate::conf::{Position, UNSET};
use crate::keys::{Keys, Source};
use crate::log::{Shown, warn_conf};
use crate::pool::{push, string_over};

/// The largest `phantom_token_leeway`: clocks that are further apart are to be set.
const MAX_LEEWAY: ngx_msec_t = 10 * 60 * 1000;

/// `phantom_token_jwks uri | file=path`
pub(super) unsafe extern "C" fn set_jwks(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if !conf.keys.is_null() {
            return Err(Fault::Duplicate);
        }
        let value = text(args.first());
        let Some(path) = value.strip_prefix(b"file=") else {
            let source = source(value).ok_or_else(|| Fault::KeySource(shown(value)))?;
            conf.keys = pool.keep(Keys::Uri(source)).ok_or(Fault::NoMemory)?.as_ptr();
            return Ok(());
        };
        let (path, read) = read_file(cf, pool, path, MAX_SET as u64)?;
        let read = read.map_err(|error| Fault::KeyFile(shown(path), error))?;
        let keys = KeySet::parse(&read).map_err(|error| Fault::Keys(shown(path), error))?;
        for key in keys.ignored().iter().filter(|key| !key.fault.is_usual()) {
            warn_conf!(
                cf,
                "\"phantom_token_jwks\" does not use all keys in \"{}\": {key}",
                Shown(path)
            );
        }
        conf.keys = pool.keep(Keys::File(keys)).ok_or(Fault::NoMemory)?.as_ptr();
        Ok(())
    })
}

/// The URI of an internal location. All that need its keys share a set: variables would make it one per request.
fn source(value: &[u8]) -> Option<Source> {
    let is_url = value.windows(3).any(|three| three == b"://");
    if !value.starts_with(b"/") || value.contains(&b'$') || is_url {
        return None;
    }
    let mark = value.iter().position(|&byte| byte == b'?').unwrap_or(value.len());
    let (uri, args) = (value.get(..mark)?, value.get(mark + 1..).unwrap_or_default());
    Some(Source::new(value, string_over(uri), string_over(args)))
}

/// `phantom_token_issuer value`
pub(super) unsafe extern "C" fn set_issuer(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, _pool, args, conf| {
        if !conf.issuer.data.is_null() {
            return Err(Fault::Duplicate);
        }
        let issuer = text(args.first());
        if issuer.is_empty() {
            return Err(Fault::Empty);
        }
        conf.issuer = string_over(issuer);
        conf.needs_keys = Some(("phantom_token_issuer", Position::of(cf)));
        Ok(())
    })
}

/// `phantom_token_audience value …`
pub(super) unsafe extern "C" fn set_audience(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if !conf.audiences.is_null() {
            return Err(Fault::Duplicate);
        }
        let audiences = array::<&[u8]>(pool, &mut conf.audiences)?;
        for arg in args {
            let audience = text(Some(arg));
            if audience.is_empty() {
                return Err(Fault::Empty);
            }
            // SAFETY: the array was made for slices.
            unsafe { push::<&[u8]>(audiences, audience) }.ok_or(Fault::NoMemory)?;
        }
        conf.needs_keys = Some(("phantom_token_audience", Position::of(cf)));
        Ok(())
    })
}

/// `phantom_token_leeway time`
pub(super) unsafe extern "C" fn set_leeway(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: NGINX's own setter, called as NGINX would.
    let result = unsafe { ngx_conf_set_msec_slot(cf, command, conf) };
    if !result.is_null() {
        return result;
    }
    set(cf, conf, |cf, _pool, args, conf| {
        if conf.leeway > MAX_LEEWAY {
            return Err(Fault::Leeway(shown(text(args.first()))));
        }
        conf.leeway_at = Some(Position::of(cf));
        Ok(())
    })
}

/// `phantom_token_accept_jwt off | verify`
pub(super) unsafe extern "C" fn set_accept_jwt(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, _pool, args, conf| {
        if conf.accept_jwt != UNSET {
            return Err(Fault::Duplicate);
        }
        conf.accept_jwt = match text(args.first()) {
            b"off" => accept_jwt::OFF,
            b"verify" => accept_jwt::VERIFY,
            other => return Err(Fault::AcceptJwt(shown(other))),
        };
        conf.accept_jwt_at = Position::of(cf);
        Ok(())
    })
}
