//! The layout as Rust code: positions of bit-fields, and assertions about everything else.

use crate::facts::Told;
use crate::{Bits, Layout};

impl Layout {
    /// Rust code that names the position of each bit-field (`bits`), and does not compile where the
    /// bindings of the crate `nginx_sys` lay out a structure in another way (`agreement`). `nginx` is the
    /// version, for the messages.
    ///
    /// The code of the bit-fields needs a type `Bits<T>` in scope, with `const fn at(offset: usize, mask: u32)`.
    pub fn rust_source(&self, nginx: &str) -> Source {
        let mut bits = String::new();
        let mut agreement = String::new();
        let mut accessors =
            String::from("fn missed() -> Vec<&'static str> {\n    let mut missed = Vec::new();\n");
        for told in &self.structures {
            told.bits_source(&mut bits);
            told.agreement_source(nginx, &mut agreement);
            told.accessors_source(&mut accessors);
        }
        accessors += "    missed\n}\n";
        Source { bits, agreement, accessors }
    }
}

/// Rust code; see [`Layout::rust_source`].
#[derive(Debug)]
pub struct Source {
    /// A module for each structure that has bit-fields, with a constant for each of these.
    pub bits: String,
    /// Assertions.
    pub agreement: String,
    /// A function `missed` that lists the bit-fields that bindgen's accessors miss, by a function `hits`.
    pub accessors: String,
}

impl Told {
    fn bits_source(&self, text: &mut String) {
        if self.bits.is_empty() {
            return;
        }
        let (name, module) = (self.structure.name, self.structure.module);
        *text += &format!("/// `{name}`\npub(crate) mod {module} {{\n    use super::Bits;\n");
        for (field, Bits { offset, mask }) in &self.bits {
            let constant = field.to_uppercase();
            *text += &format!(
                "    /// `{field}`\n    pub(crate) const {constant}: Bits<nginx_sys::{name}> = Bits::at({offset}, {mask:#x});\n"
            );
        }
        *text += "}\n";
    }

    fn agreement_source(&self, nginx: &str, text: &mut String) {
        let Self { structure, size, alignment, .. } = self;
        let name = structure.name;
        *text += &format!(
            "const _: () = assert!(\n    size_of::<nginx_sys::{name}>() == {size} && align_of::<nginx_sys::{name}>() == {alignment},\n    \
             \"NGINX {nginx}: `{name}` has {size} bytes in C, aligned to {alignment}, but not in the Rust bindings\",\n);\n"
        );
        for (field, offset, size) in &self.fields {
            let escaped = escaped(field);
            *text += &format!(
                "const _: () = assert!(\n    core::mem::offset_of!(nginx_sys::{name}, {escaped}) == {offset}\n        \
                 && size_of_field(|it: *const nginx_sys::{name}| unsafe {{ &raw const (*it).{escaped} }}) == {size},\n    \
                 \"NGINX {nginx}: `{field}` of `{name}` is at byte {offset} in C and has {size} bytes, but not in the Rust \
                 bindings\",\n);\n"
            );
        }
    }
}

impl Told {
    fn accessors_source(&self, text: &mut String) {
        let name = self.structure.name;
        for (field, Bits { offset, mask }) in &self.bits {
            *text += &format!(
                "    if !hits(|it: &mut nginx_sys::{name}| it.set_{field}(!0), {offset}, {mask:#x}) {{\n        \
                 missed.push(\"`{field}` of `{name}`\");\n    }}\n"
            );
        }
    }
}

/// bindgen's name for a field whose name is a word of Rust's.
fn escaped(field: &str) -> String {
    match field {
        "type" => "type_".to_owned(),
        _ => field.to_owned(),
    }
}
