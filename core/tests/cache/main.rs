//! The shared-memory cache from outside: one process and several, in order and damaged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod behaviour;
mod damage;
mod documents;
mod model;
mod overwritten;
mod processes;
mod resize;
mod support;
