//! The shared-memory cache from outside: one process and several, in order and damaged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod behaviour;
mod damage;
mod documents;
mod junk;
mod ledger;
mod model;
mod overwritten;
mod processes;
#[path = "../support/random.rs"]
mod random;
mod resize;
#[path = "../support/processes.rs"]
mod shared;
mod support;
mod survival;
