//! Secrets for hashes.

/// 32 random bytes; `None`: the system has none to give.
pub(crate) fn secret() -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    // SAFETY: the buffer is of the length that is said.
    let got = unsafe { libc::getrandom(secret.as_mut_ptr().cast(), secret.len(), 0) };
    (usize::try_from(got) == Ok(secret.len())).then_some(secret)
}
