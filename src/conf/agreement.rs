//! Whether a verdict of one location is one for another as well.

use core::ptr;

use nginx_sys::ngx_str_t;

use super::location::LocationConf;
use crate::keys::Keys;
use crate::pool::bytes_of;

impl LocationConf {
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

    /// Whether a verdict of `other` is one for this location, which asks nobody: what this one wants verified was.
    pub(crate) fn trusts(&self, other: &Self) -> bool {
        (self.keys().is_none() && self.needs_keys.is_none()) || self.verifies_as(other)
    }
}
