//! Asking the processor for memory before it is needed.

/// Bytes that come at once.
const LINE: usize = 64;

/// Has `LEN` bytes come from wherever they are; goes on without them. A hint: any address will do.
#[inline]
pub(super) fn prefetch<const LEN: usize>(from: *const u8) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..LEN).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: never faults, reads nothing into the program.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast::<i8>().wrapping_add(offset)) };
    }
    // Elsewhere the standard library offers no such thing, and what is asked for comes when it is read.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}
