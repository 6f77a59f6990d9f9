//! Whether bindgen's accessors of bit-fields hit what the C compiler means by them: `scripts/test` shows that
//! the layout probe tells the versions of NGINX where they do from those where they do not.

use std::mem::MaybeUninit;
use std::process::ExitCode;

/// Sets a bit-field by bindgen's accessor, in a structure of zeroes, and compares what has changed with what the C
/// compiler says.
fn hits<T>(set: fn(&mut T), offset: usize, mask: u32) -> bool {
    let mut structure = MaybeUninit::<T>::zeroed();
    // SAFETY: all zeroes are a valid value of NGINX's structures, and bytes of initialised memory may be read.
    let bytes = unsafe {
        set(structure.assume_init_mut());
        std::slice::from_raw_parts(structure.as_ptr().cast::<u8>(), size_of::<T>())
    };
    let mut expected = vec![0; bytes.len()];
    expected[offset..offset + size_of::<u32>()].copy_from_slice(&mask.to_ne_bytes());
    bytes == expected
}

include!(concat!(env!("OUT_DIR"), "/bindgen_bits.rs"));

fn main() -> ExitCode {
    let missed = missed();
    for field in &missed {
        println!("bindgen misses {field}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
