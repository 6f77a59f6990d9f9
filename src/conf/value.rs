//! What directives of several parts came to.

use nginx_sys::{ngx_http_complex_value_t, ngx_str_t};
use phantom_token_core::dpop::Nonces;

use crate::headers;
use crate::pool::bytes_of;

/// `token=$variable [from=…]`: where the token is instead of `Authorization`.
pub(crate) struct TokenSource {
    /// The variable.
    pub(crate) value: *mut ngx_http_complex_value_t,
    /// The variable's name, and its index.
    pub(crate) name: ngx_str_t,
    pub(crate) index: usize,
    /// What the variable reads, so that it can be kept from the upstream.
    pub(crate) carrier: Carrier,
    /// `from=` has named it: the variable's name does not.
    pub(crate) is_carrier_named: bool,
}

/// What carries the token of a `token=` variable.
#[derive(Clone, Copy)]
pub(crate) enum Carrier {
    /// `$http_name`, `from=header:name`: the request header of this name, with `_` or `-`.
    Header(ngx_str_t),
    /// `$cookie_name`, `from=cookie:name`: the cookie of this name.
    Cookie(ngx_str_t),
    /// Anything else: left alone.
    Other,
}

impl Carrier {
    /// Whether the two are one.
    pub(crate) fn is(self, other: Self) -> bool {
        // SAFETY: names are the cycle's.
        unsafe {
            match (self, other) {
                (Self::Header(one), Self::Header(other)) => {
                    headers::same_name(bytes_of(&one), bytes_of(&other))
                }
                (Self::Cookie(one), Self::Cookie(other)) => bytes_of(&one) == bytes_of(&other),
                (Self::Other, Self::Other) => true,
                _ => false,
            }
        }
    }
}

/// One `phantom_token_introspection_parameter`.
pub(crate) struct Parameter {
    /// The form field's name.
    pub(crate) name: ngx_str_t,
    /// The form field's value.
    pub(crate) value: ngx_http_complex_value_t,
}

/// One `phantom_token_set_header`: what the gateway says under a name that no client may use.
pub(crate) struct SetHeader {
    pub(crate) name: headers::Name,
    /// Empty: the header does not go upstream.
    pub(crate) value: ngx_http_complex_value_t,
    /// The index of the variable that shows the header.
    pub(crate) variable: usize,
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
