//! A directive's arguments as the setters read them, and what can be wrong with them.

use core::ffi::{c_char, c_void};

use nginx_sys::{
    ngx_array_create, ngx_array_t, ngx_conf_full_name, ngx_conf_t, ngx_http_compile_complex_value,
    ngx_http_compile_complex_value_t, ngx_http_complex_value_t, ngx_str_t,
};
use phantom_token_core::dpop::{BaseFault, MIN_NONCE_SECRET};
use phantom_token_core::jose::{self, KeySetError};
use phantom_token_core::metadata::UrlFault;
use phantom_token_core::{answer, facts};
use thiserror::Error;

use crate::code::{OK, conf_error, conf_ok};
use crate::conf::LocationConf;
use crate::guard::guard;
use crate::log::{Shown, log_conf};
use crate::pool::{Pool, bytes_of, string_over};

/// What is wrong with a directive's arguments.
#[derive(Debug, Error)]
pub(super) enum Fault {
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
    #[error(
        "has an invalid parameter \"{0}\": behind \"token=$variable\" it is \"from=cookie:NAME\" or \"from=header:NAME\", \
         for a variable that is not $http_NAME or $cookie_NAME itself"
    )]
    TokenFrom(String),
    #[error(
        "has an invalid value \"{0}\": it names one variable, as in \"phantom_token_client_certificate \
         $http_x_client_cert\""
    )]
    ClientCertificate(String),
    #[error("has too many names: at most {max} are searched for", max = answer::MAX_MEMBERS)]
    TooManyMembers,
    #[error("has an empty argument")]
    Empty,
    #[error(
        "has an invalid scope \"{0}\": a scope consists of printable ASCII characters without space, '\"' and \
         '\\'; several are several arguments"
    )]
    Scope(String),
    #[error("has too many scopes: at most {max} of a token are kept", max = facts::MAX_NAMES)]
    TooManyScopes,
    #[error("has a value \"{0}\" without a variable, which never changes")]
    NoVariable(String),
    #[error(
        "has an invalid parameter \"{0}\": behind the values it is \"error=401\" or \"error=403\", once"
    )]
    RequirementError(String),
    #[error("has no value: name at least one variable")]
    NoRequirement,
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
    #[error("has an invalid URL \"{0}\": {1}")]
    Url(String, UrlFault),
    #[error("has an invalid value \"{0}\": {1}")]
    DpopBase(String, BaseFault),
    #[error("has an invalid value \"{0}\": it is \"off\", or a time from 1s to 1d")]
    NonceTime(String),
    #[error("has \"off\" beside a secret: give a time, from 1s to 1d")]
    NonceOff,
    #[error("has an invalid parameter \"{0}\": it is \"file=path\", the path of a secret")]
    NonceFile(String),
    #[error("needs a secret of at least {min} bytes in \"{0}\", such as \"openssl rand 48\" makes", min = MIN_NONCE_SECRET)]
    NonceSecret(String),
    #[error("cannot be beside another directive that answers requests, such as \"proxy_pass\"")]
    OtherHandler,
    #[error(
        "has an invalid value \"{0}\": it is \"file=path\", the path of a JWK set (RFC 7517), or the URI of an \
         internal location, such as \"/jwks\", whose \"proxy_pass\" leads to one, without variables"
    )]
    KeySource(String),
    #[error(
        "cannot read the keys from \"{0}\" ({1}): the file must be there, of at most {max} bytes and \
         readable by the user that starts nginx",
        max = jose::MAX_SET
    )]
    KeyFile(String, std::io::Error),
    #[error("cannot use the keys in \"{0}\": {1}")]
    Keys(String, KeySetError),
    #[error("has an invalid value \"{0}\": a clock is off by 10m at most")]
    Leeway(String),
    #[error("has an invalid value \"{0}\": it is \"off\" or \"verify\"")]
    AcceptJwt(String),
    #[error("found no memory")]
    NoMemory,
    /// NGINX has logged what is wrong.
    #[error("is invalid")]
    Logged,
}

/// Runs a setter's body with what NGINX hands over: arguments without the directive's name, the pool
/// of the configuration, and this module's part of the level. Logs what it returns.
pub(super) fn set(
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
pub(super) fn text<'a>(arg: Option<&ngx_str_t>) -> &'a [u8] {
    // SAFETY: the arguments of directives live in the cycle's pool.
    arg.map_or(&[], |arg| unsafe { bytes_of(arg) })
}

/// A string for a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    Shown(bytes).to_string()
}

/// A URL for a message, without a password in it.
pub(super) fn shown_url(url: &[u8]) -> String {
    match url.iter().rposition(|&byte| byte == b'@') {
        Some(at) => format!("...{}", shown(url.get(at..).unwrap_or_default())),
        None => shown(url),
    }
}

/// The name of the variable that a value consists of; `None`: it is anything else.
pub(super) fn variable_name(value: &[u8]) -> Option<&[u8]> {
    let name = match value.strip_prefix(b"$")? {
        [b'{', name @ .., b'}'] => name,
        name => name,
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (!name.is_empty() && name.iter().all(is_name)).then_some(name)
}

/// Reads a file, relative to the prefix of the configuration, of at most so many bytes. Its full name, too.
pub(super) fn read_file<'a>(
    cf: &mut ngx_conf_t,
    pool: Pool<'_>,
    path: &[u8],
    max: u64,
) -> Result<(&'a [u8], std::io::Result<Vec<u8>>), Fault> {
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;

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
    let read = || {
        let file = std::fs::File::open(std::ffi::OsStr::from_bytes(path))?;
        let mut text = Vec::new();
        file.take(max + 1).read_to_end(&mut text)?;
        if text.len() as u64 > max {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(text)
    };
    Ok((path, read()))
}

/// NGINX compiles a value that may contain variables.
pub(super) fn compile(
    cf: &mut ngx_conf_t,
    value: &[u8],
) -> Result<ngx_http_complex_value_t, Fault> {
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
pub(super) fn array<T>(
    pool: Pool<'_>,
    place: &mut *mut ngx_array_t,
) -> Result<*mut ngx_array_t, Fault> {
    if place.is_null() {
        // SAFETY: the pool is live.
        *place = unsafe { ngx_array_create(pool.as_ptr(), 4, size_of::<T>()) };
    }
    if place.is_null() { Err(Fault::NoMemory) } else { Ok(*place) }
}
