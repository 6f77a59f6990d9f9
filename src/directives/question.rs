//! Setters of the directives that say what the authorization server is asked, and how its answer is read.

use core::ffi::{c_char, c_void};

use nginx_sys::{
    ngx_command_t, ngx_conf_set_str_slot, ngx_conf_t, ngx_http_set_complex_value_slot,
};
use phantom_token_core::{answer, form};

use super::argument::{Fault, array, compile, read_file, set, shown, text};
use crate::conf::choice::forward;
use crate::conf::{Exchange, Parameter, Position, UNSET};
use crate::log::{Shown, warn_conf};
use crate::pool::{Pool, push, string_over};

/// `phantom_token_introspection_endpoint uri`
pub(super) unsafe extern "C" fn set_endpoint(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    let checked = set(cf, conf, |_cf, _pool, args, conf| {
        if !conf.exchange.is_null() {
            return Err(Fault::OtherQuestion("phantom_token_exchange"));
        }
        check_uri(text(args.first()))
    });
    if !checked.is_null() {
        return checked;
    }
    // SAFETY: NGINX's own setter, called as NGINX would.
    unsafe { ngx_http_set_complex_value_slot(cf, command, conf) }
}

/// A subrequest is made to a URI: not to another server, and not to a named location.
fn check_uri(uri: &[u8]) -> Result<(), Fault> {
    let is_url = uri.windows(3).any(|three| three == b"://");
    if uri.is_empty() || uri.starts_with(b"@") || uri.starts_with(b"?") || is_url {
        return Err(Fault::Endpoint(shown(uri)));
    }
    Ok(())
}

/// `phantom_token_exchange uri [audience=…] [resource=…] [scope=…]`
pub(super) unsafe extern "C" fn set_exchange(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if !conf.exchange.is_null() {
            return Err(Fault::Duplicate);
        }
        if !conf.endpoint.is_null() {
            return Err(Fault::OtherQuestion("phantom_token_introspection_endpoint"));
        }
        let [uri, parameters @ ..] = args else { return Err(Fault::Empty) };
        check_uri(text(Some(uri)))?;
        if text(Some(uri)).contains(&b'=') && !text(Some(uri)).contains(&b'?') {
            // A parameter where the URI should be.
            return Err(Fault::Endpoint(shown(text(Some(uri)))));
        }
        let mut exchange = Exchange {
            uri: compile(cf, text(Some(uri)))?,
            audience: None,
            resource: None,
            scope: None,
        };
        for arg in parameters {
            let arg = text(Some(arg));
            let fault = || Fault::ExchangeParameter(shown(arg));
            let equals = arg.iter().position(|&byte| byte == b'=').ok_or_else(fault)?;
            let (name, value) = arg.split_at(equals);
            let place = match name {
                b"audience" => &mut exchange.audience,
                b"resource" => &mut exchange.resource,
                b"scope" => &mut exchange.scope,
                _ => return Err(fault()),
            };
            let value = value.get(1..).unwrap_or_default();
            if place.is_some() || value.is_empty() {
                return Err(fault());
            }
            *place = Some(compile(cf, value)?);
        }
        conf.exchange = pool.place(exchange).ok_or(Fault::NoMemory)?.as_ptr();
        Ok(())
    })
}

/// `phantom_token_forward jwt | claims`
pub(super) unsafe extern "C" fn set_forward(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, _pool, args, conf| {
        if conf.forward != UNSET {
            return Err(Fault::Duplicate);
        }
        conf.forward = match text(args.first()) {
            b"jwt" => forward::JWT,
            b"claims" => forward::CLAIMS,
            other => return Err(Fault::Forward(shown(other))),
        };
        conf.forward_at = Position::of(cf);
        Ok(())
    })
}

/// `phantom_token_introspection_parameter name value`
pub(super) unsafe extern "C" fn set_parameter(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        let name = text(args.first());
        match name {
            b"" => return Err(Fault::Empty),
            b"token" | b"grant_type" | b"subject_token" => {
                return Err(Fault::ReservedParameter(shown(name)));
            }
            _ => {}
        }
        let value = compile(cf, text(args.get(1)))?;
        let name = pool.string(name).ok_or(Fault::NoMemory)?;
        let parameters = array::<Parameter>(pool, &mut conf.parameters)?;
        // SAFETY: the array was made for parameters.
        unsafe { push(parameters, Parameter { name, value }) }.ok_or(Fault::NoMemory)
    })
}

/// `phantom_token_client_credential id secret` or `id file=path`
pub(super) unsafe extern "C" fn set_credential(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if !conf.credential.data.is_null() {
            return Err(Fault::Duplicate);
        }
        let (id, secret) = (text(args.first()), text(args.get(1)));
        if id.is_empty() {
            return Err(Fault::Empty);
        }
        let value = match secret.strip_prefix(b"file=") {
            Some(path) => form::basic_credentials(id, &read_secret(cf, pool, path)?),
            None => form::basic_credentials(id, secret),
        };
        conf.credential = pool.string(&value).ok_or(Fault::NoMemory)?;
        conf.client_id = string_over(id);
        Ok(())
    })
}

/// Reads a secret, relative to the prefix of the configuration, without its trailing newline.
fn read_secret(cf: &mut ngx_conf_t, pool: Pool<'_>, path: &[u8]) -> Result<Vec<u8>, Fault> {
    const MAX: u64 = 4096;
    let (path, read) = read_file(cf, pool, path, MAX)?;
    let mut secret = read.map_err(|error| Fault::SecretFile(shown(path), error))?;
    let mut is_crlf = false;
    if secret.ends_with(b"\n") {
        secret.pop();
        is_crlf = secret.ends_with(b"\r");
        if is_crlf {
            secret.pop();
        }
    }
    if secret.is_empty() {
        return Err(Fault::EmptySecretFile(shown(path)));
    }
    let has_ends =
        |is: fn(&u8) -> bool| [secret.first(), secret.last()].into_iter().flatten().any(is);
    if has_ends(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        warn_conf!(
            cf,
            "the secret in \"{}\" begins or ends with a blank or a line break, which is sent as part of it: only one \
             newline at its end is cut",
            Shown(path)
        );
    } else if is_crlf {
        warn_conf!(
            cf,
            "the secret in \"{}\" ends with CR LF, both of which are cut: if the CR is part of the secret, write it with \
             a newline behind it",
            Shown(path)
        );
    }
    Ok(secret)
}

/// `phantom_token_accept type`
pub(super) unsafe extern "C" fn set_accept(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    let checked = set(cf, conf, |_cf, _pool, args, _conf| {
        let value = text(args.first());
        if value.is_empty() {
            return Err(Fault::Empty);
        }
        if !value.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Err(Fault::HeaderValue(shown(value)));
        }
        Ok(())
    });
    if !checked.is_null() {
        return checked;
    }
    // SAFETY: NGINX's own setter, called as NGINX would.
    unsafe { ngx_conf_set_str_slot(cf, command, conf) }
}

/// `phantom_token_jwt_member name …`
pub(super) unsafe extern "C" fn set_members(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |_cf, pool, args, conf| {
        if !conf.members.is_null() {
            return Err(Fault::Duplicate);
        }
        if args.len() > answer::MAX_MEMBERS {
            return Err(Fault::TooManyMembers);
        }
        let members = array::<&[u8]>(pool, &mut conf.members)?;
        for arg in args {
            let name = text(Some(arg));
            if name.is_empty() {
                return Err(Fault::Empty);
            }
            // SAFETY: the array was made for slices.
            unsafe { push::<&[u8]>(members, name) }.ok_or(Fault::NoMemory)?;
        }
        Ok(())
    })
}
