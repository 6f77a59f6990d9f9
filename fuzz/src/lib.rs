//! What the targets share: the reference, the comparison with it, and how an input becomes an answer.

pub mod compare;
pub mod recipe;
pub mod reference;
pub mod template;
