//! Whether a token that is active is good enough for a location, by the facts that are kept of it: the same on
//! a hit and on a miss.

use phantom_token_core::facts::{Digest, Facts, Kind};
use phantom_token_core::key::FactsKey;
use phantom_token_core::reason::Reason;

use crate::conf::LocationConf;
use crate::conf::policy::{Name, Policy};
use crate::context::{Carried, Context};
use crate::pool::bytes_of;
use crate::request::Request;

/// Why `location` refuses the request whose outcome carries this; `None`: it does not. The outcome must be
/// known to the context by now, since a requirement may ask for its claims.
#[inline]
pub(crate) fn objection(
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    carried: Carried,
) -> Option<Reason> {
    // SAFETY: the policy, null or not, is the cycle's.
    let policy = unsafe { location.policy.as_ref() }?;
    objection_of(policy, request, context, location, carried)
}

fn objection_of(
    policy: &Policy,
    request: Request<'_>,
    context: &Context,
    location: &LocationConf,
    carried: Carried,
) -> Option<Reason> {
    let (scopes, audiences) = (policy.scopes(), policy.audiences());
    if !scopes.is_empty() || !audiences.is_empty() {
        let facts = Facts::read(carried.facts());
        let key = key_of_facts(context, location, policy);
        let digest = |kind, name: &Name| match key {
            None => name.digest.get(),
            Some(key) => digest(key, kind, name),
        };
        let is_for = |name| facts.has_audience(digest(Kind::Audience, name));
        if !audiences.is_empty() && !audiences.iter().any(is_for) {
            return Some(Reason::Audience);
        }
        if !scopes.iter().all(|name| facts.has_scope(digest(Kind::Scope, name))) {
            return Some(Reason::InsufficientScope);
        }
    }
    for requirement in policy.requirements() {
        for value in requirement.values() {
            // SAFETY: the values were compiled for this configuration.
            match unsafe { request.evaluate(value) } {
                None => return Some(Reason::Internal),
                Some(b"" | b"0") => return Some(requirement.reason),
                Some(_) => {}
            }
        }
    }
    None
}

/// The key that the facts were made with, where that is not the one of the digests in the policy: an internal
/// redirect has led the request from a location with another zone.
fn key_of_facts<'l>(
    context: &Context,
    location: &'l LocationConf,
    policy: &Policy,
) -> Option<&'l FactsKey> {
    // SAFETY: the location that made the key, null or not, is the cycle's.
    let keyed_in = unsafe { context.keyed_in.get().as_ref() }.unwrap_or(location);
    if !core::ptr::eq(keyed_in, location) && keyed_in.secret() != location.secret() {
        return Some(keyed_in.facts_key());
    }
    if !policy.digested.get() {
        let key = location.facts_key();
        for (names, kind) in [(policy.scopes(), Kind::Scope), (policy.audiences(), Kind::Audience)]
        {
            names.iter().for_each(|name| name.digest.set(digest(key, kind, name)));
        }
        policy.digested.set(true);
    }
    None
}

fn digest(key: &FactsKey, kind: Kind, name: &Name) -> Digest {
    // SAFETY: the names are the cycle's.
    Digest::new(key, kind, unsafe { bytes_of(&name.text) })
}
