//! The configuration as the module reads it at run time: what the directives came to.

use core::cell::Cell;
use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    ngx_array_t, ngx_conf_t, ngx_http_complex_value_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_msec_t, ngx_str_t, ngx_uint_t,
};
use phantom_token_core::challenge::{self, ChallengeFault};
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::key::RealmKey;
use phantom_token_core::reason::{ChallengeError, Reason};
use phantom_token_core::record::{Record, State};

use crate::cache_zone::{self, Zone, ZoneError};
use crate::code::{conf_error, conf_ok};
use crate::guard::guard;
use crate::headers;
use crate::log::{Shown, log};
use crate::pool::{Pool, bytes_of, push};
use crate::slot::ctx_index;

/// A directive that was not given at this level.
pub(crate) const UNSET: ngx_uint_t = ngx_uint_t::MAX;

/// Where a directive stands, for errors that show only when all is read.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) file: ngx_str_t,
    pub(crate) line: ngx_uint_t,
}

impl Position {
    /// Where NGINX is reading now.
    pub(crate) fn of(cf: &ngx_conf_t) -> Self {
        // SAFETY: conf_file is null only for `-g` directives, which are main ones; the name of a
        // configuration file lives in the cycle's pool.
        unsafe {
            match cf.conf_file.as_ref() {
                Some(file) => Self { file: file.file.name, line: file.line },
                None => Self { file: ngx_str_t::empty(), line: 0 },
            }
        }
    }
}

/// `token=$variable`: where the token is instead of `Authorization`.
pub(crate) struct TokenSource {
    /// The variable.
    pub(crate) value: *mut ngx_http_complex_value_t,
    /// What the variable reads, so that it can be kept from the upstream.
    pub(crate) carrier: Carrier,
}

/// What carries the token of a `token=` variable.
#[derive(Clone, Copy)]
pub(crate) enum Carrier {
    /// `$http_name`: the request header of this name (as the variable spells it).
    Header(ngx_str_t),
    /// `$cookie_name`: the cookie of this name.
    Cookie(ngx_str_t),
    /// Anything else: left alone.
    Other,
}

/// One `phantom_token_introspection_parameter`.
pub(crate) struct Parameter {
    /// The form field's name.
    pub(crate) name: ngx_str_t,
    /// The form field's value.
    pub(crate) value: ngx_http_complex_value_t,
}

/// `phantom_token_binding`.
pub(crate) mod binding {
    use nginx_sys::ngx_uint_t;

    /// `cnf` is ignored.
    pub(crate) const OFF: ngx_uint_t = 0;
    /// A token with `cnf` is refused unless it proves its binding.
    pub(crate) const OPTIONAL: ngx_uint_t = 1;
}

/// `phantom_token_cache_control`.
pub(crate) mod control {
    use nginx_sys::ngx_uint_t;

    /// A `max-age` can only shorten.
    pub(crate) const LOWER: ngx_uint_t = 0;
    /// HTTP's rules on top of `exp`.
    pub(crate) const OBEY: ngx_uint_t = 1;
    /// `exp` alone.
    pub(crate) const IGNORE: ngx_uint_t = 2;
}

/// The `http` level.
pub(crate) struct MainConf {
    /// `*const Zone`s, in the order of their declaration.
    pub(crate) zones: *mut ngx_array_t,
    /// `phantom_token on` is somewhere: the default zone is needed.
    pub(crate) used: bool,
}

/// The `server` level: no directives of its own, but the identity of the block.
pub(crate) struct ServerConf {
    /// Hash over names and addresses: two blocks never share a verdict, and one block keeps its
    /// verdicts over a reload, wherever in the file it stands.
    pub(crate) identity: Cell<[u8; 32]>,
}

/// The rules of one location.
pub(crate) struct LocationConf {
    /// `phantom_token`: 0, 1 or [`UNSET`].
    pub(crate) enable: ngx_uint_t,
    /// Where `phantom_token on` stands.
    pub(crate) enabled_at: Position,
    /// `token=`; null: the `Authorization` header.
    pub(crate) token_source: *const TokenSource,
    pub(crate) endpoint: *mut ngx_http_complex_value_t,
    /// [`Parameter`]s; null: none.
    pub(crate) parameters: *mut ngx_array_t,
    /// The value of the question's `Authorization`; empty: none.
    pub(crate) credential: ngx_str_t,
    /// The client id in it, which the verdicts belong to. A new secret changes none.
    pub(crate) client_id: ngx_str_t,
    pub(crate) accept: ngx_str_t,
    /// `&[u8]`s; null: the defaults.
    pub(crate) members: *mut ngx_array_t,
    /// The upstream header for the JWT.
    pub(crate) header: ngx_str_t,
    pub(crate) realm: ngx_str_t,
    pub(crate) scopes: ngx_str_t,
    pub(crate) binding: ngx_uint_t,
    pub(crate) max_response: usize,
    /// `phantom_token_cache`: 0 for `off`, 1 for a zone, or [`UNSET`].
    pub(crate) cache: ngx_uint_t,
    pub(crate) cache_zone_name: ngx_str_t,
    pub(crate) cached_at: Position,
    pub(crate) cache_key: *mut ngx_http_complex_value_t,
    pub(crate) max_ttl: ngx_msec_t,
    pub(crate) default_ttl: ngx_msec_t,
    pub(crate) negative_ttl: ngx_msec_t,
    pub(crate) cache_control: ngx_uint_t,
    pub(crate) lock_timeout: ngx_msec_t,

    // Made of the above when all is read.
    /// The zone in use; null: none.
    pub(crate) zone: *const Zone,
    /// The time rules.
    pub(crate) freshness: Freshness,
    /// `header` in the forms that NGINX keeps.
    pub(crate) header_name: headers::Name,
    /// The JWT goes upstream as `Authorization: Bearer`.
    pub(crate) forwards_authorization: bool,
    /// Nothing of what a verdict belongs to varies by request.
    pub(crate) fixed_realm: bool,
    /// The challenges, by [`challenge_index`].
    pub(crate) challenges: [ngx_str_t; 3],
    /// Indexes of `$http_authorization` and of the variable of `header`.
    pub(crate) variables: [usize; 2],
    /// What the verdicts of this location belong to, as far as it does not vary; made at the first
    /// request of a worker, when the zone's secret is there.
    pub(crate) realm_key: Cell<Option<RealmKey>>,
}

/// The members that are searched for the JWT by default.
const DEFAULT_MEMBERS: [&[u8]; 3] = [b"jwt", b"phantom_token", b"token_string"];

impl LocationConf {
    /// Whether requests are translated here.
    pub(crate) fn is_on(&self) -> bool {
        self.enable == 1
    }

    /// The zone's cache, where one is in use.
    pub(crate) fn shared_cache(&self) -> Option<&phantom_token_core::cache::Cache> {
        // SAFETY: a zone lives in the cycle's pool, as long as this configuration.
        unsafe { self.zone.as_ref() }?.cache()
    }

    /// The JSON members that are searched for the JWT, in order.
    pub(crate) fn members(&self) -> &[&[u8]] {
        // SAFETY: the setter pushes slices of the cycle's memory and nothing else.
        match unsafe { self.members.as_ref() } {
            Some(members) => unsafe { members.as_slice() },
            None => &DEFAULT_MEMBERS,
        }
    }

    /// The further form fields of the question.
    pub(crate) fn parameters(&self) -> &[Parameter] {
        // SAFETY: the setter pushes Parameters and nothing else.
        match unsafe { self.parameters.as_ref() } {
            Some(parameters) => unsafe { parameters.as_slice() },
            None => &[],
        }
    }

    /// The challenge that goes with `reason`.
    pub(crate) fn challenge(&self, reason: Reason) -> ngx_str_t {
        let [plain, invalid_request, invalid_token] = self.challenges;
        match reason.challenge_error() {
            None => plain,
            Some(ChallengeError::InvalidRequest) => invalid_request,
            Some(ChallengeError::InvalidToken) => invalid_token,
        }
    }

    /// Why this location refuses a token that the authorization server calls active; `None`: it does
    /// not.
    pub(crate) fn objection(&self, record: &Record) -> Option<Reason> {
        match record.state {
            State::Active if record.bound && self.binding != binding::OFF => Some(Reason::Binding),
            State::Active => None,
            State::Inactive => Some(Reason::Inactive),
            State::Expired => Some(Reason::Expired),
        }
    }
}

/// `create_main_conf`
pub(crate) unsafe extern "C" fn create_main(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: NGINX calls with a live configuration and its pool.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        // SAFETY: the pool is live; the elements are pointers.
        let zones =
            unsafe { nginx_sys::ngx_array_create(pool.as_ptr(), 1, size_of::<*const Zone>()) };
        if zones.is_null() {
            return ptr::null_mut();
        }
        place(pool, MainConf { zones, used: false })
    })
}

/// `create_srv_conf`
pub(crate) unsafe extern "C" fn create_server(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: as of `create_main`.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        place(pool, ServerConf { identity: Cell::new([0; 32]) })
    })
}

/// `create_loc_conf`
pub(crate) unsafe extern "C" fn create_location(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: as of `create_main`.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        let nowhere = Position { file: ngx_str_t::empty(), line: 0 };
        place(
            pool,
            LocationConf {
                enable: UNSET,
                enabled_at: nowhere,
                token_source: ptr::null(),
                endpoint: ptr::null_mut(),
                parameters: ptr::null_mut(),
                credential: ngx_str_t::empty(),
                client_id: ngx_str_t::empty(),
                accept: ngx_str_t::empty(),
                members: ptr::null_mut(),
                header: ngx_str_t::empty(),
                realm: ngx_str_t::empty(),
                scopes: ngx_str_t::empty(),
                binding: UNSET,
                max_response: usize::MAX,
                cache: UNSET,
                cache_zone_name: ngx_str_t::empty(),
                cached_at: nowhere,
                cache_key: ptr::null_mut(),
                max_ttl: ngx_msec_t::MAX,
                default_ttl: ngx_msec_t::MAX,
                negative_ttl: ngx_msec_t::MAX,
                cache_control: UNSET,
                lock_timeout: ngx_msec_t::MAX,
                zone: ptr::null(),
                freshness: Freshness {
                    max_ttl: 0,
                    default_ttl: 0,
                    negative_ttl: 0,
                    control: Control::Lower,
                },
                header_name: headers::Name::fixed(b"", b""),
                forwards_authorization: true,
                fixed_realm: false,
                challenges: [ngx_str_t::empty(); 3],
                variables: [0; 2],
                realm_key: Cell::new(None),
            },
        )
    })
}

/// Puts a configuration into the cycle's pool, for NGINX to keep.
fn place<T>(pool: Pool<'_>, value: T) -> *mut c_void {
    pool.place(value).map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

/// `init_main_conf`: the default zone, where one is needed and none was declared.
pub(crate) unsafe extern "C" fn init_main(cf: *mut ngx_conf_t, conf: *mut c_void) -> *mut c_char {
    guard(conf_error(), || {
        // SAFETY: NGINX calls with a live configuration and the result of create_main.
        let (cf, main) = unsafe { (&mut *cf, &mut *conf.cast::<MainConf>()) };
        // SAFETY: create_main made the array.
        if main.used && unsafe { (*main.zones).nelts } == 0 {
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
            variable_index(cf, pool, header).ok_or_else(|| no_memory(at))?,
        ];
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

impl MainConf {
    /// The declared zones.
    pub(crate) fn zones(&self) -> &[*const Zone] {
        // SAFETY: create_main made the array, and cache_zone pushes pointers to zones only.
        unsafe { (*self.zones).as_slice() }
    }

    /// Asks NGINX for one more zone.
    pub(crate) fn declare_zone(
        &self,
        cf: &mut ngx_conf_t,
        name: &[u8],
        size: usize,
    ) -> Result<(), ZoneError> {
        // SAFETY: zones live in the cycle's pool.
        if self.zones().iter().any(|zone| unsafe { (**zone).name() } == name) {
            return Err(ZoneError::Duplicate(Shown(name).to_string()));
        }
        let zone = cache_zone::request(cf, name, size)?;
        // SAFETY: create_main made the array for pointers to zones.
        unsafe { push::<*const Zone>(self.zones, zone.as_ptr()) }.ok_or(ZoneError::NoMemory)
    }
}

/// This module's part of the `http` level.
pub(crate) fn main_conf(cf: &ngx_conf_t) -> &MainConf {
    // SAFETY: while an http block is read, `ctx` is its context, with a configuration of every module.
    unsafe {
        let context = cf.ctx.cast::<ngx_http_conf_ctx_t>();
        &*(*(*context).main_conf.add(ctx_index())).cast::<MainConf>()
    }
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
        let index = (*(&raw const ngx_http_core_module)).ctx_index;
        &*(*(*context).loc_conf.add(index)).cast::<ngx_http_core_loc_conf_t>()
    };
    let is_server = core.name.len == 0 && core.noname() == 0;
    if is_server {
        return core.locations.is_null();
    }
    core.named() == 0 && core.internal == 0
}

/// Names, for the key, the server block that `server` is the configuration of.
pub(crate) fn set_identity(server: &ServerConf, identity: [u8; 32]) {
    server.identity.set(identity);
}
