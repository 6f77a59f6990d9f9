//! NGINX's inheritance: what a level does not say, the outer one does, and else the default.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{ngx_conf_t, ngx_http_handler_pt, ngx_msec_t, ngx_str_t};

use super::choice::{accept_jwt, binding, control, envelope, forward, preflight};
use super::fault::Fault;
use super::http::MainConf;
use super::location::{LocationConf, UNSET, UNSET_NUMBER, core_location};
use super::resource::ResourceConf;
use crate::cache_zone;
use crate::code::{conf_error, conf_ok};
use crate::guard::guard;
use crate::log::log;
use crate::nginx::bits;
use crate::pool::string_over;

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
        let says_switch = child.enable != UNSET;
        child.inherit(parent);
        let resource = child.resource.inherit(cf, &parent.resource, says_switch);
        match resource.and_then(|()| child.conclude(cf)) {
            Ok(()) => conf_ok(),
            Err(fault) => {
                fault.log(cf);
                conf_error()
            }
        }
    })
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
                *own = if outer.data.is_null() { string_over(default) } else { outer };
            }
        }
        fn pointer<T>(own: &mut *mut T, outer: *mut T) {
            if own.is_null() {
                *own = outer;
            }
        }

        // The outermost level is no child of any.
        let outer_says =
            outer.says_refresh || (!outer.has_inherited && outer.refresh != ngx_msec_t::MAX);
        self.says_refresh =
            self.refresh != ngx_msec_t::MAX || (self.max_ttl == ngx_msec_t::MAX && outer_says);
        self.has_inherited = true;
        if self.enable == UNSET {
            self.token_source = outer.token_source;
            self.enabled_at = outer.enabled_at;
        }
        number(&mut self.enable, outer.enable, UNSET, 0);
        if self.endpoint.is_null() && self.exchange.is_null() {
            // Each takes the other's place.
            (self.endpoint, self.exchange) = (outer.endpoint, outer.exchange);
        }
        pointer(&mut self.parameters, outer.parameters);
        string(&mut self.credential, outer.credential, b"");
        string(&mut self.client_id, outer.client_id, b"");
        if self.accept.data.is_null() {
            // Its default depends on what is asked for.
            self.accept = outer.accept;
        }
        pointer(&mut self.members, outer.members);
        if self.forward == UNSET {
            self.forward_at = outer.forward_at;
        }
        number(&mut self.forward, outer.forward, UNSET, forward::JWT);
        number(&mut self.envelope, outer.envelope, UNSET, envelope::VERIFIED);
        if self.keys.is_null() {
            self.keys = outer.keys;
        }
        string(&mut self.issuer, outer.issuer, b"");
        pointer(&mut self.audiences, outer.audiences);
        number(&mut self.leeway, outer.leeway, ngx_msec_t::MAX, 30 * 1000);
        self.leeway_at = self.leeway_at.or(outer.leeway_at);
        self.needs_keys = self.needs_keys.or(outer.needs_keys);
        if self.accept_jwt == UNSET {
            self.accept_jwt_at = outer.accept_jwt_at;
        }
        number(&mut self.accept_jwt, outer.accept_jwt, UNSET, accept_jwt::OFF);
        string(&mut self.header, outer.header, b"Authorization");
        string(&mut self.envelope_header, outer.envelope_header, b"");
        pointer(&mut self.set_headers, outer.set_headers);
        number(&mut self.preflight, outer.preflight, UNSET, preflight::ANSWER);
        string(&mut self.realm, outer.realm, b"api");
        string(&mut self.scopes, outer.scopes, b"");
        if self.binding == UNSET {
            // Who turns it off further out need not touch what depends on it.
            self.needs_binding = None;
        }
        number(&mut self.binding, outer.binding, UNSET, binding::OPTIONAL);
        pointer(&mut self.client_certificate, outer.client_certificate);
        self.dpop_base = self.dpop_base.or(outer.dpop_base);
        self.dpop_nonce =
            if self.dpop_nonce.is_null() { outer.dpop_nonce } else { self.dpop_nonce };
        pointer(&mut self.required_scopes, outer.required_scopes);
        pointer(&mut self.required_audiences, outer.required_audiences);
        pointer(&mut self.requirements, outer.requirements);
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
        if self.refresh == ngx_msec_t::MAX {
            self.refresh_at = outer.refresh_at;
        }
        number(&mut self.refresh, outer.refresh, ngx_msec_t::MAX, 0);
        number(&mut self.use_stale, outer.use_stale, ngx_msec_t::MAX, 0);
        if self.max_introspections == UNSET_NUMBER {
            self.limited_at = outer.limited_at;
        }
        number(&mut self.max_introspections, outer.max_introspections, UNSET_NUMBER, 64);
        number(&mut self.lock_timeout, outer.lock_timeout, ngx_msec_t::MAX, 5 * 1000);
    }
}

impl ResourceConf {
    /// NGINX's inheritance. `says_switch`: `phantom_token` is said on this level.
    fn inherit(&mut self, cf: &ngx_conf_t, outer: &Self, says_switch: bool) -> Result<(), Fault> {
        if self.identifier.data.is_null() {
            self.identifier = outer.identifier;
            self.identified_at = outer.identified_at;
        }
        if self.authorization_servers.is_null() {
            self.authorization_servers = outer.authorization_servers;
        }
        self.is_open = self.handler.is_some() && !says_switch;
        let core = core_location(cf);
        // SAFETY: the configuration is live, and nobody else has a reference to it.
        unsafe {
            if self.handler.is_some() && !is_same((*core).handler, self.handler) {
                // What needs a token otherwise would be open.
                let text = "\"phantom_token_resource_metadata\" cannot be beside another directive \
                            that answers requests, such as \"proxy_pass\": give it a location of its \
                            own";
                return Err(Fault { text: text.into(), at: self.handler_at });
            }
            // Within `if` and `limit_except` the location answers as around them.
            if bits::core_location::NONAME.is_set(core)
                && (*core).handler.is_none()
                && outer.handler.is_some()
            {
                (*core).handler = outer.handler;
                self.handler = outer.handler;
                self.handler_at = outer.handler_at;
                self.is_open = outer.is_open && !says_switch;
            }
        }
        Ok(())
    }
}

/// Whether both are one function.
fn is_same(one: ngx_http_handler_pt, other: ngx_http_handler_pt) -> bool {
    one.zip(other).is_some_and(|(one, other)| ptr::fn_addr_eq(one, other))
}
