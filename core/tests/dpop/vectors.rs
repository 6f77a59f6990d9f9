//! The proofs of RFC 9449 itself.

use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phantom_token_core::dpop::{Base, Expect, ProofError, Proofs, Target};
use phantom_token_core::key::ProofKey;

/// Section 7.1: a request for a protected resource.
const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const TOKEN: &[u8] = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
/// Section 6.1.
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const ISSUED: i64 = 1_562_262_618_000;

/// Section 4.1: a token request, which has no token to be bound to.
const TOKEN_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

fn check(proof: &str, method: &str, url: &str, token: &[u8], now: i64) -> Result<u64, ProofError> {
    let thumbprint = URL_SAFE_NO_PAD.decode(JKT).unwrap().try_into().unwrap();
    let expect = Expect {
        method: method.as_bytes(),
        target: Target::new(Base::parse(url.as_bytes()).unwrap(), b""),
        token,
        thumbprint: &thumbprint,
        leeway: 0,
        nonce: None,
    };
    let mut proofs = Proofs::new(NonZeroUsize::MIN);
    proofs.check(proof.as_bytes(), &expect, &ProofKey::new(&[0; 32]), now).map(|proof| proof.until)
}

#[test]
fn a_request_for_a_protected_resource() {
    let url = "https://resource.example.org/protectedresource";
    let until = ISSUED as u64 / 1_000 + 60;
    assert_eq!(check(PROOF, "GET", url, TOKEN, ISSUED), Ok(until));
    assert_eq!(check(PROOF, "GET", url, TOKEN, ISSUED + 60_000), Ok(until));
    assert_eq!(check(PROOF, "GET", url, TOKEN, ISSUED + 60_001), Err(ProofError::TooOld));
    assert_eq!(check(PROOF, "GET", url, TOKEN, ISSUED - 1), Err(ProofError::NotYet));
    assert_eq!(check(PROOF, "POST", url, TOKEN, ISSUED), Err(ProofError::Method));
    assert_eq!(check(PROOF, "GET", url, b"other", ISSUED), Err(ProofError::Token));
    let other = "https://resource.example.org/other";
    assert_eq!(check(PROOF, "GET", other, TOKEN, ISSUED), Err(ProofError::Target));
}

#[test]
fn a_proof_without_a_token_is_none_here() {
    let found = check(TOKEN_REQUEST, "POST", "https://server.example.com/token", TOKEN, ISSUED);
    assert_eq!(found, Err(ProofError::Payload));
}
