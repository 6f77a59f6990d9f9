//! What later checks need of a token, in a few bytes, made once when an answer is judged: no check on a hit
//! parses JSON.
//!
//! Scopes, audiences, subject, client and session are kept as digests of 64 bits under a key that is made of
//! the zone's secret: nobody can choose a name that is taken for another one, and no name can be read off. The
//! digests are those of the name alone, whatever realm or issuer it comes from: whoever is to find the entries
//! of a subject finds all of them, and at worst some of another issuer's, about which the server is asked once
//! more. The thumbprints of a binding are kept whole, since they are not secret and a check needs them.
//!
//! ```text
//! 0 │ scopes │ audiences │ others │ digests: scopes, audiences, subject, client, session │ thumbprints
//! ```
//!
//! The zero ends the document in front of it, as NGINX has it behind the values of its headers.

mod collect;
mod layout;
mod name;
mod read;

pub use collect::Collector;
pub use layout::{MAX_LEN, MAX_NAMES};
pub use name::{Digest, Kind};
pub use read::Facts;
