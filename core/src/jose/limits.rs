//! How large keys and JWTs may be, and how many: what is beyond is refused before it costs anything.

/// The longest set that is read, in bytes. Chains of certificates make some of them long.
pub const MAX_SET: usize = 256 * 1024;

/// The most keys that a set may have.
pub const MAX_KEYS: usize = 64;

/// Shorter RSA keys are not safe (RFC 7518 section 3.3), longer ones take long.
pub(super) const MIN_RSA_BITS: usize = 2048;
pub(super) const MAX_RSA_BITS: usize = 8192;

/// The longest JWT that is verified, in bytes.
pub const MAX_JWT: usize = 1 << 20;

/// The longest header, in characters of base64url.
pub const MAX_HEADER: usize = 16 * 1024;

/// How many keys are tried for a JWT: those of its `kid`, or all that fit if it has none.
pub const MAX_TRIED: usize = 16;

/// The longest JWT that a client may present, in bytes: whatever anybody sends costs no more than that.
pub const MAX_PRESENTED: usize = 16 * 1024;

/// How many keys are tried for one of these.
pub const MAX_TRIED_PRESENTED: usize = 4;
