//! Signs what `scripts/bench` sends: by keys that are made for the run, and never leave it.
//!
//! `signer token CLAIMS` prints a JWT with these claims, signed with RS256, and the JWK set that it is verified by.
//!
//! `signer proofs URL TOKEN` prints the thumbprint of a key that tokens can be bound to (`jkt`, RFC 9449 section 6).
//! Each line `COUNT FILE` of its input is then answered with COUNT, when as many DPoP proofs are in that file: by this
//! key with ES256, for a GET of that URL with that token, made now, a line each.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead as _, BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

#[path = "../tests/jose/support.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod keys;
#[path = "../tests/dpop/support.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod support;

use keys::{base64, new_p256, new_rsa, set_of};
use support::{header, thumbprint};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["token", claims] => {
            token(claims);
            Ok(())
        }
        ["proofs", url, token] => proofs(url, token),
        _ => Err("usage: signer token CLAIMS | signer proofs URL TOKEN".into()),
    }
}

fn token(claims: &str) {
    let pair = new_rsa();
    println!(
        "{}",
        pair.jwt("RS256", r#"{"alg":"RS256","kid":"benchmark","typ":"at+jwt"}"#, claims)
    );
    let members = format!(r#""kid":"benchmark","use":"sig","alg":"RS256",{}"#, pair.members());
    println!("{}", set_of(&[members]));
}

fn proofs(url: &str, token: &str) -> Result<(), Box<dyn Error>> {
    let pair = new_p256();
    let (header, ath) = (header("ES256", &pair), base64(Sha256::digest(token)));
    println!("{}", base64(thumbprint(&pair)));
    let mut made = 0_u64;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (count, file) = line.split_once(' ').ok_or("a line is COUNT FILE")?;
        let count: u64 = count.parse()?;
        let mut file = BufWriter::new(File::create(file)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        for _ in 0..count {
            made += 1;
            // As long as that of a UUID.
            let jti = format!("{made:036}");
            let payload =
                format!(r#"{{"htm":"GET","htu":"{url}","iat":{now},"jti":"{jti}","ath":"{ath}"}}"#);
            writeln!(file, "{}", pair.jwt("ES256", &header, &payload))?;
        }
        file.flush()?;
        println!("{count}");
    }
    Ok(())
}
