//! The thumbprint of a client certificate, in the forms in which NGINX and TLS offloaders hand it on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Why a value is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Neither PEM nor base64, or not to the end.
    #[error("the client certificate is neither PEM nor base64")]
    Encoding,
    /// What was decoded is not one whole ASN.1 sequence.
    #[error("the client certificate is cut off, or no certificate")]
    Content,
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The SHA-256 of the DER of a certificate: `x5t#S256` before base64url (RFC 8705 section 3.1).
///
/// Takes PEM, of which the first certificate counts (the client's own, where a chain is handed on), also
/// percent-encoded as in NGINX's `$ssl_client_escaped_cert`, as forms are (`+` for a blank) or folded as in
/// `$ssl_client_cert`; base64 alone, or several joined by commas (Traefik); each of these in quotes (HAProxy's `%{+Q}`);
/// and base64 between colons (RFC 9440). Two values, as NGINX joins a repeated header, are refused.
///
/// # Errors
/// [`CertificateError`] for anything else.
pub fn thumbprint(value: &[u8]) -> Result<[u8; 32], CertificateError> {
    let value = match value {
        [b'"', quoted @ .., b'"'] if !quoted.contains(&b'"') => quoted,
        value => value,
    };
    let decodes = value.contains(&b'%');
    // Forms have `+` for a blank, and `%2B` for itself.
    let is_form = decodes && value.starts_with(b"-----BEGIN+");
    let mut bytes = Unescaped { rest: value, decodes, is_form }.peekable();
    // RFC 9440's colons are alphabet of neither form.
    let is_field = bytes.next_if_eq(&Ok(b':')).is_some();
    let is_pem = !is_field && bytes.peek() == Some(&Ok(b'-'));
    if is_pem {
        for expected in BEGIN {
            if bytes.next() != Some(Ok(*expected)) {
                return Err(CertificateError::Encoding);
            }
        }
    }

    let mut decoder = Decoder::new();
    let mut ended = false;
    while let Some(byte) = bytes.next() {
        match byte? {
            b'\r' | b'\n' | b'\t' | b' ' => {}
            b'-' if is_pem => {
                for expected in END.iter().skip(1) {
                    if bytes.next() != Some(Ok(*expected)) {
                        return Err(CertificateError::Encoding);
                    }
                }
                ended = is_chain(bytes.by_ref())?;
                break;
            }
            b',' if !is_pem && !is_field => {
                // The next certificate of a chain, without a blank before it: see below.
                let mut is_whole = false;
                for byte in bytes.by_ref() {
                    is_whole = match byte? {
                        b',' if is_whole => false,
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => true,
                        _ => return Err(CertificateError::Encoding),
                    };
                }
                if !is_whole {
                    return Err(CertificateError::Encoding);
                }
                break;
            }
            b':' if is_field => {
                ended = bytes.next().is_none();
                break;
            }
            byte => decoder.push(byte)?,
        }
    }
    if ended != (is_pem || is_field) {
        return Err(CertificateError::Encoding);
    }
    decoder.finish()
}

/// Whether what follows a certificate in PEM is nothing, or further ones of a chain.
///
/// NGINX joins header lines of one name by a comma and a blank: of two, the first may be the client's own invention. The
/// comma of a chain has the next certificate right behind it.
fn is_chain(
    rest: impl Iterator<Item = Result<u8, CertificateError>>,
) -> Result<bool, CertificateError> {
    let (mut has_begun, mut is_joined) = (false, true);
    for byte in rest {
        let byte = byte?;
        match byte {
            b'\r' | b'\n' | b'\t' | b' ' if !has_begun => continue,
            b'-' | b',' => {}
            _ if !has_begun => return Ok(false),
            _ => {}
        }
        if !is_joined && byte != b'-' {
            return Ok(false);
        }
        has_begun = true;
        is_joined = byte != b',';
    }
    Ok(is_joined)
}

/// The bytes of a value that may be percent-encoded.
struct Unescaped<'v> {
    rest: &'v [u8],
    decodes: bool,
    is_form: bool,
}

impl Iterator for Unescaped<'_> {
    type Item = Result<u8, CertificateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        if byte == b'+' && self.is_form {
            return Some(Ok(b' '));
        }
        if byte != b'%' || !self.decodes {
            return Some(Ok(byte));
        }
        let [high, low, rest @ ..] = rest else { return Some(Err(CertificateError::Encoding)) };
        self.rest = rest;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        Some(match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Ok((high << 4 | low) as u8),
            _ => Err(CertificateError::Encoding),
        })
    }
}

/// Decodes base64 into the hash, and looks at what ASN.1 says of the length.
struct Decoder {
    hasher: Sha256,
    encoded: [u8; 64],
    filled: usize,
    head: [u8; 4],
    len: usize,
    ended: bool,
}

impl Decoder {
    fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            encoded: [0; 64],
            filled: 0,
            head: [0; 4],
            len: 0,
            ended: false,
        }
    }

    fn push(&mut self, byte: u8) -> Result<(), CertificateError> {
        if let Some(place) = self.encoded.get_mut(self.filled) {
            *place = byte;
            self.filled += 1;
        }
        if self.filled == self.encoded.len() { self.decode() } else { Ok(()) }
    }

    fn decode(&mut self) -> Result<(), CertificateError> {
        let encoded = self.encoded.get(..self.filled).unwrap_or_default();
        if self.ended && !encoded.is_empty() {
            // Something follows the padding.
            return Err(CertificateError::Encoding);
        }
        self.ended = encoded.last() == Some(&b'=');
        let mut decoded = [0; 48];
        let len =
            STANDARD.decode_slice(encoded, &mut decoded).map_err(|_| CertificateError::Encoding)?;
        let decoded = decoded.get(..len).unwrap_or_default();
        if self.len == 0 {
            for (to, from) in self.head.iter_mut().zip(decoded) {
                *to = *from;
            }
        }
        self.hasher.update(decoded);
        self.len += len;
        self.filled = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<[u8; 32], CertificateError> {
        self.decode()?;
        // A certificate is a SEQUENCE of 128 to 65,535 bytes: the length takes one or two bytes (X.690
        // section 8.1.3), and no more than it needs (section 10.1).
        let said = match self.head {
            [0x30, 0x81, len @ 0x80..=0xff, _] => 3 + usize::from(len),
            [0x30, 0x82, high @ 1..=0xff, low] => 4 + usize::from(u16::from_be_bytes([high, low])),
            _ => return Err(CertificateError::Content),
        };
        if said == self.len {
            Ok(self.hasher.finalize().into())
        } else {
            Err(CertificateError::Content)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that have a certificate's outermost shape.
    fn der(len: usize) -> Vec<u8> {
        let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
        let mut der = if len < 256 { vec![0x30, 0x81, low] } else { vec![0x30, 0x82, high, low] };
        der.extend((0..len).map(|i| (i * 7) as u8));
        der
    }

    fn base64(bytes: &[u8]) -> String {
        let mut encoded = vec![0; bytes.len().div_ceil(3) * 4];
        let len = STANDARD.encode_slice(bytes, &mut encoded).unwrap();
        assert_eq!(len, encoded.len());
        String::from_utf8(encoded).unwrap()
    }

    fn pem(der: &[u8], newline: &str) -> String {
        let encoded = base64(der);
        let lines: Vec<_> =
            encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let (begin, end) = (std::str::from_utf8(BEGIN).unwrap(), std::str::from_utf8(END).unwrap());
        format!("{begin}{newline}{}{newline}{end}{newline}", lines.join(newline))
    }

    fn escaped(text: &str) -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect()
    }

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn every_form_of_every_length() {
        for len in (128..1_000).chain([65_535]) {
            let der = der(len);
            let expected = Ok(sha256(&der));
            let (lf, crlf) = (pem(&der, "\n"), pem(&der, "\r\n"));
            let encoded = base64(&der);
            for value in [
                lf.clone(),
                crlf,
                lf.replace('\n', "\n\t"),
                lf.trim_end().to_owned(),
                format!("{lf}{}", pem(b"another one", "\n")),
                escaped(&lf),
                escaped(&encoded),
                format!(":{encoded}:"),
                // Traefik: a chain.
                format!("{encoded},{}", base64(b"another one")),
                format!("{},{}", escaped(&encoded), escaped(&base64(b"another one"))),
                escaped(&format!("{encoded},{},{}", base64(b"another"), base64(b"one"))),
                format!("{},{}", escaped(&lf), escaped(&pem(b"another one", "\n"))),
                // HAProxy: in quotes.
                format!("\"{encoded}\""),
                format!("\"{}\"", lf.replace('\n', " ")),
                // Blanks as in a form.
                escaped(&lf).replace("%20", "+"),
                escaped(&lf.replace('\n', " ")).replace("%20", "+"),
                encoded,
            ] {
                assert_eq!(thumbprint(value.as_bytes()), expected, "{len}: {value}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let der = der(300);
        for whole in [pem(&der, "\n"), base64(&der), format!(":{}:", base64(&der))] {
            let whole = whole.trim_end();
            assert!(thumbprint(whole.as_bytes()).is_ok());
            for len in 0..whole.len() {
                assert!(thumbprint(&whole.as_bytes()[..len]).is_err(), "{len} of {whole}");
            }
        }
        let short = base64(&der[..der.len() - 1]);
        assert_eq!(thumbprint(short.as_bytes()), Err(CertificateError::Content));
    }

    #[test]
    fn other_things_are_no_certificate() {
        let whole = base64(&der(300));
        for value in [
            String::new(),
            "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----".to_owned(),
            pem(&der(300), "\n").replace("END CERTIFICATE", "END"),
            format!("{whole}AAAA"),
            format!(":{whole}:;v=1"),
            format!("{whole}%"),
            format!("{whole}%0"),
            format!("{whole}%zz"),
            // Two header lines, as NGINX joins them.
            format!("{whole}, {whole}"),
            format!(":{whole}:, :{whole}:"),
            format!("{}, {}", escaped(&pem(&der(300), "\n")), escaped(&pem(&der(300), "\n"))),
            format!("{}, {}", escaped(pem(&der(300), "\n").trim_end()), whole),
            format!("\"{whole}\", \"{whole}\""),
            format!("\"{whole}"),
            format!("{whole}\""),
            format!("\"\"{whole}\"\""),
            // Two lines, of which the first has the look of a chain.
            format!("{whole},AAAA, {whole}"),
            format!("{whole},, {whole}"),
            format!("{whole},\t{whole}"),
            format!("{whole},"),
            format!("{whole},,{whole}"),
            format!("{whole},-"),
            format!("{}-----, {}", pem(&der(300), "\n"), pem(&der(300), "\n")),
            format!("{},-----, {whole}", pem(&der(300), "\n")),
            format!("{},{whole}", pem(&der(300), "\n")),
            format!("{},", pem(&der(300), "\n")),
            format!("{}x", pem(&der(300), "\n")),
            // What is no escape is not one of the next certificate's either.
            format!("{}%:A-----BEGIN", escaped(&pem(&der(300), "\n"))),
            base64(b"a string"),
            whole.replace('A', "*"),
        ] {
            assert!(thumbprint(value.as_bytes()).is_err(), "{value}");
        }
    }

    /// DER has one way of writing a length (X.690 section 10.1).
    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_no_certificate() {
        let encoded = |head: &[u8], len: usize| base64(&[head, &vec![0; len]].concat());
        for (value, is_der) in [
            (encoded(&[0x30, 0x81, 0x80], 0x80), true),
            (encoded(&[0x30, 0x81, 0x7f], 0x7f), false),
            (encoded(&[0x30, 0x82, 0x01, 0x00], 0x100), true),
            (encoded(&[0x30, 0x82, 0x00, 0xff], 0xff), false),
            (encoded(&[0x30, 0x83, 0x00, 0x01, 0x00], 0x100), false),
            (encoded(&[0x30, 0x80], 0x80), false),
        ] {
            assert_eq!(thumbprint(value.as_bytes()).is_ok(), is_der, "{value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read(value in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = thumbprint(&value);
        }

        /// One letter changed: another certificate, or none.
        #[test]
        fn one_letter_makes_another(at in 0..400_usize, letter in "[A-Za-z0-9+/]") {
            let der = der(300);
            let mut encoded = base64(&der).into_bytes();
            let at = at % encoded.len();
            prop_assume!(encoded[at] != letter.as_bytes()[0]);
            encoded[at] = letter.as_bytes()[0];
            prop_assert_ne!(thumbprint(&encoded), Ok(sha256(&der)));
        }
    }
}
