//! Forms of any bytes: what the server decodes is what was put in, in exactly the room foretold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::form::{FormWriter, Full, basic_credentials, pair_len};
use phantom_token_fuzz::reference::{base64, form as reference};

type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

fuzz_target!(|input: (Pairs<'_>, u8)| {
    let (pairs, missing) = input;
    let len = pairs.iter().map(|(name, value)| pair_len(name, value)).sum::<usize>();
    // The first pair has no separator.
    let len = len.saturating_sub(1);
    let expected: Vec<_> =
        pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();

    let mut buffer = vec![0; len];
    let mut form = FormWriter::new(&mut buffer);
    for (name, value) in &pairs {
        assert_eq!(form.pair(name, value), Ok(()));
    }
    assert_eq!(form.len(), len);
    assert_eq!(reference::decode(form.written()).as_ref(), Some(&expected));

    // In less room, the pairs that fit are there and the others have left no trace.
    let mut buffer = vec![0xff; len.saturating_sub(usize::from(missing))];
    let room = buffer.len();
    let mut form = FormWriter::new(&mut buffer);
    let mut fitting = Vec::new();
    for ((name, value), pair) in pairs.iter().zip(&expected) {
        let before = form.len();
        match form.pair(name, value) {
            Ok(()) => fitting.push(pair.clone()),
            Err(Full) => {
                assert_eq!(form.len(), before);
                assert!(before + pair_len(name, value) - usize::from(before == 0) > room);
            }
        }
    }
    assert_eq!(reference::decode(form.written()), Some(fitting));
    let written = form.len();
    assert!(buffer[written..].iter().all(|&byte| byte == 0xff));

    if let Some((id, secret)) = pairs.first() {
        let value = basic_credentials(id, secret);
        let encoded = value.strip_prefix(b"Basic ").expect("the scheme");
        let pair = base64::decode_standard(encoded).expect("base64");
        let mut halves = pair.split(|&byte| byte == b':').map(reference::text);
        assert_eq!(halves.next(), Some(Some(id.to_vec())));
        assert_eq!(halves.next(), Some(Some(secret.to_vec())));
        assert_eq!(halves.next(), None);
    }
});
