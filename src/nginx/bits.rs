//! Bit-fields of NGINX's structures, each where the C compiler has put it.
//!
//! No other file reads or writes one: bindgen's own accessors look in the wrong place for those of some
//! structures (rust-bindgen issue 3384). The positions are made for each build; see the crate
//! phantom-token-layout.

use core::marker::PhantomData;

/// A bit-field of `T`: some bits of a 32-bit word.
pub(crate) struct Bits<T> {
    /// Where the word begins, in bytes.
    offset: usize,
    mask: u32,
    of: PhantomData<T>,
}

impl<T> Bits<T> {
    const fn at(offset: usize, mask: u32) -> Self {
        let bits = Self { offset, mask, of: PhantomData };
        // What C wrote is read in Rust, and the reverse, with all other bits clear and with all of them set.
        let most = bits.read(u32::MAX);
        assert!(mask != 0 && offset + size_of::<u32>() <= size_of::<T>());
        assert!(most != 0 && bits.read(mask) == most && bits.read(!mask) == 0);
        assert!(bits.written(0, most) == mask && bits.written(u32::MAX, 0) == !mask);
        bits
    }

    /// The value.
    ///
    /// # Safety
    /// `it` is live.
    #[inline(always)]
    pub(crate) unsafe fn get(&self, it: *const T) -> u32 {
        // SAFETY: the word lies in the structure, as `at` has made sure.
        self.read(unsafe { it.byte_add(self.offset).cast::<u32>().read_unaligned() })
    }

    /// Whether it is not 0.
    ///
    /// # Safety
    /// `it` is live.
    #[inline(always)]
    pub(crate) unsafe fn is_set(&self, it: *const T) -> bool {
        // SAFETY: the caller says so.
        unsafe { self.get(it) != 0 }
    }

    /// Sets the value, of which the bits count that the field has room for. The bits beside it stay.
    ///
    /// # Safety
    /// `it` is live, and may be written to.
    #[inline(always)]
    pub(crate) unsafe fn set(&self, it: *mut T, value: u32) {
        // SAFETY: the word lies in the structure, as `at` has made sure.
        unsafe {
            let word = it.byte_add(self.offset).cast::<u32>();
            word.write_unaligned(self.written(word.read_unaligned(), value));
        }
    }

    const fn read(&self, word: u32) -> u32 {
        (word & self.mask) >> self.mask.trailing_zeros()
    }

    const fn written(&self, word: u32, value: u32) -> u32 {
        (word & !self.mask) | ((value << self.mask.trailing_zeros()) & self.mask)
    }
}

include!(concat!(env!("OUT_DIR"), "/bits.rs"));
