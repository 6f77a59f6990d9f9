//! The directives: NGINX's table of them.

mod access;
mod argument;
mod cache;
mod policy;
mod question;
mod resource;
mod verification;

use core::ffi::{c_char, c_void};
use core::mem::offset_of;
use core::ptr;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE2, NGX_CONF_TAKE12,
    NGX_CONF_TAKE123, NGX_CONF_TAKE1234, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET, NGX_HTTP_SRV_CONF, ngx_command_t,
    ngx_conf_enum_t, ngx_conf_set_enum_slot, ngx_conf_set_msec_slot, ngx_conf_set_size_slot,
    ngx_conf_set_str_slot, ngx_conf_t, ngx_http_set_complex_value_slot, ngx_str_t, ngx_uint_t,
};
use ngx::ngx_string;

use crate::conf::choice::{binding, control, envelope, preflight};
use crate::conf::{LocationConf, MainConf};
use access::{set_asserted_header, set_header, set_phantom_token, set_scopes};
use cache::{set_cache, set_cache_zone, set_dpop_zone, set_limit, set_time_or_off};
use policy::{
    set_client_certificate, set_dpop_base, set_dpop_nonce, set_required_names, set_requirement,
};
use question::{
    set_accept, set_credential, set_endpoint, set_exchange, set_forward, set_members, set_parameter,
};
use resource::{set_authorization_servers, set_resource, set_resource_metadata};
use verification::{set_accept_jwt, set_audience, set_issuer, set_jwks, set_leeway};

/// http, server, location: where nothing else is said.
const EVERYWHERE: ngx_uint_t =
    (NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF) as ngx_uint_t;

type Set = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// A directive of http, server and location.
const fn directive(name: ngx_str_t, args: u32, set: Set, offset: usize) -> ngx_command_t {
    ngx_command_t {
        name,
        type_: EVERYWHERE | args as ngx_uint_t,
        set: Some(set),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset,
        post: ptr::null_mut(),
    }
}

/// A directive whose value is one of a set of words.
const fn choice(name: ngx_str_t, offset: usize, words: *mut ngx_conf_enum_t) -> ngx_command_t {
    ngx_command_t {
        post: words.cast(),
        ..directive(name, NGX_CONF_TAKE1, ngx_conf_set_enum_slot, offset)
    }
}

const fn word(name: ngx_str_t, value: ngx_uint_t) -> ngx_conf_enum_t {
    ngx_conf_enum_t { name, value }
}

const LAST_WORD: ngx_conf_enum_t = word(ngx_str_t::empty(), 0);

static mut BINDING: [ngx_conf_enum_t; 4] = [
    word(ngx_string!("off"), binding::OFF),
    word(ngx_string!("optional"), binding::OPTIONAL),
    word(ngx_string!("required"), binding::REQUIRED),
    LAST_WORD,
];

static mut ENVELOPE: [ngx_conf_enum_t; 3] = [
    word(ngx_string!("verified"), envelope::VERIFIED),
    word(ngx_string!("unverified"), envelope::UNVERIFIED),
    LAST_WORD,
];

static mut PREFLIGHT: [ngx_conf_enum_t; 4] = [
    word(ngx_string!("answer"), preflight::ANSWER),
    word(ngx_string!("pass"), preflight::PASS),
    word(ngx_string!("check"), preflight::CHECK),
    LAST_WORD,
];

static mut CACHE_CONTROL: [ngx_conf_enum_t; 4] = [
    word(ngx_string!("lower"), control::LOWER),
    word(ngx_string!("obey"), control::OBEY),
    word(ngx_string!("ignore"), control::IGNORE),
    LAST_WORD,
];

/// NGINX's table of the module's directives.
pub(crate) static mut COMMANDS: [ngx_command_t; 45] = [
    directive(ngx_string!("phantom_token"), NGX_CONF_TAKE123, set_phantom_token, 0),
    directive(
        ngx_string!("phantom_token_introspection_endpoint"),
        NGX_CONF_TAKE1,
        set_endpoint,
        offset_of!(LocationConf, endpoint),
    ),
    directive(
        ngx_string!("phantom_token_introspection_parameter"),
        NGX_CONF_TAKE2,
        set_parameter,
        0,
    ),
    directive(ngx_string!("phantom_token_client_credential"), NGX_CONF_TAKE2, set_credential, 0),
    directive(
        ngx_string!("phantom_token_accept"),
        NGX_CONF_TAKE1,
        set_accept,
        offset_of!(LocationConf, accept),
    ),
    directive(ngx_string!("phantom_token_jwt_member"), NGX_CONF_1MORE, set_members, 0),
    directive(ngx_string!("phantom_token_exchange"), NGX_CONF_TAKE1234, set_exchange, 0),
    directive(ngx_string!("phantom_token_forward"), NGX_CONF_TAKE1, set_forward, 0),
    choice(
        ngx_string!("phantom_token_envelope"),
        offset_of!(LocationConf, envelope),
        (&raw mut ENVELOPE).cast(),
    ),
    directive(
        ngx_string!("phantom_token_envelope_header"),
        NGX_CONF_TAKE1,
        set_header,
        offset_of!(LocationConf, envelope_header),
    ),
    directive(
        ngx_string!("phantom_token_set_header"),
        NGX_CONF_TAKE2,
        set_asserted_header,
        offset_of!(LocationConf, set_headers),
    ),
    directive(ngx_string!("phantom_token_jwks"), NGX_CONF_TAKE1, set_jwks, 0),
    directive(ngx_string!("phantom_token_issuer"), NGX_CONF_TAKE1, set_issuer, 0),
    directive(ngx_string!("phantom_token_audience"), NGX_CONF_1MORE, set_audience, 0),
    directive(
        ngx_string!("phantom_token_leeway"),
        NGX_CONF_TAKE1,
        set_leeway,
        offset_of!(LocationConf, leeway),
    ),
    directive(ngx_string!("phantom_token_accept_jwt"), NGX_CONF_TAKE1, set_accept_jwt, 0),
    choice(
        ngx_string!("phantom_token_preflight"),
        offset_of!(LocationConf, preflight),
        (&raw mut PREFLIGHT).cast(),
    ),
    directive(
        ngx_string!("phantom_token_header"),
        NGX_CONF_TAKE1,
        set_header,
        offset_of!(LocationConf, header),
    ),
    directive(
        ngx_string!("phantom_token_realm"),
        NGX_CONF_TAKE1,
        ngx_conf_set_str_slot,
        offset_of!(LocationConf, realm),
    ),
    directive(ngx_string!("phantom_token_scopes"), NGX_CONF_TAKE1, set_scopes, 0),
    directive(ngx_string!("phantom_token_scope"), NGX_CONF_TAKE1, set_scopes, 0),
    directive(
        ngx_string!("phantom_token_require_scope"),
        NGX_CONF_1MORE,
        set_required_names,
        offset_of!(LocationConf, required_scopes),
    ),
    directive(
        ngx_string!("phantom_token_require_audience"),
        NGX_CONF_1MORE,
        set_required_names,
        offset_of!(LocationConf, required_audiences),
    ),
    directive(ngx_string!("phantom_token_require"), NGX_CONF_1MORE, set_requirement, 0),
    directive(ngx_string!("phantom_token_resource"), NGX_CONF_TAKE1, set_resource, 0),
    directive(
        ngx_string!("phantom_token_authorization_server"),
        NGX_CONF_1MORE,
        set_authorization_servers,
        0,
    ),
    ngx_command_t {
        type_: (NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS) as ngx_uint_t,
        ..directive(
            ngx_string!("phantom_token_resource_metadata"),
            NGX_CONF_NOARGS,
            set_resource_metadata,
            0,
        )
    },
    choice(
        ngx_string!("phantom_token_binding"),
        offset_of!(LocationConf, binding),
        (&raw mut BINDING).cast(),
    ),
    directive(
        ngx_string!("phantom_token_client_certificate"),
        NGX_CONF_TAKE1,
        set_client_certificate,
        0,
    ),
    directive(ngx_string!("phantom_token_dpop_base"), NGX_CONF_TAKE1, set_dpop_base, 0),
    directive(ngx_string!("phantom_token_dpop_nonce"), NGX_CONF_TAKE12, set_dpop_nonce, 0),
    ngx_command_t {
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1) as ngx_uint_t,
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        ..directive(
            ngx_string!("phantom_token_dpop_zone"),
            NGX_CONF_TAKE1,
            set_dpop_zone,
            offset_of!(MainConf, proof_zone_size),
        )
    },
    directive(
        ngx_string!("phantom_token_max_response"),
        NGX_CONF_TAKE1,
        ngx_conf_set_size_slot,
        offset_of!(LocationConf, max_response),
    ),
    ngx_command_t {
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1) as ngx_uint_t,
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        ..directive(ngx_string!("phantom_token_cache_zone"), NGX_CONF_TAKE1, set_cache_zone, 0)
    },
    directive(ngx_string!("phantom_token_cache"), NGX_CONF_TAKE1, set_cache, 0),
    directive(
        ngx_string!("phantom_token_cache_key"),
        NGX_CONF_TAKE1,
        ngx_http_set_complex_value_slot,
        offset_of!(LocationConf, cache_key),
    ),
    directive(
        ngx_string!("phantom_token_cache_max_ttl"),
        NGX_CONF_TAKE1,
        ngx_conf_set_msec_slot,
        offset_of!(LocationConf, max_ttl),
    ),
    directive(
        ngx_string!("phantom_token_cache_default_ttl"),
        NGX_CONF_TAKE1,
        ngx_conf_set_msec_slot,
        offset_of!(LocationConf, default_ttl),
    ),
    directive(
        ngx_string!("phantom_token_cache_negative_ttl"),
        NGX_CONF_TAKE1,
        ngx_conf_set_msec_slot,
        offset_of!(LocationConf, negative_ttl),
    ),
    choice(
        ngx_string!("phantom_token_cache_control"),
        offset_of!(LocationConf, cache_control),
        (&raw mut CACHE_CONTROL).cast(),
    ),
    directive(
        ngx_string!("phantom_token_cache_refresh"),
        NGX_CONF_TAKE1,
        set_time_or_off,
        offset_of!(LocationConf, refresh),
    ),
    directive(
        ngx_string!("phantom_token_cache_use_stale"),
        NGX_CONF_TAKE1,
        set_time_or_off,
        offset_of!(LocationConf, use_stale),
    ),
    directive(
        ngx_string!("phantom_token_max_introspections"),
        NGX_CONF_TAKE1,
        set_limit,
        offset_of!(LocationConf, max_introspections),
    ),
    directive(
        ngx_string!("phantom_token_lock_timeout"),
        NGX_CONF_TAKE1,
        ngx_conf_set_msec_slot,
        offset_of!(LocationConf, lock_timeout),
    ),
    ngx_command_t::empty(),
];
