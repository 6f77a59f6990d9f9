//! The bindings agree with the C compiler about every structure that this module touches, or this does not
//! compile. The assertions are made for each build; see the crate phantom-token-layout.

/// The size of what a projection leads to.
const fn size_of_field<T, F>(_field: fn(*const T) -> *const F) -> usize {
    size_of::<F>()
}

include!(concat!(env!("OUT_DIR"), "/agreement.rs"));
