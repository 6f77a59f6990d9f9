//! How large a proof may be, and how old.

/// The longest proof, in bytes.
pub const MAX_PROOF: usize = 8 * 1024;

/// For how long a proof is accepted after its `iat`, in seconds.
pub const MAX_AGE: u64 = 60;

/// The longest `jti`, in bytes.
pub(super) const MAX_JTI: usize = 512;
