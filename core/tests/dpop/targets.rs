//! What is the same URL, and what is not.

use phantom_token_core::dpop::{Base, BaseFault, ProofError, Target};
use phantom_token_core::key::ProofKey;
use proptest::prelude::*;

use crate::keys::p256;
use crate::support::*;

/// Whether a proof of that URL is one for a request of `path` below `base`.
fn is(htu: &str, base: Base<'_>, path: &str) -> bool {
    let key = thumbprint(p256());
    let mut expect = expect(&key);
    expect.target = Target::new(base, path.as_bytes());
    let htu = htu.replace('\\', "\\\\").replace('"', "\\\"");
    let payload = good_payload().replace("\"https://api.example/things\"", &format!("\"{htu}\""));
    let jwt = p256().jwt("ES256", &header("ES256", p256()), &payload);
    match proofs().check(jwt.as_bytes(), &expect, &ProofKey::new(&SECRET), NOW) {
        Ok(_) => true,
        Err(ProofError::Target) => false,
        Err(error) => panic!("{htu}: {error}"),
    }
}

fn base(text: &str) -> Base<'_> {
    Base::parse(text.as_bytes()).unwrap()
}

#[test]
fn the_same_url() {
    for (htu, at, path) in [
        ("https://api.example/a", "https://api.example", "/a"),
        ("HTTPS://API.Example/a", "https://api.example", "/a"),
        ("https://api.example:443/a", "https://api.example", "/a"),
        ("https://api.example/a", "https://api.example:443", "/a"),
        ("https://api.example:/a", "https://api.example", "/a"),
        ("https://api.example:0443/a", "https://api.example", "/a"),
        ("http://api.example:80/a", "http://api.example/", "/a"),
        ("http://api.example:8080/a", "http://api.example:8080", "/a"),
        ("https://[2001:DB8::1]/a", "https://[2001:db8::1]:443", "/a"),
        ("https://api.example./a", "https://api.example", "/a"),
        ("https://api.example/a", "https://api.example.:443", "/a"),
        ("https://api.example.:8443/a", "https://api.example.:8443", "/a"),
        ("https://api.example", "https://api.example", "/"),
        ("https://api.example/", "https://api.example", "/?x=1"),
        ("https://api.example?x#y", "https://api.example", "/"),
        ("https://api.example/a?x=1", "https://api.example", "/a?y=2"),
        ("https://api.example/a#x?y", "https://api.example", "/a"),
        ("https://api.example/%7euser/%2f%C3%a4", "https://api.example", "/~user/%2F%c3%A4"),
        ("https://api.example/a:b@c", "https://api.example", "/a:b@c"),
        ("https://api.example/a|b/[c]", "https://api.example", "/a|b/[c]"),
        ("https://api.example/%", "https://api.example", "/%"),
        ("https://api.example/v1/a", "https://api.example/v1", "/a"),
        ("https://api.example/v1/a", "https://api.example/v1/", "/a"),
        ("https://api.example/v1/", "https://api.example/v1/", "/"),
    ] {
        assert!(is(htu, base(at), path), "{htu} at {at} for {path}");
    }
}

#[test]
fn another_url() {
    for (htu, at, path) in [
        ("http://api.example/a", "https://api.example", "/a"),
        ("https://api.example:80/a", "https://api.example", "/a"),
        ("https://api.example:444/a", "https://api.example", "/a"),
        ("https://api.example:443x/a", "https://api.example", "/a"),
        ("https://api.example:65979/a", "https://api.example", "/a"),
        ("https://api.example.evil/a", "https://api.example", "/a"),
        ("https://api.example../a", "https://api.example", "/a"),
        ("https://api.example..:443/a", "https://api.example.", "/a"),
        ("https://.api.example/a", "https://api.example", "/a"),
        ("https://api.example@evil/a", "https://api.example", "/a"),
        ("https://user@api.example/a", "https://api.example", "/a"),
        ("https://[2001:db8::1/a", "https://[2001:db8::1]", "/a"),
        ("https:///a", "https://api.example", "/a"),
        ("https:/api.example/a", "https://api.example", "/a"),
        ("//api.example/a", "https://api.example", "/a"),
        ("/a", "https://api.example", "/a"),
        ("", "https://api.example", "/a"),
        ("https://api.example/A", "https://api.example", "/a"),
        ("https://api.example/a/", "https://api.example", "/a"),
        ("https://api.example/", "https://api.example", "/a"),
        ("https://api.example", "https://api.example", "/a"),
        ("https://api.example/a", "https://api.example", "/"),
        ("https://api.example/a%2Fb", "https://api.example", "/a/b"),
        ("https://api.example/a%3Fb", "https://api.example", "/a?b"),
        ("https://api.example/a/../b", "https://api.example", "/b"),
        ("https://api.example/a", "https://api.example/v1", "/a"),
        ("https://api.example/v1", "https://api.example/v1", "/"),
        ("https://api.example/%2561", "https://api.example", "/a"),
    ] {
        assert!(!is(htu, base(at), path), "{htu} at {at} for {path}");
    }
}

#[test]
fn hosts_of_requests() {
    let at = |authority: &'static [u8]| Base::of_host(true, authority);
    assert!(is("https://api.example/a", at(b"Api.Example"), "/a"));
    assert!(is("https://api.example/a", at(b"api.example:443"), "/a"));
    assert!(!is("https://api.example/a", Base::of_host(false, b"api.example"), "/a"));
    // Whatever a request has said: nothing but a host counts.
    for authority in
        [&b""[..], b".", b".:443", b"user@api.example", b":443", b"api.example:x", b"api.example/x"]
    {
        let shown = authority.escape_ascii().to_string();
        for htu in [format!("https://{shown}/a"), "https://api.example/a".to_owned()] {
            let found = is(&htu, Base::of_host(true, authority), "/a");
            assert!(!found, "{htu} for {shown}");
        }
    }
}

#[test]
fn bases() {
    for (text, fault) in [
        ("api.example", BaseFault::NotUrl),
        ("/a", BaseFault::NotUrl),
        ("https://api example", BaseFault::NotUrl),
        ("https://api.example/ä", BaseFault::NotUrl),
        ("https://$host", BaseFault::Variable),
        ("https://api.example/?a", BaseFault::Query),
        ("https://api.example#a", BaseFault::Query),
        ("https://user@api.example", BaseFault::User),
        ("https:///a", BaseFault::Scheme),
        ("https:a", BaseFault::Scheme),
        ("https://:443", BaseFault::Scheme),
        ("https://.:443", BaseFault::Scheme),
        ("https://api.example:99999", BaseFault::Scheme),
        ("ftp://api.example", BaseFault::Scheme),
    ] {
        assert_eq!(Base::parse(text.as_bytes()), Err(fault), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What of a path is encoded does not matter, where it is unreserved; anything else does.
    #[test]
    fn any_path(path in "(/[a-z0-9._~%-]{0,6}){1,4}", at in any::<prop::sample::Index>(), upper: bool) {
        let path = path.replace('%', "%2F");
        let url = format!("https://api.example{path}");
        let places: Vec<_> =
            (0..path.len()).filter(|&at| path.is_char_boundary(at)).collect();
        let at = places[at.index(places.len())];
        let byte = path.as_bytes()[at];
        let encoded = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        let other = format!("{}{encoded}{}", &path[..at], &path[at + 1..]);
        let is_unreserved = byte != b'/' && byte != b'%'
            && !path[..at].ends_with('%') && !path[..at].ends_with("%2");
        prop_assert!(is(&url, base("https://api.example"), &path));
        prop_assert_eq!(is(&url, base("https://api.example"), &other), is_unreserved);
    }

    #[test]
    fn any_text(htu in "[ -~]{0,40}", authority: Vec<u8>, path: Vec<u8>) {
        let target = Target::new(Base::of_host(true, &authority), &path);
        let key = thumbprint(p256());
        let mut expect = expect(&key);
        expect.target = target;
        let payload = format!("{{\"htu\":{}}}", serde_json::to_string(&htu).unwrap());
        let jwt = p256().jwt("ES256", &header("ES256", p256()), &payload);
        prop_assert!(proofs().check(jwt.as_bytes(), &expect, &ProofKey::new(&SECRET), NOW).is_err());
    }
}
