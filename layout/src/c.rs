//! The probe: a C file whose constants tell the layout.

use crate::Structure;

/// What a constant's name begins with.
pub(crate) const PREFIX: &str = "phantom_token_layout";

/// The text of a C file that tells the layout of `structures` when it is compiled.
///
/// `preamble` comes first: it includes the headers that declare them. A structure may stand there more than
/// once, with other fields.
pub fn c_source(preamble: &str, structures: &[Structure]) -> String {
    let mut text = format!("{preamble}\n#include <stddef.h>\n\n");
    for (index, &Structure { name, fields, bits, .. }) in structures.iter().enumerate() {
        if structures.iter().position(|first| first.name == name) == Some(index) {
            constant(&mut text, name, None, &format!("{{ sizeof({name}), _Alignof({name}) }}"));
        }
        for field in fields {
            let value = format!("{{ offsetof({name}, {field}), sizeof((({name} *) 0)->{field}) }}");
            constant(&mut text, name, Some(field), &value);
        }
        for field in bits {
            // Each bit of the field is 1, and of all others 0.
            let symbol = symbol(name, Some(field));
            text += &format!("const {name} {symbol} = {{ .{field} = -1 }};\n");
        }
    }
    text
}

fn constant(text: &mut String, structure: &str, field: Option<&str>, value: &str) {
    let symbol = symbol(structure, field);
    *text += &format!("const unsigned long long {symbol}[2] = {value};\n");
}

/// The name of the constant about a structure, or about a field of it.
pub(crate) fn symbol(structure: &str, field: Option<&str>) -> String {
    match field {
        Some(field) => format!("{PREFIX}_{structure}_{field}"),
        None => format!("{PREFIX}_{structure}"),
    }
}
