//! What came of a question, for those who wait.

use phantom_token_core::reason::Reason;

use crate::context::Outcome;

/// What came of a question.
pub(super) enum Concluded {
    /// Something for all who wait.
    Outcome(Outcome),
    /// The keys are there, or the last good ones go on since others could not be had: all who wait look again.
    Keys(Option<Reason>),
    /// The JWT may be right by keys that are to be fetched first: all who wait do that, and ask again.
    Doubtful,
}
