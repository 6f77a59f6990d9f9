//! What lies where in facts, and how long they can be.

/// How many scopes of a token are kept, and how many audiences. A requirement that only a further one would
/// meet is not met.
pub const MAX_NAMES: usize = 64;

/// The longest facts, in bytes.
pub const MAX_LEN: usize = HEADER + DIGEST * (2 * MAX_NAMES + 3) + 2 * THUMBPRINT;

pub(super) const HEADER: usize = 4;
pub(super) const DIGEST: usize = 8;
pub(super) const THUMBPRINT: usize = 32;

pub(super) const SUBJECT: u8 = 1;
pub(super) const CLIENT: u8 = 2;
pub(super) const SESSION: u8 = 4;
pub(super) const CERTIFICATE: u8 = 8;
pub(super) const KEY: u8 = 16;
pub(super) const OTHER_BINDING: u8 = 32;
