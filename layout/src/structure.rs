//! What is asked about.

/// A structure of C's, and what the module touches of it.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// The type in C, which has the same name in the Rust bindings.
    pub name: &'static str,
    /// The module of the generated Rust code that holds the positions of the bit-fields.
    pub module: &'static str,
    /// Fields that have an address.
    pub fields: &'static [&'static str],
    /// Bit-fields.
    pub bits: &'static [&'static str],
}
