//! Forms: what is written can be read back, by a decoder of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use phantom_token_core::form::{self, FormWriter, Full};
use proptest::prelude::*;

/// `application/x-www-form-urlencoded`, and nothing that it forbids.
fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = encoded.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [*bytes.next().unwrap(), *bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            plain => {
                assert!(plain.is_ascii_alphanumeric() || b"*-._".contains(&plain), "{plain:#x}");
                plain
            }
        });
    }
    out
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs() -> impl Strategy<Value = Pairs> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec((bytes(), bytes()), 1..5)
}

proptest! {
    // A failure prints its minimal input; no file is left behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forms_are_read_back(pairs in pairs()) {
        let room: usize = pairs.iter().map(|(name, value)| form::pair_len(name, value)).sum();
        // No `&` before the first pair.
        let mut buffer = vec![0; room - 1];
        let mut writer = FormWriter::new(&mut buffer);
        for (name, value) in &pairs {
            prop_assert_eq!(writer.pair(name, value), Ok(()));
        }
        prop_assert_eq!(writer.len(), room - 1);
        let read: Pairs = writer
            .written()
            .split(|&byte| byte == b'&')
            .map(|pair| {
                let (name, value) = pair.split_at(pair.iter().position(|&b| b == b'=').unwrap());
                (decode(name), decode(&value[1..]))
            })
            .collect();
        prop_assert_eq!(read, pairs);
    }

    #[test]
    fn one_byte_less_is_too_little(name: Vec<u8>, value: Vec<u8>) {
        let mut buffer = vec![0; form::pair_len(&name, &value) - 2];
        prop_assert_eq!(FormWriter::new(&mut buffer).pair(&name, &value), Err(Full));
    }

    #[test]
    fn credentials_are_read_back(id: Vec<u8>, secret: Vec<u8>) {
        let value = form::basic_credentials(&id, &secret);
        let encoded = value.strip_prefix(b"Basic ").unwrap();
        let mut pair = vec![0; encoded.len()];
        let len = STANDARD.decode_slice(encoded, &mut pair).unwrap();
        let (left, right) = pair[..len].split_at(pair.iter().position(|&b| b == b':').unwrap());
        prop_assert_eq!((decode(left), decode(&right[1..])), (id, secret));
    }
}
