//! What an answer comes to.

use core::fmt;

use crate::record::Record;

/// What the authorization server says of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The token is active.
    Active {
        /// What [`Record::document`] says. What goes upstream of it is three parts of base64url, and
        /// nothing else.
        document: &'a [u8],
        /// The JSON object whose members are its claims: what [`crate::claims::object`] reads in it.
        claims: &'a [u8],
        /// What is known of the token.
        record: Record,
    },
    /// The token is not active, or not an access token.
    Inactive(Record),
    /// The server says active, but `exp` has passed at [`super::Reading::now`].
    Expired(Record),
}

impl fmt::Debug for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active { record, .. } => {
                f.debug_struct("Active").field("record", record).finish_non_exhaustive()
            }
            Self::Inactive(record) => f.debug_tuple("Inactive").field(record).finish(),
            Self::Expired(record) => f.debug_tuple("Expired").field(record).finish(),
        }
    }
}
