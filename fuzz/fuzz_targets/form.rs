//! Forms of any bytes: as long as foretold, and without a byte that would need encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::form::{FormWriter, basic_credentials, pair_len};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (name, value) = input;
    let len = pair_len(name, value) - 1;
    let mut buffer = vec![0; len];
    let mut form = FormWriter::new(&mut buffer);
    assert_eq!(form.pair(name, value), Ok(()));
    assert_eq!(form.len(), len);
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"*-._+%=".contains(&byte);
    assert!(form.written().iter().all(plain));
    assert_eq!(form.written().iter().filter(|&&byte| byte == b'=').count(), 1);
    assert!(basic_credentials(name, value).starts_with(b"Basic "));
});
