//! The rules of one location, as the directives gave them and as they are used.

use core::cell::{Cell, OnceCell};
use core::ffi::c_void;
use core::ptr;

use nginx_sys::{
    ngx_array_t, ngx_conf_t, ngx_http_complex_value_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_int_t, ngx_log_t, ngx_msec_t, ngx_str_t,
    ngx_uint_t,
};
use phantom_token_core::answer::{Mode, Verification};
use phantom_token_core::cache::Cache;
use phantom_token_core::dpop::Base;
use phantom_token_core::flights::Flights;
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::jose::{Expect, KeySet};
use phantom_token_core::key::{FactsKey, RealmKey};
use phantom_token_core::reason::{ChallengeError, Reason};
use phantom_token_core::record::{Record, State, UnixMillis};

use super::choice::envelope;
use super::policy::Policy;
use super::position::Position;
use super::resource::ResourceConf;
use super::value::{DpopNonce, Exchange, Parameter, SetHeader, TokenSource};
use crate::cache_zone::Zone;
use crate::guard::guard;
use crate::headers;
use crate::keys::Keys;
use crate::nginx::upstream_conf::OwnUpstreamConf;
use crate::pool::{Pool, bytes_of};

/// A directive that was not given at this level.
pub(crate) const UNSET: ngx_uint_t = ngx_uint_t::MAX;

/// The same for `ngx_conf_set_num_slot`.
pub(crate) const UNSET_NUMBER: ngx_int_t = -1;

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
    /// [`SetHeader`]s; null: none.
    pub(crate) set_headers: *mut ngx_array_t,
    pub(crate) preflight: ngx_uint_t,
    pub(crate) realm: ngx_str_t,
    pub(crate) scopes: ngx_str_t,
    pub(crate) resource: ResourceConf,
    pub(crate) binding: ngx_uint_t,
    /// The last directive that stands beside `phantom_token_binding`, and is of no use if that is off.
    pub(crate) needs_binding: Option<(&'static str, Position)>,
    /// `phantom_token_dpop_base`, in the cycle's memory; none: what the request says.
    pub(crate) dpop_base: Option<Base<'static>>,
    /// `phantom_token_dpop_nonce`; null: not said.
    pub(crate) dpop_nonce: *const DpopNonce,
    /// `phantom_token_client_certificate`; null: the connection's.
    pub(crate) client_certificate: *mut ngx_http_complex_value_t,
    /// `phantom_token_require_scope` and `phantom_token_require_audience`: `ngx_str_t`s; null: none.
    pub(crate) required_scopes: *mut ngx_array_t,
    pub(crate) required_audiences: *mut ngx_array_t,
    /// `phantom_token_require`: [`Requirement`](super::policy::Requirement)s; null: none.
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
    pub(super) says_refresh: bool,
    /// Not the outermost level.
    pub(super) has_inherited: bool,
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
    pub(crate) policy: *const Policy,
    /// Indexes of the variables that show what may be taken away or replaced: `$http_authorization`,
    /// `$http_cookie`, those of `header` and `envelope_header`, and that of `token=`.
    pub(crate) variables: [usize; 5],
    /// Stands in for a zone's secret where no zone is in use.
    pub(super) secret: [u8; 32],
    /// No verdict is confirmed in the background before, on NGINX's monotonic clock: one could not be.
    pub(crate) confirms_from: Cell<ngx_msec_t>,
    /// What NGINX goes by where this is the location that is asked.
    pub(crate) own_upstream: OwnUpstreamConf,
    /// The log has said that this worker uses verdicts past their time, since the server cannot be asked.
    pub(crate) serves_stale: Cell<bool>,
    /// When the log may say so again, on NGINX's monotonic clock.
    pub(crate) stale_silent_until: Cell<ngx_msec_t>,
    /// The same for verdicts that have no room in the zone.
    pub(crate) too_large_silent_until: Cell<ngx_msec_t>,
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
    pub(crate) fn shared_cache(&self) -> Option<&Cache> {
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

    /// The leeway of JWTs; 0 where none is verified, and it is that of DPoP proofs alone.
    pub(crate) fn jwt_leeway(&self) -> ngx_msec_t {
        if self.keys.is_null() { 0 } else { self.leeway }
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
        self.envelope == envelope::UNVERIFIED
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

    /// The headers that the gateway asserts, beside those of the JWT.
    pub(crate) fn set_headers(&self) -> &[SetHeader] {
        // SAFETY: the setter pushes SetHeaders and nothing else.
        unsafe { self.set_headers.as_ref().map_or(&[], |set_headers| set_headers.as_slice()) }
    }

    /// Whether one of them has this name.
    pub(crate) fn sets(&self, name: &[u8]) -> bool {
        // SAFETY: the names are the cycle's.
        self.set_headers()
            .iter()
            .any(|header| headers::same_name(name, unsafe { bytes_of(&header.name.text) }))
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

/// `create_loc_conf`
pub(crate) unsafe extern "C" fn create_location(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: NGINX calls with a live configuration and its pool.
        let pool = unsafe { Pool::from_ptr((*cf).pool) };
        let nowhere = Position::NOWHERE;
        pool.place(LocationConf {
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
            set_headers: ptr::null_mut(),
            preflight: UNSET,
            realm: ngx_str_t::empty(),
            scopes: ngx_str_t::empty(),
            resource: ResourceConf::unset(nowhere),
            binding: UNSET,
            needs_binding: None,
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
            own_upstream: OwnUpstreamConf::new(),
            serves_stale: Cell::new(false),
            stale_silent_until: Cell::new(0),
            too_large_silent_until: Cell::new(0),
            realm_key: OnceCell::new(),
            facts_key: OnceCell::new(),
            server_number: OnceCell::new(),
            by_value_key: OnceCell::new(),
        })
        .map_or(ptr::null_mut(), |place| place.as_ptr().cast())
    })
}

/// The core module's configuration of the level that is read or merged.
pub(crate) fn core_location(cf: &ngx_conf_t) -> *mut ngx_http_core_loc_conf_t {
    // SAFETY: while an http block is read, `ctx` is the context of the level that is read or merged, with a
    // configuration of every module.
    unsafe {
        let context = cf.ctx.cast::<ngx_http_conf_ctx_t>();
        (*(*context).loc_conf.add(ngx_http_core_module.ctx_index)).cast()
    }
}
