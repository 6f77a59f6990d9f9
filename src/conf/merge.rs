//! What shows only when all levels are read: inheritance, defaults, and contradictions.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_msec_t,
    ngx_str_t,
};
use phantom_token_core::challenge::{self, ChallengeFault};
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::reason::ChallengeError;

use super::{LocationConf, MainConf, Position, UNSET, binding, control, main_conf};
use crate::cache_zone::{self, Zone};
use crate::code::{conf_error, conf_ok};
use crate::guard::guard;
use crate::headers;
use crate::log::{Shown, log};
use crate::pool::{Pool, bytes_of};

/// `init_main_conf`: the default zone, where one is needed and none was declared.
pub(crate) unsafe extern "C" fn init_main(cf: *mut ngx_conf_t, conf: *mut c_void) -> *mut c_char {
    guard(conf_error(), || {
        // SAFETY: NGINX calls with a live configuration and the result of create_main.
        let (cf, main) = unsafe { (&mut *cf, &mut *conf.cast::<MainConf>()) };
        // SAFETY: create_main made the array.
        if main.used.get() && unsafe { (*main.zones).nelts } == 0 {
            let (name, size) = (cache_zone::DEFAULT_NAME, cache_zone::DEFAULT_SIZE);
            if let Err(error) = main.declare_zone(cf, name, size) {
                log!(NGX_LOG_EMERG, cf.log, "{error}");
                return conf_error();
            }
        }
        conf_ok()
    })
}

/// `merge_loc_conf`
pub(crate) unsafe extern "C" fn merge_location(
    cf: *mut ngx_conf_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_char {
    guard(conf_error(), || {
        // SAFETY: NGINX calls with a live configuration and two results of create_location.
        let (cf, parent, child) = unsafe {
            (&mut *cf, &*parent.cast::<LocationConf>(), &mut *child.cast::<LocationConf>())
        };
        child.inherit(parent);
        match child.conclude(cf) {
            Ok(()) => conf_ok(),
            Err(MergeFault { text, at }) => {
                log!(
                    NGX_LOG_EMERG,
                    cf.log,
                    "{text} in {}:{}",
                    // SAFETY: the name of a configuration file lives in the cycle's pool.
                    Shown(unsafe { bytes_of(&at.file) }),
                    at.line
                );
                conf_error()
            }
        }
    })
}

/// What shows only when all levels are read.
struct MergeFault {
    text: String,
    at: Position,
}

impl LocationConf {
    /// NGINX's inheritance: what this level does not say, the outer one does.
    fn inherit(&mut self, outer: &Self) {
        fn number<T: PartialEq + Copy>(own: &mut T, outer: T, unset: T, default: T) {
            if *own == unset {
                *own = if outer == unset { default } else { outer };
            }
        }
        fn string(own: &mut ngx_str_t, outer: ngx_str_t, default: &'static [u8]) {
            if own.data.is_null() {
                *own = if outer.data.is_null() { crate::pool::string_over(default) } else { outer };
            }
        }
        fn pointer<T>(own: &mut *mut T, outer: *mut T) {
            if own.is_null() {
                *own = outer;
            }
        }

        if self.enable == UNSET {
            self.token_source = outer.token_source;
            self.enabled_at = outer.enabled_at;
        }
        number(&mut self.enable, outer.enable, UNSET, 0);
        pointer(&mut self.endpoint, outer.endpoint);
        pointer(&mut self.parameters, outer.parameters);
        string(&mut self.credential, outer.credential, b"");
        string(&mut self.client_id, outer.client_id, b"");
        string(&mut self.accept, outer.accept, b"application/jwt");
        pointer(&mut self.members, outer.members);
        string(&mut self.header, outer.header, b"Authorization");
        string(&mut self.realm, outer.realm, b"api");
        string(&mut self.scopes, outer.scopes, b"");
        number(&mut self.binding, outer.binding, UNSET, binding::OPTIONAL);
        number(&mut self.max_response, outer.max_response, usize::MAX, 64 * 1024);
        if self.cache == UNSET {
            self.cache_zone_name = outer.cache_zone_name;
            self.cached_at = outer.cached_at;
        }
        number(&mut self.cache, outer.cache, UNSET, 1);
        pointer(&mut self.cache_key, outer.cache_key);
        number(&mut self.max_ttl, outer.max_ttl, ngx_msec_t::MAX, 5 * 60 * 1000);
        number(&mut self.default_ttl, outer.default_ttl, ngx_msec_t::MAX, 0);
        number(&mut self.negative_ttl, outer.negative_ttl, ngx_msec_t::MAX, 10 * 1000);
        number(&mut self.cache_control, outer.cache_control, UNSET, control::LOWER);
        number(&mut self.lock_timeout, outer.lock_timeout, ngx_msec_t::MAX, 5 * 1000);
    }

    /// Everything that is made of several directives; and their contradictions.
    fn conclude(&mut self, cf: &mut ngx_conf_t) -> Result<(), MergeFault> {
        self.zone = if self.cache == 1 { self.find_zone(cf)? } else { ptr::null() };
        if !self.is_on() {
            return Ok(());
        }
        let at = self.enabled_at;
        if self.endpoint.is_null() && must_have_endpoint(cf) {
            return Err(MergeFault {
                text: "\"phantom_token on\" needs \"phantom_token_introspection_endpoint\": \
                       name the internal location that asks the authorization server"
                    .into(),
                at,
            });
        }

        if self.max_response == 0 {
            return Err(MergeFault {
                text: "\"phantom_token_max_response 0\" leaves no room for any answer".into(),
                at,
            });
        }

        let millis = |time: ngx_msec_t| i64::try_from(time).unwrap_or(i64::MAX);
        self.freshness = Freshness {
            max_ttl: millis(self.max_ttl),
            default_ttl: millis(self.default_ttl),
            negative_ttl: millis(self.negative_ttl),
            control: match self.cache_control {
                control::OBEY => Control::Obey,
                control::IGNORE => Control::Ignore,
                _ => Control::Lower,
            },
        };

        // SAFETY: the strings are the cycle's.
        let (header, realm, scopes) =
            unsafe { (bytes_of(&self.header), bytes_of(&self.realm), bytes_of(&self.scopes)) };
        self.forwards_authorization = header.eq_ignore_ascii_case(b"Authorization");

        self.fixed_realm = [self.endpoint, self.cache_key]
            .into_iter()
            .chain(
                self.parameters().iter().map(|parameter| (&raw const parameter.value).cast_mut()),
            )
            // SAFETY: compiled values, or null.
            .all(|value| unsafe { value.as_ref() }.is_none_or(|value| value.lengths.is_null()));

        // SAFETY: the configuration's pool is the cycle's.
        let pool = unsafe { Pool::from_ptr(cf.pool) };
        let lowcase = pool.string(&header.to_ascii_lowercase()).ok_or_else(|| no_memory(at))?;
        self.header_name = headers::Name::new(self.header, lowcase);
        for (place, error) in self.challenges.iter_mut().zip([
            None,
            Some(ChallengeError::InvalidRequest),
            Some(ChallengeError::InvalidToken),
        ]) {
            let text = challenge::render(realm, scopes, error)
                .map_err(|fault: ChallengeFault| MergeFault { text: fault.to_string(), at })?;
            *place = pool.string(&text).ok_or_else(|| no_memory(at))?;
        }

        self.variables = [
            variable_index(cf, pool, b"authorization").ok_or_else(|| no_memory(at))?,
            variable_index(cf, pool, b"cookie").ok_or_else(|| no_memory(at))?,
            variable_index(cf, pool, header).ok_or_else(|| no_memory(at))?,
            0,
        ];
        // SAFETY: the source, null or not, is the cycle's.
        let source = unsafe { self.token_source.as_ref() };
        self.variables[3] = source.map_or(self.variables[0], |source| source.index);
        self.secret = main_conf(cf).secret;
        Ok(())
    }

    /// The zone that `phantom_token_cache` names, or the only one.
    fn find_zone(&self, cf: &ngx_conf_t) -> Result<*const Zone, MergeFault> {
        let zones = main_conf(cf).zones();
        // SAFETY: the string is the cycle's.
        let name = unsafe { bytes_of(&self.cache_zone_name) };
        if name.is_empty() {
            return match zones {
                [zone] => Ok(*zone),
                _ if !self.is_on() => Ok(ptr::null()),
                _ => Err(MergeFault {
                    text: "several \"phantom_token_cache_zone\" are declared: name the one to use \
                           with \"phantom_token_cache\" for the \"phantom_token on\""
                        .into(),
                    at: self.enabled_at,
                }),
            };
        }
        // SAFETY: zones live in the cycle's pool.
        zones.iter().find(|zone| unsafe { (***zone).name() } == name).copied().ok_or_else(|| {
            MergeFault {
                text: format!(
                    "unknown zone \"{}\" of \"phantom_token_cache\": declare it with \
                     \"phantom_token_cache_zone\" in http",
                    Shown(name)
                ),
                at: self.cached_at,
            }
        })
    }
}

fn no_memory(at: Position) -> MergeFault {
    MergeFault { text: "no memory for the configuration of \"phantom_token\"".into(), at }
}

/// The index of `$http_<header>`, which NGINX may have to evaluate anew after the header was changed.
fn variable_index(cf: &mut ngx_conf_t, pool: Pool<'_>, header: &[u8]) -> Option<usize> {
    let mut name = b"http_".to_vec();
    name.extend(header.iter().map(|byte| match byte.to_ascii_lowercase() {
        b'-' => b'_',
        byte => byte,
    }));
    let mut name = pool.string(&name)?;
    // SAFETY: the name is the cycle's, as NGINX expects.
    usize::try_from(unsafe { nginx_sys::ngx_http_get_variable_index(cf, &raw mut name) }).ok()
}

/// Whether the level that is merged now serves clients: `internal` and named locations only inherit
/// `on`, and a server block whose locations serve all may leave the endpoint to them. A request that
/// gets through to such a level all the same is refused.
fn must_have_endpoint(cf: &ngx_conf_t) -> bool {
    // SAFETY: while NGINX merges, `ctx` is the context of the level that is merged, with the core
    // module's configuration of it.
    let core = unsafe {
        let context = cf.ctx.cast::<ngx_http_conf_ctx_t>();
        let index = ngx_http_core_module.ctx_index;
        &*(*(*context).loc_conf.add(index)).cast::<ngx_http_core_loc_conf_t>()
    };
    let is_server = core.name.len == 0 && core.noname() == 0;
    if is_server {
        return core.locations.is_null();
    }
    // `if` and `limit_except` blocks belong to a level that was looked at itself.
    core.noname() == 0 && core.named() == 0 && core.internal == 0
}
