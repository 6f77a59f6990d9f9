//! Client certificates, in whatever form a TLS offloader hands them on: the thumbprint is that of the DER which a
//! reading as a whole finds, and there is none where that finds none. An input is a value as it stands, and then the
//! inside of a certificate that is put into a form, and changed in one place: its last four bytes say which form,
//! where and into what.
#![no_main]

use aws_lc_rs::digest::{SHA256, digest};
use libfuzzer_sys::fuzz_target;
use phantom_token_core::certificate::thumbprint;
use phantom_token_fuzz::reference::certificate as reference;

/// The shortest content that is a certificate's, for an encoding of its length.
const SHORTEST: usize = 128;

fuzz_target!(|input: &[u8]| {
    compare(input);

    let Some((content, &[form, high, low, byte])) = input.split_last_chunk() else { return };
    let mut content = content.to_vec();
    content.truncate(usize::from(u16::MAX));
    content.resize(content.len().max(SHORTEST), low);
    let der = reference::sequence(&content);
    let mut value = reference::form(&der, form);
    assert_eq!(thumbprint(&value), Ok(sha256(&der)));
    let at = usize::from(u16::from_be_bytes([high, low])) % value.len();
    compare(&value[..at]);
    value[at] = byte;
    compare(&value);
    value.remove(at);
    compare(&value);
});

fn compare(value: &[u8]) {
    let expected = reference::der(value).map(|der| sha256(&der));
    assert_eq!(thumbprint(value).ok(), expected);
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes")
}
