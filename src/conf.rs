//! The configuration as the module reads it at run time: what the directives came to.

pub(crate) mod choice;
mod conclude;
pub(crate) mod merge;
pub(crate) mod policy;
pub(crate) mod resource;

use core::cell::{Cell, OnceCell, RefCell};
use core::ffi::c_void;
use core::ptr;

use nginx_sys::{
    ngx_array_t, ngx_conf_t, ngx_cycle_t, ngx_http_complex_value_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_module, ngx_int_t, ngx_log_t,
    ngx_msec_t, ngx_str_t, ngx_uint_t,
};
use phantom_token_core::answer::{Mode, Verification};
use phantom_token_core::dpop::{Base, Nonces, Proofs};
use phantom_token_core::flights::Flights;
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::jose::{Expect, KeySet};
use phantom_token_core::key::{FactsKey, RealmKey};
use phantom_token_core::reason::{ChallengeError, Reason};
use phantom_token_core::record::{Record, State, UnixMillis};

use crate::cache_zone::{self, Zone, ZoneError};
use crate::guard::guard;
use crate::headers;
use crate::keys::Keys;
use crate::log::Shown;
use crate::pool::{Pool, bytes_of, push};
use crate::proof_zone::{self, ProofZone, ProofZoneError};
use crate::random;
use crate::slot::ctx_index;
use resource::{Published, ResourceConf};

/// A directive that was not given at this level.
pub(crate) const UNSET: ngx_uint_t = ngx_uint_t::MAX;

/// The same for `ngx_conf_set_num_slot`.
pub(crate) const UNSET_NUMBER: ngx_int_t = -1;

/// Where a directive stands, for errors that show only when all is read.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) file: ngx_str_t,
    pub(crate) line: ngx_uint_t,
}

impl Position {
    /// Nothing was said.
    const NOWHERE: Self = Self { file: ngx_str_t::empty(), line: 0 };

    /// Where NGINX is reading now.
    pub(crate) fn of(cf: &ngx_conf_t) -> Self {
        // SAFETY: conf_file is null only for `-g` directives, which are main ones; the name of a
        // configuration file lives in the cycle's pool.
        unsafe {
            match cf.conf_file.as_ref() {
                Some(file) => Self { file: file.file.name, line: file.line },
                None => Self::NOWHERE,
            }
        }
    }
}

/// `token=$variable`: where the token is instead of `Authorization`.
pub(crate) struct TokenSource {
    /// The variable.
    pub(crate) value: *mut ngx_http_complex_value_t,
    /// The variable's name, and its index.
    pub(crate) name: ngx_str_t,
    pub(crate) index: usize,
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

/// `phantom_token_exchange`: the token endpoint that is asked instead of introspection (RFC 8693).
pub(crate) struct Exchange {
    /// The internal location.
    pub(crate) uri: ngx_http_complex_value_t,
    /// Values of the form fields `audience`, `resource` and `scope`; none or empty: not sent.
    pub(crate) audience: Option<ngx_http_complex_value_t>,
    pub(crate) resource: Option<ngx_http_complex_value_t>,
    pub(crate) scope: Option<ngx_http_complex_value_t>,
}

impl Exchange {
    /// The form fields that are set, by their names.
    pub(crate) fn fields(
        &self,
    ) -> impl Iterator<Item = (&'static [u8], &ngx_http_complex_value_t)> {
        [
            (&b"audience"[..], &self.audience),
            (&b"resource"[..], &self.resource),
            (&b"scope"[..], &self.scope),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| (name, value)))
    }
}

/// `phantom_token_dpop_nonce`: what proofs have to carry.
pub(crate) struct DpopNonce {
    /// For how long a nonce is accepted, in milliseconds; 0: none is asked for.
    pub(crate) lifetime: i64,
    /// What gives them, where machines share a secret; `None`: that of the zone of used proofs.
    pub(crate) shared: Option<Nonces>,
}

/// What a worker checks DPoP proofs with, made at the first one.
pub(crate) type Checker = RefCell<Option<Proofs>>;

/// The `http` level.
pub(crate) struct MainConf {
    /// `*const Zone`s, in the order of their declaration.
    pub(crate) zones: *mut ngx_array_t,
    /// `phantom_token on` is somewhere: the default zone is needed.
    pub(crate) used: Cell<bool>,
    /// DPoP proofs are checked somewhere: their zone is needed.
    pub(crate) takes_proofs: Cell<bool>,
    /// `phantom_token_dpop_zone`, in bytes; `usize::MAX` where it is not said.
    pub(crate) proof_zone_size: usize,
    /// That zone; null: none.
    proof_zone: Cell<*const ProofZone>,
    /// The largest `phantom_token_max_introspections` in use.
    pub(crate) max_introspections: Cell<usize>,
    /// On the heap, for as long as the cycle.
    proofs: *const Checker,
    /// Stands in for a zone's secret where no zone is in use.
    secret: [u8; 32],
}

/// The `server` level: no directives of its own, but the identity of the block, and what its locations
/// say of their resources.
pub(crate) struct ServerConf {
    /// Hash over names and addresses: two blocks never share a verdict, and one block keeps its
    /// verdicts over a reload, wherever in the file it stands.
    pub(crate) identity: Cell<[u8; 32]>,
    pub(crate) published: Published,
}

/// The rules of one location.
pub(crate) struct LocationConf {
    /// `phantom_token`: 0, 1 or [`UNSET`].
    pub(crate) enable: ngx_uint_t,
    /// Where `phantom_token on` stands.
    pub(crate) enabled_at: Position,
    /// `token=`; null: the `Authorization` header.
    pub(crate) token_source: *const TokenSource,
    /// `phantom_token_introspection_endpoint`; null: none.
    pub(crate) endpoint: *mut ngx_http_complex_value_t,
    /// `phantom_token_exchange`, in the endpoint's place; null: none.
    pub(crate) exchange: *const Exchange,
    /// [`Parameter`]s; null: none.
    pub(crate) parameters: *mut ngx_array_t,
    /// The value of the question's `Authorization`; empty: none.
    pub(crate) credential: ngx_str_t,
    /// The client id in it, which the verdicts belong to. A new secret changes none.
    pub(crate) client_id: ngx_str_t,
    pub(crate) accept: ngx_str_t,
    /// `&[u8]`s; null: the defaults.
    pub(crate) members: *mut ngx_array_t,
    pub(crate) forward: ngx_uint_t,
    pub(crate) forward_at: Position,
    pub(crate) envelope: ngx_uint_t,
    /// `phantom_token_jwks`; null: none, and nothing is verified.
    pub(crate) keys: *const Keys,
    /// `phantom_token_issuer`; empty: any.
    pub(crate) issuer: ngx_str_t,
    /// `&[u8]`s of `phantom_token_audience`; null: any.
    pub(crate) audiences: *mut ngx_array_t,
    /// Of JWTs that are verified, and of DPoP proofs.
    pub(crate) leeway: ngx_msec_t,
    /// Where it stands, if anywhere.
    pub(crate) leeway_at: Option<Position>,
    pub(crate) accept_jwt: ngx_uint_t,
    pub(crate) accept_jwt_at: Position,
    /// The last directive that is of no use without keys, and where it stands.
    pub(crate) needs_keys: Option<(&'static str, Position)>,
    /// The upstream header for the JWT.
    pub(crate) header: ngx_str_t,
    /// The upstream header for a signed introspection answer; empty: none.
    pub(crate) envelope_header: ngx_str_t,
    pub(crate) preflight: ngx_uint_t,
    pub(crate) realm: ngx_str_t,
    pub(crate) scopes: ngx_str_t,
    pub(crate) resource: ResourceConf,
    pub(crate) binding: ngx_uint_t,
    /// `phantom_token_dpop_base`, in the cycle's memory; none: what the request says.
    pub(crate) dpop_base: Option<Base<'static>>,
    /// `phantom_token_dpop_nonce`; null: not said.
    pub(crate) dpop_nonce: *const DpopNonce,
    /// `phantom_token_client_certificate`; null: the connection's.
    pub(crate) client_certificate: *mut ngx_http_complex_value_t,
    /// `phantom_token_require_scope` and `phantom_token_require_audience`: `ngx_str_t`s; null: none.
    pub(crate) required_scopes: *mut ngx_array_t,
    pub(crate) required_audiences: *mut ngx_array_t,
    /// `phantom_token_require`: [`policy::Requirement`]s; null: none.
    pub(crate) requirements: *mut ngx_array_t,
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
    /// 0: off.
    pub(crate) refresh: ngx_msec_t,
    pub(crate) refresh_at: Position,
    /// It was said for the `max_ttl` that holds here: no level nearer than it has set another one.
    says_refresh: bool,
    /// Not the outermost level.
    has_inherited: bool,
    /// 0: off.
    pub(crate) use_stale: ngx_msec_t,
    pub(crate) lock_timeout: ngx_msec_t,
    pub(crate) max_introspections: ngx_int_t,
    pub(crate) limited_at: Position,

    // Made of the above when all is read.
    /// The zone in use; null: none.
    pub(crate) zone: *const Zone,
    /// The time rules.
    pub(crate) freshness: Freshness,
    /// What is asked for.
    pub(crate) mode: Mode,
    /// JWTs that clients present can be verified, by all that this takes.
    pub(crate) verifies_presented: bool,
    /// `accept`, or its default, which depends on what is asked for.
    pub(crate) accepted: ngx_str_t,
    /// `header` and `envelope_header` in the forms that NGINX keeps.
    pub(crate) header_name: headers::Name,
    pub(crate) envelope_name: headers::Name,
    /// The JWT goes upstream as `Authorization: Bearer`.
    pub(crate) forwards_authorization: bool,
    /// Nothing of what a verdict belongs to varies by request.
    pub(crate) fixed_realm: bool,
    /// The challenges, see [`LocationConf::challenge`].
    pub(crate) challenges: [ngx_str_t; 4],
    /// The same for the scheme `DPoP`, and last the one about proofs.
    pub(crate) dpop_challenges: [ngx_str_t; 6],
    /// What of the above a token must meet; null: it need meet nothing.
    pub(crate) policy: *const policy::Policy,
    /// Indexes of the variables that show what may be taken away or replaced: `$http_authorization`,
    /// `$http_cookie`, those of `header` and `envelope_header`, and that of `token=`.
    pub(crate) variables: [usize; 5],
    /// Stands in for a zone's secret where no zone is in use.
    secret: [u8; 32],
    /// No verdict is confirmed in the background before, on NGINX's monotonic clock: one could not be.
    pub(crate) confirms_from: Cell<ngx_msec_t>,
    /// The log has said that this worker uses verdicts past their time, since the server cannot be asked.
    pub(crate) serves_stale: Cell<bool>,
    /// When the log may say so again, on NGINX's monotonic clock.
    pub(crate) stale_silent_until: Cell<ngx_msec_t>,
    /// What the verdicts of this location belong to, as far as it does not vary; made at the first
    /// request of a worker, when the zone's secret is there.
    pub(crate) realm_key: OnceCell<RealmKey>,
    /// What names are digested under in the facts of this location's tokens; made likewise.
    facts_key: OnceCell<FactsKey>,
    /// The number of the server that is asked, where the realm does not vary; made likewise.
    pub(crate) server_number: OnceCell<u64>,
    /// The same for what was verified here without a question.
    pub(crate) by_value_key: OnceCell<RealmKey>,
}

/// The members that are searched for the JWT by default.
const DEFAULT_MEMBERS: [&[u8]; 3] = [b"jwt", b"phantom_token", b"token_string"];

impl LocationConf {
    /// Whether requests are translated here.
    pub(crate) fn is_on(&self) -> bool {
        self.enable == 1 && !self.resource.is_open
    }

    /// Says in the log that something in the zone was emptied by what this process did, once each time.
    pub(crate) fn tell_emptied(&self, log: *mut ngx_log_t) {
        if let Some(zone) = self.zone() {
            zone.tell_emptied(log);
        }
    }

    /// The zone, where one is in use.
    fn zone(&self) -> Option<&Zone> {
        // SAFETY: a zone lives in the cycle's pool, as long as this configuration.
        unsafe { self.zone.as_ref() }
    }

    /// The zone's cache, where one is in use.
    pub(crate) fn shared_cache(&self) -> Option<&phantom_token_core::cache::Cache> {
        self.zone()?.cache()
    }

    /// The questions in flight in the zone, where one is in use.
    pub(crate) fn flights(&self) -> Option<&Flights> {
        self.zone()?.flights()
    }

    /// The secret of the keys of this location.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        self.shared_cache().map_or(&self.secret, |cache| cache.secret())
    }

    /// The key of the facts of this location's tokens, which is one for all locations with its secret.
    pub(crate) fn facts_key(&self) -> &FactsKey {
        self.facts_key.get_or_init(|| FactsKey::new(self.secret()))
    }

    /// Whether a verdict that was applied in `other`, of the same server block, is one that this
    /// location would apply likewise, if its binding and its policy agree. What is inherited is the same by its address.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        // SAFETY: the strings are the cycle's.
        let same = |one: &ngx_str_t, other: &ngx_str_t| unsafe { bytes_of(one) == bytes_of(other) };
        ptr::eq(self, other)
            || (self.fixed_realm
                && ((self.endpoint, self.exchange) == (other.endpoint, other.exchange)
                    || self.question_uri().is_null())
                && self.parameters == other.parameters
                && self.members == other.members
                && self.cache_key == other.cache_key
                && self.token_source == other.token_source
                && same(&self.accepted, &other.accepted)
                && same(&self.client_id, &other.client_id)
                && self.forward == other.forward
                && self.envelope == other.envelope
                && self.verifies_as(other)
                && self.accept_jwt == other.accept_jwt
                && same(&self.envelope_header, &other.envelope_header)
                && same(&self.header, &other.header))
    }

    /// Whether both verify JWTs by the same.
    fn verifies_as(&self, other: &Self) -> bool {
        // SAFETY: the strings are the cycle's.
        let same_issuer = unsafe { bytes_of(&self.issuer) == bytes_of(&other.issuer) };
        self.keys().map(Keys::identity) == other.keys().map(Keys::identity)
            && same_issuer
            && self.audiences() == other.audiences()
            && self.jwt_leeway() == other.jwt_leeway()
    }

    /// The leeway of JWTs; 0 where none is verified, and it is that of DPoP proofs alone.
    pub(crate) fn jwt_leeway(&self) -> ngx_msec_t {
        if self.keys.is_null() { 0 } else { self.leeway }
    }

    /// Whether a verdict of `other` is one for this location, which asks nobody: what this one wants verified was.
    pub(crate) fn trusts(&self, other: &Self) -> bool {
        (self.keys().is_none() && self.needs_keys.is_none()) || self.verifies_as(other)
    }

    /// The URI of the internal location that is asked; null: none is configured.
    pub(crate) fn question_uri(&self) -> *mut ngx_http_complex_value_t {
        // SAFETY: the exchange, null or not, is the cycle's.
        match unsafe { self.exchange.as_ref() } {
            Some(exchange) => (&raw const exchange.uri).cast_mut(),
            None => self.endpoint,
        }
    }

    /// What the question asks for in exchange of the token, if that is what it does.
    pub(crate) fn exchange(&self) -> Option<&Exchange> {
        // SAFETY: the exchange, null or not, is the cycle's.
        unsafe { self.exchange.as_ref() }
    }

    /// The keys, where there are any.
    pub(crate) fn keys(&self) -> Option<&Keys> {
        // SAFETY: the keys, null or not, live as long as the cycle.
        unsafe { self.keys.as_ref() }
    }

    /// What the server's JWTs are verified by, `keys` being those of now.
    pub(crate) fn verification<'k>(&'k self, keys: &'k KeySet) -> Verification<'k> {
        // SAFETY: the strings are the cycle's.
        let (issuer, accepted) = unsafe { (bytes_of(&self.issuer), bytes_of(&self.accepted)) };
        let expect = Expect {
            issuer: Some(issuer).filter(|issuer| !issuer.is_empty()),
            audiences: self.audiences(),
            leeway: i64::try_from(self.leeway).unwrap_or(0),
        };
        let asked_for =
            accepted.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let signed = [&b"application/jwt"[..], b"application/token-introspection+jwt"];
        let signed_only = signed.iter().any(|it| asked_for.eq_ignore_ascii_case(it));
        Verification { keys, expect, signed_only }
    }

    /// Whom a verified JWT must be for; empty: anybody.
    pub(crate) fn audiences(&self) -> &[&[u8]] {
        // SAFETY: the setter pushes slices of the cycle's memory and nothing else.
        unsafe { self.audiences.as_ref().map_or(&[], |audiences| audiences.as_slice()) }
    }

    /// Whether signed introspection answers count that nobody verifies.
    pub(crate) fn takes_unverified_envelopes(&self) -> bool {
        self.envelope == choice::envelope::UNVERIFIED
    }

    /// The JSON members that are searched for the JWT, in order.
    pub(crate) fn members(&self) -> &[&[u8]] {
        // SAFETY: the setter pushes slices of the cycle's memory and nothing else.
        unsafe { self.members.as_ref().map_or(&DEFAULT_MEMBERS, |members| members.as_slice()) }
    }

    /// The further form fields of the question.
    pub(crate) fn parameters(&self) -> &[Parameter] {
        // SAFETY: the setter pushes Parameters and nothing else.
        unsafe { self.parameters.as_ref().map_or(&[], |parameters| parameters.as_slice()) }
    }

    /// What proofs have to carry, where they have to.
    pub(crate) fn dpop_nonce(&self) -> Option<&DpopNonce> {
        // SAFETY: null or in the cycle's pool.
        unsafe { self.dpop_nonce.as_ref() }.filter(|nonce| nonce.lifetime != 0)
    }

    /// The challenge that goes with `reason`.
    pub(crate) fn challenge(&self, reason: Reason) -> ngx_str_t {
        let [plain, invalid_request, invalid_token, insufficient_scope] = self.challenges;
        match reason.challenge_error() {
            None => plain,
            Some(ChallengeError::InvalidRequest) => invalid_request,
            Some(ChallengeError::InvalidToken) => invalid_token,
            Some(ChallengeError::InsufficientScope) => insufficient_scope,
            // No reason has it.
            Some(ChallengeError::InvalidProof | ChallengeError::UseNonce) => invalid_token,
        }
    }

    /// The challenge of the scheme `DPoP` that goes with an error.
    pub(crate) fn dpop_challenge(&self, error: Option<ChallengeError>) -> ngx_str_t {
        let [plain, invalid_request, invalid_token, insufficient_scope, invalid_proof, use_nonce] =
            self.dpop_challenges;
        match error {
            None => plain,
            Some(ChallengeError::InvalidRequest) => invalid_request,
            Some(ChallengeError::InvalidToken) => invalid_token,
            Some(ChallengeError::InsufficientScope) => insufficient_scope,
            Some(ChallengeError::InvalidProof) => invalid_proof,
            Some(ChallengeError::UseNonce) => use_nonce,
        }
    }

    /// Why this location refuses a token that the authorization server calls active, whatever its binding and its
    /// policy say; `None`: it does not.
    pub(crate) fn objection(&self, record: &Record, now: UnixMillis) -> Option<Reason> {
        if record.is_over(now) {
            // Of a JWT that an exchange has just given, that it is over says nothing of the token.
            let expired = record.is_expired(now);
            return Some(if expired { Reason::Expired } else { Reason::ServerBadAnswer });
        }
        match record.state {
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
        let Some(secret) = random::secret() else { return ptr::null_mut() };
        let Some(proofs) = pool.keep(Checker::default()) else { return ptr::null_mut() };
        place(
            pool,
            MainConf {
                zones,
                used: Cell::new(false),
                takes_proofs: Cell::new(false),
                proof_zone_size: usize::MAX,
                proof_zone: Cell::new(ptr::null()),
                max_introspections: Cell::new(0),
                proofs: proofs.as_ptr(),
                secret,
            },
        )
    })
}

/// `create_srv_conf`
pub(crate) unsafe extern "C" fn create_server(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: as of `create_main`.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        place(pool, ServerConf { identity: Cell::new([0; 32]), published: Published::new() })
    })
}

/// `create_loc_conf`
pub(crate) unsafe extern "C" fn create_location(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: as of `create_main`.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        let nowhere = Position::NOWHERE;
        place(
            pool,
            LocationConf {
                enable: UNSET,
                enabled_at: nowhere,
                token_source: ptr::null(),
                endpoint: ptr::null_mut(),
                exchange: ptr::null(),
                parameters: ptr::null_mut(),
                credential: ngx_str_t::empty(),
                client_id: ngx_str_t::empty(),
                accept: ngx_str_t::empty(),
                members: ptr::null_mut(),
                forward: UNSET,
                forward_at: nowhere,
                envelope: UNSET,
                keys: ptr::null(),
                issuer: ngx_str_t::empty(),
                audiences: ptr::null_mut(),
                leeway: ngx_msec_t::MAX,
                accept_jwt: UNSET,
                accept_jwt_at: nowhere,
                leeway_at: None,
                needs_keys: None,
                header: ngx_str_t::empty(),
                envelope_header: ngx_str_t::empty(),
                preflight: UNSET,
                realm: ngx_str_t::empty(),
                scopes: ngx_str_t::empty(),
                resource: ResourceConf::unset(nowhere),
                binding: UNSET,
                dpop_base: None,
                dpop_nonce: ptr::null(),
                client_certificate: ptr::null_mut(),
                required_scopes: ptr::null_mut(),
                required_audiences: ptr::null_mut(),
                requirements: ptr::null_mut(),
                max_response: usize::MAX,
                cache: UNSET,
                cache_zone_name: ngx_str_t::empty(),
                cached_at: nowhere,
                cache_key: ptr::null_mut(),
                max_ttl: ngx_msec_t::MAX,
                default_ttl: ngx_msec_t::MAX,
                negative_ttl: ngx_msec_t::MAX,
                cache_control: UNSET,
                refresh: ngx_msec_t::MAX,
                refresh_at: nowhere,
                says_refresh: false,
                has_inherited: false,
                use_stale: ngx_msec_t::MAX,
                lock_timeout: ngx_msec_t::MAX,
                max_introspections: UNSET_NUMBER,
                limited_at: nowhere,
                zone: ptr::null(),
                freshness: Freshness {
                    max_ttl: 0,
                    default_ttl: 0,
                    negative_ttl: 0,
                    control: Control::Lower,
                    refresh: 0,
                    use_stale: 0,
                },
                mode: Mode::Jwt,
                verifies_presented: false,
                accepted: ngx_str_t::empty(),
                header_name: headers::Name::fixed(b"", b""),
                envelope_name: headers::Name::fixed(b"", b""),
                forwards_authorization: true,
                fixed_realm: false,
                challenges: [ngx_str_t::empty(); 4],
                dpop_challenges: [ngx_str_t::empty(); 6],
                policy: ptr::null(),
                variables: [0; 5],
                secret: [0; 32],
                confirms_from: Cell::new(0),
                serves_stale: Cell::new(false),
                stale_silent_until: Cell::new(0),
                realm_key: OnceCell::new(),
                facts_key: OnceCell::new(),
                server_number: OnceCell::new(),
                by_value_key: OnceCell::new(),
            },
        )
    })
}

/// Puts a configuration into the cycle's pool, for NGINX to keep.
fn place<T>(pool: Pool<'_>, value: T) -> *mut c_void {
    pool.place(value).map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

impl MainConf {
    /// Where all used proofs are remembered, whatever location they are for: two stores would take one twice.
    pub(crate) fn proof_zone(&self) -> Option<&ProofZone> {
        // SAFETY: the zone, null or not, is the cycle's.
        unsafe { self.proof_zone.get().as_ref() }
    }

    /// What this worker checks proofs with.
    pub(crate) fn proofs(&self) -> &Checker {
        // SAFETY: create_main made it, for as long as the cycle.
        unsafe { &*self.proofs }
    }

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

/// Asks NGINX for the zone of used proofs, if any location has need of it.
pub(crate) fn declare_proof_zone(cf: &mut ngx_conf_t) -> Result<(), ProofZoneError> {
    let main = main_conf(cf);
    if !main.takes_proofs.get() {
        return Ok(());
    }
    let size = match main.proof_zone_size {
        usize::MAX => proof_zone::DEFAULT_SIZE,
        size => size,
    };
    let zone = proof_zone::request(cf, size)?;
    main_conf(cf).proof_zone.set(zone.as_ptr());
    Ok(())
}

/// This module's part of the `server` level that is read or merged.
fn server_conf(cf: &ngx_conf_t) -> &ServerConf {
    // SAFETY: as of `main_conf`; in http itself the context has a configuration of that level, too.
    unsafe {
        let context = cf.ctx.cast::<ngx_http_conf_ctx_t>();
        &*(*(*context).srv_conf.add(ctx_index())).cast::<ServerConf>()
    }
}

/// The core module's configuration of the level that is read or merged.
pub(crate) fn core_location(cf: &ngx_conf_t) -> *mut ngx_http_core_loc_conf_t {
    // SAFETY: as of `main_conf`: while NGINX merges, it is the context of the level that is merged.
    unsafe {
        let context = cf.ctx.cast::<ngx_http_conf_ctx_t>();
        (*(*context).loc_conf.add(ngx_http_core_module.ctx_index)).cast()
    }
}

/// The largest `phantom_token_max_introspections` in use; 0: none is.
///
/// # Safety
/// `cycle` is live and its configuration complete.
pub(crate) unsafe fn max_introspections(cycle: *mut ngx_cycle_t) -> usize {
    // SAFETY: the caller says so. NGINX has a slot for every module, null where there is no such block.
    unsafe {
        let http = *(*cycle).conf_ctx.add(ngx_http_module.index);
        let context = http.cast::<ngx_http_conf_ctx_t>().as_ref();
        context.map_or(0, |context| {
            let main = *context.main_conf.add(ctx_index());
            (*main.cast::<MainConf>()).max_introspections.get()
        })
    }
}

/// Names, for the key, the server block that `server` is the configuration of.
pub(crate) fn set_identity(server: &ServerConf, identity: [u8; 32]) {
    server.identity.set(identity);
}
