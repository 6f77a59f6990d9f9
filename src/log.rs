//! Lines for NGINX's error log. No caller may pass a token, a JWT or a secret.

/// Logs at `level` (one of `nginx_sys::NGX_LOG_*`) to a `*mut ngx_log_t`.
///
/// The text is formatted on the stack and only if the level is enabled; NGINX adds the connection,
/// the client, the server and the request.
macro_rules! log {
    ($level:ident, $log:expr, $($arg:tt)+) => {{
        let log: *mut ::nginx_sys::ngx_log_t = $log;
        ::ngx::ngx_log_error!(::nginx_sys::$level, log, $($arg)+);
    }};
}

/// Logs a configuration error with the file and line that NGINX is reading.
macro_rules! log_conf {
    ($cf:expr, $($arg:tt)+) => {{
        ::ngx::ngx_conf_log_error!(::nginx_sys::NGX_LOG_EMERG, $cf, $($arg)+);
    }};
}

/// Logs what is not right in a configuration that works.
macro_rules! warn_conf {
    ($cf:expr, $($arg:tt)+) => {{
        ::ngx::ngx_conf_log_error!(::nginx_sys::NGX_LOG_WARN, $cf, $($arg)+);
    }};
}

pub(crate) use {log, log_conf, warn_conf};

/// Shows bytes of a configuration or of a peer's name in a log line, printable characters only.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl core::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use core::fmt::Write;
        for &byte in self.0 {
            f.write_char(if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '?' })?;
        }
        Ok(())
    }
}
