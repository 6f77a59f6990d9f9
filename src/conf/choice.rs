//! The values of directives that take one of a few words.

/// `phantom_token_forward`.
pub(crate) mod forward {
    use nginx_sys::ngx_uint_t;

    /// The JWT goes upstream in the token's place.
    pub(crate) const JWT: ngx_uint_t = 0;
    /// Nothing does; the claims are there as variables.
    pub(crate) const CLAIMS: ngx_uint_t = 1;
}

/// `phantom_token_envelope`.
pub(crate) mod envelope {
    use nginx_sys::ngx_uint_t;

    /// A signed introspection answer counts if its signature is verified.
    pub(crate) const VERIFIED: ngx_uint_t = 0;
    /// It counts as it is.
    pub(crate) const UNVERIFIED: ngx_uint_t = 1;
}

/// `phantom_token_preflight`.
pub(crate) mod preflight {
    use nginx_sys::ngx_uint_t;

    /// A CORS preflight is answered here.
    pub(crate) const ANSWER: ngx_uint_t = 0;
    /// It goes upstream without credentials.
    pub(crate) const PASS: ngx_uint_t = 1;
    /// It is a request like any other.
    pub(crate) const CHECK: ngx_uint_t = 2;
}

/// `phantom_token_binding`.
pub(crate) mod binding {
    use nginx_sys::ngx_uint_t;

    /// `cnf` is ignored.
    pub(crate) const OFF: ngx_uint_t = 0;
    /// A token with `cnf` is refused unless its binding is proven.
    pub(crate) const OPTIONAL: ngx_uint_t = 1;
    /// A token without `cnf` is refused as well.
    pub(crate) const REQUIRED: ngx_uint_t = 2;
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
