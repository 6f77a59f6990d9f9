//! The constants in an object file.

use std::collections::HashMap;

use object::{Object, ObjectSection, ObjectSymbol};

use crate::LayoutError;

/// The constants in an object file, by name.
pub(crate) struct Image<'o> {
    constants: HashMap<String, &'o [u8]>,
    is_little_endian: bool,
}

impl<'o> Image<'o> {
    /// Finds every constant whose name begins with `prefix`.
    pub(crate) fn read(object: &'o [u8], prefix: &str) -> Result<Self, LayoutError> {
        let file = object::File::parse(object)?;
        let mut constants = HashMap::new();
        for symbol in file.symbols() {
            // Some systems put an underscore before the names of C.
            let Some(name) = symbol.name().ok().and_then(|name| name.get(name.find(prefix)?..))
            else {
                continue;
            };
            let Some(index) = symbol.section_index() else { continue };
            let section = file.section_by_index(index)?;
            if let Some(bytes) = section.data_range(symbol.address(), symbol.size())? {
                constants.insert(name.to_owned(), bytes);
            }
        }
        Ok(Self { constants, is_little_endian: file.is_little_endian() })
    }

    /// The bytes of a constant.
    pub(crate) fn bytes(&self, name: &str) -> Result<&'o [u8], LayoutError> {
        self.constants.get(name).copied().ok_or_else(|| LayoutError::Missing(name.to_owned()))
    }

    /// A constant that is a pair of numbers.
    pub(crate) fn pair(&self, name: &str) -> Result<(u64, u64), LayoutError> {
        let missing = || LayoutError::Missing(name.to_owned());
        let (first, second) = self.bytes(name)?.split_first_chunk().ok_or_else(missing)?;
        let second = second.first_chunk().ok_or_else(missing)?;
        Ok(match self.is_little_endian {
            true => (u64::from_le_bytes(*first), u64::from_le_bytes(*second)),
            false => (u64::from_be_bytes(*first), u64::from_be_bytes(*second)),
        })
    }

    /// Four bytes as the target reads them.
    pub(crate) fn word(&self, bytes: [u8; 4]) -> u32 {
        if self.is_little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    }
}
