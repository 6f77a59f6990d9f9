//! What the authorization server said, kept in memory that all worker processes share.
//!
//! A cache is one region of bytes, with entries of any size up to the region's and without pointers, so
//! that every process may see it at another address. The region is divided into shards,
//! each with its own lock, by bits of the key. A process that is killed at whatever instruction costs at
//! most the entries of the shard that it was in.
//!
//! Memory: an entry whose JWT and facts have 1,260 bytes takes 1,408 bytes, index and all that is fixed
//! included at most 1,450 of a region of 256 KiB or more. The facts of a token with three scopes, an audience,
//! subject, client and session have 60.

mod body;
mod chain;
mod check;
mod copy;
mod entry;
mod handle;
mod order;
mod prefetch;
mod region;
mod shard;
mod unit;

pub use body::Body;
pub use copy::OtherSecret;
pub use entry::{LookUp, Stored};
pub use handle::{Cache, Stats};
pub use region::OpenError;
