//! What is made of several directives once all levels are read, and their contradictions.

use core::ptr;

use nginx_sys::{ngx_conf_t, ngx_http_core_loc_conf_t, ngx_msec_t};
use phantom_token_core::answer::Mode;
use phantom_token_core::challenge::{self, ChallengeFault};
use phantom_token_core::freshness::{Control, Freshness};
use phantom_token_core::reason::ChallengeError;

use super::choice::{accept_jwt, binding, control, forward};
use super::fault::{Fault, no_memory};
use super::http::main_conf;
use super::location::{self, LocationConf};
use super::policy::{self, Policy};
use crate::cache_zone::Zone;
use crate::headers;
use crate::log::Shown;
use crate::nginx::bits::core_location;
use crate::pool::{Pool, bytes_of, string_over};

impl LocationConf {
    /// Completes a level that has inherited all it can.
    pub(super) fn conclude(&mut self, cf: &mut ngx_conf_t) -> Result<(), Fault> {
        self.zone = if self.cache == 1 { self.find_zone(cf)? } else { ptr::null() };
        if !self.is_on() {
            return Ok(());
        }
        let at = self.enabled_at;
        let fault = |text: &str| Err(Fault { text: text.into(), at });
        if self.question_uri().is_null() && must_have_endpoint(cf) {
            return fault(
                "\"phantom_token on\" needs \"phantom_token_introspection_endpoint\" or \
                 \"phantom_token_exchange\": name the internal location that asks the authorization \
                 server",
            );
        }
        if self.max_response == 0 {
            return fault("\"phantom_token_max_response 0\" leaves no room for any answer");
        }

        if self.binding != binding::OFF {
            main_conf(cf).takes_proofs.set(true);
        }
        // The core module has merged the level before.
        let core = core_of(cf);
        if !core.error_pages.is_null() || core.post_action.len != 0 {
            main_conf(cf).can_be_led_away.set(true);
        }
        self.check_binding(cf)?;
        self.check_keys(cf)?;
        self.verifies_presented = self.check_presented(cf)?;
        self.check_limit(cf)?;
        self.mode = self.find_mode()?;
        self.accepted = match self.mode {
            _ if self.accept.len != 0 => self.accept,
            Mode::Jwt => string_over(b"application/jwt"),
            Mode::Claims | Mode::Exchange => string_over(b"application/json"),
        };
        self.freshness = self.time_rules();
        // Beside a shorter life that a nearer level has set, an inherited one just does not come to pass.
        if self.says_refresh && self.refresh != 0 && self.refresh >= self.max_ttl {
            return Err(Fault {
                text: "\"phantom_token_cache_refresh\" is not shorter than \
                       \"phantom_token_cache_max_ttl\", and would never come to pass"
                    .into(),
                at: self.refresh_at,
            });
        }
        self.fixed_realm = self.is_realm_fixed();
        // SAFETY: the configuration's pool is the cycle's.
        let pool = unsafe { Pool::from_ptr(cf.pool) };
        self.name_headers(pool)?;
        self.policy =
            Policy::of(pool, self.required_scopes, self.required_audiences, self.requirements)
                .ok_or_else(|| no_memory(at))?;
        self.render_challenges(pool)?;
        self.describe_resource(cf, pool)?;
        self.find_variables(cf, pool).ok_or_else(|| no_memory(at))?;
        self.secret = main_conf(cf).secret;
        Ok(())
    }

    fn find_mode(&self) -> Result<Mode, Fault> {
        match (self.exchange(), self.forward) {
            (None, forward::CLAIMS) => Ok(Mode::Claims),
            (None, _) => Ok(Mode::Jwt),
            (Some(_), forward::CLAIMS) => Err(Fault {
                text: "\"phantom_token_forward claims\" cannot be used with \
                       \"phantom_token_exchange\", whose purpose is a JWT"
                    .into(),
                at: self.forward_at,
            }),
            (Some(_), _) => Ok(Mode::Exchange),
        }
    }

    /// What a JWT must say is not looked at where its signature is not: a configuration that relies on it would
    /// be an open door. A server block may leave the keys to its locations; who asks nobody needs none.
    fn check_keys(&self, cf: &ngx_conf_t) -> Result<(), Fault> {
        let relies_on_keys = !self.question_uri().is_null() && !has_locations(cf);
        if !self.keys.is_null() || !relies_on_keys {
            return Ok(());
        }
        match (self.needs_keys, self.leeway_at) {
            (Some((name, at)), _) => Err(Fault {
                text: format!(
                    "\"{name}\" needs \"phantom_token_jwks\": without keys nothing that a JWT says is \
                     verified"
                ),
                at,
            }),
            (None, Some(at)) if self.binding == binding::OFF => Err(Fault {
                text: "\"phantom_token_leeway\" needs \"phantom_token_jwks\", or a \"phantom_token_binding\" \
                       that is not off: neither JWTs nor DPoP proofs are verified"
                    .into(),
                at,
            }),
            _ => Ok(()),
        }
    }

    /// What is of use only where a binding is checked would look as if one were. A server block may leave that to its
    /// locations.
    fn check_binding(&self, cf: &ngx_conf_t) -> Result<(), Fault> {
        match self.needs_binding {
            Some((name, at)) if self.binding == binding::OFF && !has_locations(cf) => Err(Fault {
                text: format!(
                    "\"{name}\" is of no use with \"phantom_token_binding off\", which checks nothing of \
                     what a client shows: remove one of the two"
                ),
                at,
            }),
            _ => Ok(()),
        }
    }

    /// Whether JWTs that clients present can be verified. Nobody but they themselves say that they are access
    /// tokens for this place, so that issuer and audience must be named (RFC 9068 section 4). What a server block
    /// leaves to its locations is refused where it serves a request itself.
    fn check_presented(&self, cf: &ngx_conf_t) -> Result<bool, Fault> {
        if self.accept_jwt != accept_jwt::VERIFY || self.question_uri().is_null() {
            return Ok(false);
        }
        let is_for_somebody = !self.audiences.is_null()
            || !self.required_audiences.is_null()
            || !self.requirements.is_null();
        let text = if self.exchange().is_some() {
            "cannot be used with \"phantom_token_exchange\": a JWT that a client presents would go \
             upstream without having been exchanged"
        } else if self.keys.is_null() {
            "needs \"phantom_token_jwks\": without keys nothing that a JWT says is verified"
        } else if self.issuer.len == 0 {
            "needs \"phantom_token_issuer\": the keys alone do not tell whose JWT it is"
        } else if !is_for_somebody {
            "needs \"phantom_token_audience\": whatever the authorization server has signed would do, \
             ID tokens and tokens for others among it"
        } else {
            return Ok(true);
        };
        if has_locations(cf) {
            return Ok(false);
        }
        let text = format!("\"phantom_token_accept_jwt verify\" {text}");
        Err(Fault { text, at: self.accept_jwt_at })
    }

    /// The bound on questions in flight must be one that the zone can keep.
    fn check_limit(&self, cf: &ngx_conf_t) -> Result<(), Fault> {
        let limit = usize::try_from(self.max_introspections).unwrap_or(0);
        // SAFETY: a zone lives in the cycle's pool.
        let Some(zone) = (unsafe { self.zone.as_ref() }) else { return Ok(()) };
        if limit == 0 || limit > zone.max_flights() {
            let text = format!(
                "\"phantom_token_max_introspections\" is from 1 to {} with the zone \"{}\": a larger zone \
                 can keep more, up to 1024",
                zone.max_flights(),
                Shown(zone.name())
            );
            return Err(Fault { text, at: self.limited_at });
        }
        let largest = &main_conf(cf).max_introspections;
        largest.set(largest.get().max(limit));
        Ok(())
    }

    fn time_rules(&self) -> Freshness {
        let millis = |time: ngx_msec_t| i64::try_from(time).unwrap_or(i64::MAX);
        Freshness {
            max_ttl: millis(self.max_ttl),
            default_ttl: millis(self.default_ttl),
            negative_ttl: millis(self.negative_ttl),
            control: match self.cache_control {
                control::OBEY => Control::Obey,
                control::IGNORE => Control::Ignore,
                _ => Control::Lower,
            },
            refresh: millis(self.refresh),
            use_stale: millis(self.use_stale),
        }
    }

    /// Whether nothing of what a verdict belongs to has a variable in it.
    fn is_realm_fixed(&self) -> bool {
        // SAFETY: compiled values, or null.
        let (endpoint, cache_key) =
            unsafe { (self.question_uri().as_ref(), self.cache_key.as_ref()) };
        self.exchange()
            .into_iter()
            .flat_map(|exchange| exchange.fields().map(|(_, value)| value))
            .chain(self.parameters().iter().map(|parameter| &parameter.value))
            .chain(endpoint)
            .chain(cache_key)
            .all(|value| value.lengths.is_null())
    }

    fn name_headers(&mut self, pool: Pool<'_>) -> Result<(), Fault> {
        let at = self.enabled_at;
        // SAFETY: the strings are the cycle's.
        let (header, envelope_header) =
            unsafe { (bytes_of(&self.header), bytes_of(&self.envelope_header)) };
        if headers::same_name(header, envelope_header) {
            let text = format!(
                "\"phantom_token_envelope_header\" and \"phantom_token_header\" are both \"{}\"",
                Shown(header)
            );
            return Err(Fault { text, at });
        }
        for (directive, name) in
            [("phantom_token_header", header), ("phantom_token_envelope_header", envelope_header)]
        {
            if self.sets(name) {
                let text = format!(
                    "\"{directive}\" and \"phantom_token_set_header\" are both \"{}\"",
                    Shown(name)
                );
                return Err(Fault { text, at });
            }
        }
        self.forwards_authorization = header.eq_ignore_ascii_case(b"Authorization");
        let lowcase =
            |name: &[u8]| pool.string(&name.to_ascii_lowercase()).ok_or_else(|| no_memory(at));
        self.header_name = headers::Name::new(self.header, lowcase(header)?);
        self.envelope_name = headers::Name::new(self.envelope_header, lowcase(envelope_header)?);
        Ok(())
    }

    /// The scopes that a client is told to ask for: those of `phantom_token_scopes`, or, where that says nothing, those that
    /// a token has to have.
    pub(super) fn hinted_scopes(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: the string is the cycle's.
        let named = unsafe { bytes_of(&self.scopes) }.split(|&byte| byte == b' ');
        let named = named.filter(|scope| !scope.is_empty());
        let required = policy::texts(self.required_scopes);
        let required = required.take_while(|_| self.scopes.len == 0);
        named.chain(required)
    }

    fn render_challenges(&mut self, pool: Pool<'_>) -> Result<(), Fault> {
        let at = self.enabled_at;
        // SAFETY: the string is the cycle's.
        let realm = unsafe { bytes_of(&self.realm) };
        let scopes = self.hinted_scopes().collect::<Vec<_>>().join(&b' ');
        let required = policy::texts(self.required_scopes).collect::<Vec<_>>().join(&b' ');
        for (place, error) in self.challenges.iter_mut().zip([
            None,
            Some(ChallengeError::InvalidRequest),
            Some(ChallengeError::InvalidToken),
            Some(ChallengeError::InsufficientScope),
        ]) {
            let scopes = match error {
                Some(ChallengeError::InsufficientScope) if required.is_empty() => continue,
                Some(ChallengeError::InsufficientScope) => &required,
                _ => &scopes,
            };
            let text = challenge::render(realm, scopes, error, self.resource.resource())
                .map_err(|fault: ChallengeFault| Fault { text: fault.to_string(), at })?;
            *place = pool.string(&text).ok_or_else(|| no_memory(at))?;
        }
        for (place, error) in self.dpop_challenges.iter_mut().zip([
            None,
            Some(ChallengeError::InvalidRequest),
            Some(ChallengeError::InvalidToken),
            Some(ChallengeError::InsufficientScope),
            Some(ChallengeError::InvalidProof),
            Some(ChallengeError::UseNonce),
        ]) {
            let is_of_scope = error == Some(ChallengeError::InsufficientScope);
            let scopes = if is_of_scope { &required } else { &scopes };
            let text = challenge::render_dpop(realm, scopes, error, self.resource.resource())
                .map_err(|fault: ChallengeFault| Fault { text: fault.to_string(), at })?;
            *place = pool.string(&text).ok_or_else(|| no_memory(at))?;
        }
        Ok(())
    }

    fn find_variables(&mut self, cf: &mut ngx_conf_t, pool: Pool<'_>) -> Option<()> {
        // SAFETY: the strings are the cycle's.
        let (header, envelope_header) =
            unsafe { (bytes_of(&self.header), bytes_of(&self.envelope_header)) };
        let authorization = variable_index(cf, pool, b"authorization")?;
        let envelope = match envelope_header {
            b"" => authorization,
            name => variable_index(cf, pool, name)?,
        };
        // SAFETY: the source, null or not, is the cycle's.
        let source = unsafe { self.token_source.as_ref() };
        self.variables = [
            authorization,
            variable_index(cf, pool, b"cookie")?,
            variable_index(cf, pool, header)?,
            envelope,
            source.map_or(authorization, |source| source.index),
        ];
        Some(())
    }

    /// The zone that `phantom_token_cache` names, or the only one.
    fn find_zone(&self, cf: &ngx_conf_t) -> Result<*const Zone, Fault> {
        let zones = main_conf(cf).zones();
        // SAFETY: the string is the cycle's.
        let name = unsafe { bytes_of(&self.cache_zone_name) };
        if name.is_empty() {
            return match zones {
                [zone] => Ok(*zone),
                _ if !self.is_on() => Ok(ptr::null()),
                _ => Err(Fault {
                    text: "several \"phantom_token_cache_zone\" are declared: name the one to use \
                           with \"phantom_token_cache\" for the \"phantom_token on\""
                        .into(),
                    at: self.enabled_at,
                }),
            };
        }
        // SAFETY: zones live in the cycle's pool.
        zones.iter().find(|zone| unsafe { (***zone).name() } == name).copied().ok_or_else(|| {
            Fault {
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

/// The core module's configuration of the level that is merged now.
fn core_of(cf: &ngx_conf_t) -> &ngx_http_core_loc_conf_t {
    // SAFETY: NGINX changes nothing of it meanwhile.
    unsafe { &*location::core_location(cf) }
}

/// Whether the level is an `if` or `limit_except` block.
fn has_no_name(core: &ngx_http_core_loc_conf_t) -> bool {
    // SAFETY: whoever has a reference to it has it live.
    unsafe { core_location::NONAME.is_set(core) }
}

/// Whether it is a named location.
fn is_named(core: &ngx_http_core_loc_conf_t) -> bool {
    // SAFETY: as above.
    unsafe { core_location::NAMED.is_set(core) }
}

/// Whether it is that of a server block whose locations serve all.
fn has_locations(cf: &ngx_conf_t) -> bool {
    let core = core_of(cf);
    core.name.len == 0 && !has_no_name(core) && !core.locations.is_null()
}

/// Whether the level that is merged now serves clients: `internal` and named locations only inherit
/// `on`, and a server block whose locations serve all may leave the endpoint to them. A request that
/// gets through to such a level all the same is refused.
fn must_have_endpoint(cf: &ngx_conf_t) -> bool {
    let core = core_of(cf);
    let is_server = core.name.len == 0 && !has_no_name(core);
    if is_server {
        return core.locations.is_null();
    }
    // `if` and `limit_except` blocks belong to a level that was looked at itself.
    !has_no_name(core) && !is_named(core) && core.internal == 0
}
