//! Why the layout cannot be told.

use thiserror::Error;

/// Why the layout cannot be told. The texts name the field, for whoever reads the output of a failed build.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// The compiler's output is not an object file that can be read here.
    #[error("cannot read the object file of the layout probe: {0}")]
    Object(#[from] object::read::Error),
    /// A constant of the probe is missing from the object file: the compiler has optimised it away, or has
    /// written another kind of file.
    #[error(
        "the object file of the layout probe has no constant `{0}`: compile it without link-time optimisation"
    )]
    Missing(String),
    /// A bit-field does not lie within one 32-bit word, as all of NGINX's do with the ABIs that it supports.
    #[error("the C compiler spreads the bit-field `{field}` of `{structure}` over two words")]
    Spread {
        /// The structure.
        structure: &'static str,
        /// The bit-field.
        field: &'static str,
    },
}
