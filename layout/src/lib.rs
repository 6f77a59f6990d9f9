//! How the C compiler lays out NGINX's structures, as constants for Rust.
//!
//! bindgen guesses where a compiler puts each field; for bit-fields it has guessed wrong (rust-bindgen
//! issue 3384), and a module with a wrong guess builds, loads and misbehaves. So the compiler is asked:
//! [`c_source`] writes a C file of constants, one for each [`Structure`], field and bit-field; the build
//! script compiles it for the target; [`Layout::read`] takes the constants out of the object file, so that
//! nothing runs and a cross build works as well; [`Layout::rust_source`] writes the positions of all
//! bit-fields for Rust to use, and assertions that the bindings agree about everything else.

mod c;
mod error;
mod facts;
mod image;
mod rust;
mod structure;

pub use c::c_source;
pub use error::LayoutError;
pub use facts::{Bits, Layout};
pub use rust::Source;
pub use structure::Structure;
