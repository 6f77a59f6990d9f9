//! Setters of the directives of the cache and its zone.

use core::ffi::{c_char, c_void};
use core::mem::offset_of;

use nginx_sys::{
    ngx_array_t, ngx_command_t, ngx_conf_set_num_slot, ngx_conf_set_size_slot, ngx_conf_t,
    ngx_msec_t, ngx_parse_size, ngx_parse_time, ngx_str_t, ngx_uint_t,
};

use super::argument::{Fault, set, shown, text};
use crate::cache_zone;
use crate::code::{conf_error, conf_ok};
use crate::conf::{LocationConf, MainConf, Position, UNSET, UNSET_NUMBER};
use crate::guard::guard;
use crate::log::{Shown, log_conf};
use crate::pool::string_over;
use crate::proof_zone;

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

/// `phantom_token_dpop_zone size`
pub(super) unsafe extern "C" fn set_dpop_zone(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    let readable = guard(conf_error(), || {
        // SAFETY: NGINX calls a setter with a live configuration, whose arguments are an array of strings.
        let (cf, args) = unsafe {
            let args: *const ngx_array_t = (*cf).args;
            (&mut *cf, (*args).as_slice::<ngx_str_t>())
        };
        let mut value = string_over(text(args.get(1)));
        // SAFETY: ngx_parse_size reads `len` bytes.
        if unsafe { ngx_parse_size(&raw mut value) } >= 0 {
            return conf_ok();
        }
        log_conf!(
            cf,
            "\"phantom_token_dpop_zone\" directive invalid value \"{}\": it is a size in bytes, or with \"k\" or \"m\" \
             behind it in KiB or MiB: there is no \"g\"",
            Shown(text(args.get(1)))
        );
        conf_error()
    });
    if !readable.is_null() {
        return readable;
    }
    // SAFETY: NGINX's own setter, called as NGINX would.
    let noted = unsafe { ngx_conf_set_size_slot(cf, command, conf) };
    if !noted.is_null() {
        return noted;
    }
    guard(conf_error(), || {
        // SAFETY: NGINX calls a setter with a live configuration, and this one with the http level's.
        let (cf, main) = unsafe { (&mut *cf, &*conf.cast::<MainConf>()) };
        match proof_zone::check_size(main.proof_zone_size) {
            Ok(()) => conf_ok(),
            Err(error) => {
                log_conf!(cf, "{error}");
                conf_error()
            }
        }
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
