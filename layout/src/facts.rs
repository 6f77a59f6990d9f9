//! What the C compiler says of each structure.

use crate::c::{PREFIX, symbol};
use crate::image::Image;
use crate::{LayoutError, Structure};

/// Where a bit-field is: some bits of a 32-bit word that lies at `offset` bytes within its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Where the word begins, in bytes.
    pub offset: usize,
    /// The bits of the field in that word, as the target reads it.
    pub mask: u32,
}

/// What the C compiler says of some structures.
#[derive(Debug)]
pub struct Layout {
    pub(crate) structures: Vec<Told>,
}

/// What it says of one structure.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) structure: Structure,
    pub(crate) size: u64,
    pub(crate) alignment: u64,
    /// Name, offset and size of each field.
    pub(crate) fields: Vec<(&'static str, u64, u64)>,
    pub(crate) bits: Vec<(&'static str, Bits)>,
}

impl Layout {
    /// Reads an object file that was compiled from the [`crate::c_source`] of `structures`.
    ///
    /// # Errors
    /// If it is not one, or a bit-field lies where it cannot be read as part of one word.
    pub fn read(object: &[u8], structures: &[Structure]) -> Result<Self, LayoutError> {
        let image = Image::read(object, PREFIX)?;
        let structures = structures
            .iter()
            .map(|structure| Told::read(&image, structure))
            .collect::<Result<_, _>>()?;
        Ok(Self { structures })
    }

    /// Where a bit-field is; `None`: nothing was asked about it.
    pub fn bits(&self, structure: &str, field: &str) -> Option<Bits> {
        let told = self.structures.iter().filter(|told| told.structure.name == structure);
        told.flat_map(|told| &told.bits).find(|(name, _)| *name == field).map(|&(_, bits)| bits)
    }
}

impl Told {
    fn read(image: &Image<'_>, &structure: &Structure) -> Result<Self, LayoutError> {
        let name = structure.name;
        let (size, alignment) = image.pair(&symbol(name, None))?;
        let mut fields = Vec::new();
        for &field in structure.fields {
            let (offset, size) = image.pair(&symbol(name, Some(field)))?;
            fields.push((field, offset, size));
        }
        let mut bits = Vec::new();
        for &field in structure.bits {
            let bytes = image.bytes(&symbol(name, Some(field)))?;
            let found =
                Bits::find(image, bytes).ok_or(LayoutError::Spread { structure: name, field })?;
            bits.push((field, found));
        }
        Ok(Self { structure, size, alignment, fields, bits })
    }
}

impl Bits {
    /// The only bits that are set in `bytes`.
    fn find(image: &Image<'_>, bytes: &[u8]) -> Option<Self> {
        let first = bytes.iter().position(|&byte| byte != 0)?;
        let offset = first - first % size_of::<u32>();
        let (word, rest) = bytes.get(offset..)?.split_first_chunk()?;
        rest.iter().all(|&byte| byte == 0).then(|| Self { offset, mask: image.word(*word) })
    }
}
