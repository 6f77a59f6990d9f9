//! How each directive's arguments become configuration.

use core::ffi::{c_char, c_void};
use core::mem::offset_of;

use nginx_sys::{
    ngx_array_create, ngx_array_t, ngx_command_t, ngx_conf_full_name, ngx_conf_set_num_slot,
    ngx_conf_set_str_slot, ngx_conf_t, ngx_http_compile_complex_value,
    ngx_http_compile_complex_value_t, ngx_http_complex_value_t, ngx_http_get_variable_index,
    ngx_http_set_complex_value_slot, ngx_msec_t, ngx_parse_time, ngx_str_t, ngx_uint_t,
};
use phantom_token_core::{answer, form};
use thiserror::Error;

use crate::cache_zone;
use crate::code::{OK, conf_error, conf_ok};
use crate::conf::choice::forward;
use crate::conf::{
    Carrier, Exchange, LocationConf, MainConf, Parameter, Position, TokenSource, UNSET,
    UNSET_NUMBER, main_conf,
};
use crate::guard::guard;
use crate::headers;
use crate::log::{Shown, log_conf};
use crate::pool::{Pool, bytes_of, push, string_over};

/// What is wrong with a directive's arguments.
#[derive(Debug, Error)]
enum Fault {
    #[error("is duplicate")]
    Duplicate,
    #[error("has an invalid value \"{0}\": it is \"on\" or \"off\", and \"token=$variable\"")]
    Switch(String),
    #[error("has an invalid value \"{0}\": it is a time, such as \"30s\", or \"off\"")]
    Time(String),
    #[error("has an invalid value \"{0}\": it is \"jwt\" or \"claims\"")]
    Forward(String),
    #[error("has an invalid \"token=\": it names one variable, as in \"token=$cookie_session\"")]
    TokenSource,
    #[error("has too many names: at most {max} are searched for", max = answer::MAX_MEMBERS)]
    TooManyMembers,
    #[error("has an empty argument")]
    Empty,
    #[error(
        "has an invalid value \"{0}\": a header value consists of printable characters and spaces"
    )]
    HeaderValue(String),
    #[error("has an invalid header name \"{0}\"")]
    HeaderName(String),
    #[error(
        "cannot use the header \"{0}\", which NGINX itself reads or writes: take one of your own, \
         such as \"X-Access-Token\""
    )]
    ReservedHeader(String),
    #[error(
        "needs the URI of an internal location, such as \"/introspect\", whose \"proxy_pass\" names \
         the server; it cannot be \"{0}\""
    )]
    Endpoint(String),
    #[error("cannot set the form field \"{0}\", which is the module's own to set")]
    ReservedParameter(String),
    #[error(
        "cannot be beside \"{0}\" on the same level: a token is either introspected or exchanged"
    )]
    OtherQuestion(&'static str),
    #[error(
        "has an invalid parameter \"{0}\": it is \"audience=\", \"resource=\" or \"scope=\", each once"
    )]
    ExchangeParameter(String),
    #[error(
        "cannot read the secret from \"{0}\" ({1}): the file must be there, of at most 4096 bytes \
         and readable by the user that starts nginx"
    )]
    SecretFile(String, std::io::Error),
    #[error("found no secret in \"{0}\": the file is empty")]
    EmptySecretFile(String),
    #[error("found no memory")]
    NoMemory,
    /// NGINX has logged what is wrong.
    #[error("is invalid")]
    Logged,
}

/// Runs a setter's body with what NGINX hands over: arguments without the directive's name, the pool
/// of the configuration, and this module's part of the level. Logs what it returns.
fn set(
    cf: *mut ngx_conf_t,
    conf: *mut c_void,
    body: impl FnOnce(&mut ngx_conf_t, Pool<'_>, &[ngx_str_t], &mut LocationConf) -> Result<(), Fault>,
) -> *mut c_char {
    guard(conf_error(), || {
        // SAFETY: NGINX calls a setter with a live configuration, and ours with that of a location.
        // The arguments are an array of strings, which nobody changes while the setter runs.
        let (cf, args, conf) = unsafe {
            let args: *const ngx_array_t = (*cf).args;
            (&mut *cf, (*args).as_slice::<ngx_str_t>(), &mut *conf.cast::<LocationConf>())
        };
        // SAFETY: the pool of the configuration is the cycle's.
        let pool = unsafe { Pool::from_ptr(cf.pool) };
        let [name, args @ ..] = args else { return conf_error() };
        match body(cf, pool, args, conf) {
            Ok(()) => conf_ok(),
            Err(Fault::Logged) => conf_error(),
            Err(fault) => {
                // SAFETY: the name of a directive being read is live.
                log_conf!(cf, "\"{}\" {fault}", Shown(unsafe { bytes_of(name) }));
                conf_error()
            }
        }
    })
}

/// The bytes of an argument.
fn text<'a>(arg: Option<&ngx_str_t>) -> &'a [u8] {
    // SAFETY: the arguments of directives live in the cycle's pool.
    arg.map_or(&[], |arg| unsafe { bytes_of(arg) })
}

/// A string for a message.
fn shown(bytes: &[u8]) -> String {
    Shown(bytes).to_string()
}

/// `phantom_token on | off [token=$variable]`
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
            conf.token_source = token_source(cf, pool, value)?;
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
) -> Result<*const TokenSource, Fault> {
    let name = value.strip_prefix(b"$").ok_or(Fault::TokenSource)?;
    let name = match name {
        [b'{', name @ .., b'}'] => name,
        name => name,
    };
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Err(Fault::TokenSource);
    }
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
    let compiled = compile(cf, value)?;
    let value = pool.place(compiled).ok_or(Fault::NoMemory)?.as_ptr();
    let mut name = pool.string(name).ok_or(Fault::NoMemory)?;
    // SAFETY: the name is the cycle's, as NGINX expects.
    let index = unsafe { ngx_http_get_variable_index(cf, &raw mut name) };
    let index = usize::try_from(index).map_err(|_| Fault::Logged)?;
    let source = pool.place(TokenSource { value, name, index, carrier }).ok_or(Fault::NoMemory)?;
    Ok(source.as_ptr())
}

/// NGINX compiles a value that may contain variables.
fn compile(cf: &mut ngx_conf_t, value: &[u8]) -> Result<ngx_http_complex_value_t, Fault> {
    // SAFETY: all zeroes is how NGINX's own modules make both structures.
    let (mut compiled, mut job): (ngx_http_complex_value_t, ngx_http_compile_complex_value_t) =
        unsafe { (core::mem::zeroed(), core::mem::zeroed()) };
    let mut value = string_over(value);
    job.cf = cf;
    job.value = &raw mut value;
    job.complex_value = &raw mut compiled;
    // SAFETY: all that the job points to outlives the call; the bytes of the value are the cycle's.
    if unsafe { ngx_http_compile_complex_value(&raw mut job) } != OK {
        return Err(Fault::Logged);
    }
    Ok(compiled)
}

/// The array behind `place`, made at the first use on this level.
fn array<T>(pool: Pool<'_>, place: &mut *mut ngx_array_t) -> Result<*mut ngx_array_t, Fault> {
    if place.is_null() {
        // SAFETY: the pool is live.
        *place = unsafe { ngx_array_create(pool.as_ptr(), 4, size_of::<T>()) };
    }
    if place.is_null() { Err(Fault::NoMemory) } else { Ok(*place) }
}

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

/// `phantom_token_cache_zone name:size`
pub(super) unsafe extern "C" fn set_cache_zone(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    guard(conf_error(), || {
        // SAFETY: NGINX calls a setter with a live configuration, and this one with the http level's.
        // The arguments are an array of strings.
        let (cf, main, args) = unsafe {
            let args: *const ngx_array_t = (*cf).args;
            (&mut *cf, &*conf.cast::<MainConf>(), (*args).as_slice::<ngx_str_t>())
        };
        match cache_zone::parse(text(args.get(1)))
            .and_then(|(name, size)| main.declare_zone(cf, name, size))
        {
            Ok(()) => conf_ok(),
            Err(error) => {
                log_conf!(cf, "{error}");
                conf_error()
            }
        }
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
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;

    const MAX: u64 = 4096;
    if path.is_empty() {
        return Err(Fault::Empty);
    }
    let mut path = pool.string(path).ok_or(Fault::NoMemory)?;
    // SAFETY: the name is in the cycle's pool with a NUL behind it, as NGINX's function expects.
    let path = unsafe {
        if ngx_conf_full_name(cf.cycle, &raw mut path, 1) != OK {
            return Err(Fault::NoMemory);
        }
        bytes_of(&path)
    };
    let fault = |error| Fault::SecretFile(shown(path), error);
    let file = std::fs::File::open(std::ffi::OsStr::from_bytes(path)).map_err(fault)?;
    let mut secret = Vec::new();
    file.take(MAX + 1).read_to_end(&mut secret).map_err(fault)?;
    if secret.len() as u64 > MAX {
        return Err(fault(std::io::ErrorKind::FileTooLarge.into()));
    }
    if secret.ends_with(b"\n") {
        secret.pop();
        if secret.ends_with(b"\r") {
            secret.pop();
        }
    }
    if secret.is_empty() {
        return Err(Fault::EmptySecretFile(shown(path)));
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

/// `phantom_token_header name` and `phantom_token_envelope_header name`
pub(super) unsafe extern "C" fn set_header(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    let checked = set(cf, conf, |_cf, _pool, args, _conf| {
        let name = text(args.first());
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        if name.is_empty() || !name.iter().all(is_name) {
            return Err(Fault::HeaderName(shown(name)));
        }
        // SAFETY: NGINX hands over the directive that it found.
        let is_envelope = unsafe { (*command).offset } == offset_of!(LocationConf, envelope_header);
        if is_reserved(name) || (is_envelope && headers::same_name(name, b"authorization")) {
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

/// `phantom_token_cache_refresh` and `phantom_token_cache_use_stale`: `time | off`
pub(super) unsafe extern "C" fn set_time_or_off(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, _pool, args, conf| {
        // SAFETY: NGINX hands over the directive that it found.
        let is_refresh = unsafe { (*command).offset } == offset_of!(LocationConf, refresh);
        let place = if is_refresh { &mut conf.refresh } else { &mut conf.use_stale };
        if *place != ngx_msec_t::MAX {
            return Err(Fault::Duplicate);
        }
        let value = text(args.first());
        *place = if value == b"off" {
            0
        } else {
            let mut value = string_over(value);
            // SAFETY: ngx_parse_time reads `len` bytes.
            let time = unsafe { ngx_parse_time(&raw mut value, 0) };
            ngx_msec_t::try_from(time).map_err(|_| Fault::Time(shown(text(args.first()))))?
        };
        if is_refresh {
            conf.refresh_at = Position::of(cf);
        }
        Ok(())
    })
}

/// `phantom_token_max_introspections n`
pub(super) unsafe extern "C" fn set_limit(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    let noted = set(cf, conf, |cf, _pool, _args, conf| {
        if conf.max_introspections == UNSET_NUMBER {
            conf.limited_at = Position::of(cf);
        }
        Ok(())
    });
    if !noted.is_null() {
        return noted;
    }
    // SAFETY: NGINX's own setter, called as NGINX would.
    unsafe { ngx_conf_set_num_slot(cf, command, conf) }
}

/// `phantom_token_cache name | off`
pub(super) unsafe extern "C" fn set_cache(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, _pool, args, conf| {
        if conf.cache != UNSET {
            return Err(Fault::Duplicate);
        }
        let name = text(args.first());
        if name.is_empty() {
            return Err(Fault::Empty);
        }
        conf.cache = ngx_uint_t::from(name != b"off");
        conf.cache_zone_name = string_over(name);
        conf.cached_at = Position::of(cf);
        Ok(())
    })
}
