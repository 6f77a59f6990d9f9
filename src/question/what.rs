//! What is asked of the authorization server.

use crate::keys::Source;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) enum What<'t> {
    /// Whether the token is active.
    Token(&'t [u8]),
    /// For the keys.
    Keys(&'t Source),
}
