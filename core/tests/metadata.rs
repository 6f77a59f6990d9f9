//! Any text as an identifier: what is taken for one leads to its document and back, and never out of a header.

use phantom_token_core::challenge;
use phantom_token_core::metadata::{BearerMethod, Description, Document, Resource, issuer};
use proptest::prelude::*;
use serde_json::Value;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Mostly URLs, with what could lead out of them.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[a-z0-9.]{0,8}",
        4 => proptest::sample::select(vec!["/", "?", "&", "=", ":", "%20", "%2F", "%C3%A4", "[::1]"])
            .prop_map(str::to_owned),
        1 => proptest::sample::select(vec!["#", "@", "\"", "\\", "\r\n", " ", "..", "//", "%", "%00", "$", "ä", "\0"])
            .prop_map(str::to_owned),
    ];
    let scheme = proptest::sample::select(vec!["https://", "https://", "https://", "http://", ""]);
    (scheme, proptest::collection::vec(piece, 0..8))
        .prop_map(|(scheme, pieces)| format!("{scheme}{}", pieces.concat()))
}

/// RFC 9728 section 3.1, read backwards: the identifiers whose document is at `url`.
fn identifiers_of(url: &str) -> Vec<String> {
    let (origin, rest) = url.split_once(WELL_KNOWN).expect("a well-known URL");
    if rest.starts_with('/') {
        return vec![format!("{origin}{rest}")];
    }
    vec![format!("{origin}{rest}"), format!("{origin}/{rest}")]
}

proptest! {
    #[test]
    fn an_identifier_leads_to_its_document_and_back(text in text()) {
        let Ok(resource) = Resource::parse(text.as_bytes()) else { return Ok(()) };
        prop_assert_eq!(resource.as_str(), &text);
        let url = resource.metadata_url();
        prop_assert!(identifiers_of(&url).contains(&text), "{}", url);
        let path = resource.metadata_path();
        prop_assert!(path.starts_with(WELL_KNOWN.as_bytes()) && !path.contains(&0));
        let is_url = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>^`{|}#$".contains(&byte);
        prop_assert!(url.bytes().all(is_url), "{}", url);

        let challenge = challenge::render(b"api", b"", None, Some(resource)).unwrap();
        let expected = format!("Bearer realm=\"api\", resource_metadata=\"{url}\"");
        prop_assert_eq!(String::from_utf8(challenge).unwrap(), expected);
    }

    #[test]
    fn what_is_said_is_in_the_document(
        text in text(),
        server in text(),
        scopes in proptest::collection::vec("[!#-\\[\\]-~]{1,12}", 0..6),
        certificate_bound in any::<bool>(),
        takes_proofs in any::<bool>(),
    ) {
        let Ok(resource) = Resource::parse(text.as_bytes()) else { return Ok(()) };
        let mut document = Document::new(resource);
        let description = Description {
            authorization_servers: issuer(server.as_bytes()).into_iter().collect(),
            scopes: scopes.iter().map(String::as_str).collect(),
            bearer_method: Some(BearerMethod::Header),
            certificate_bound,
            takes_proofs,
        };
        document.add(&description).unwrap();

        let json: Value = serde_json::from_str(&document.to_json()).expect("JSON");
        prop_assert_eq!(json["resource"].as_str(), Some(&text[..]));
        let list = |name: &str| -> Vec<String> {
            let values = json.get(name).map(|value| value.as_array().expect("an array"));
            assert_ne!(values.map(Vec::len), Some(0), "no empty array");
            values.into_iter().flatten().map(|value| value.as_str().expect("text").to_owned()).collect()
        };
        let mut distinct = scopes.clone();
        let mut seen = std::collections::HashSet::new();
        distinct.retain(|scope| seen.insert(scope.clone()));
        prop_assert_eq!(list("scopes_supported"), distinct);
        prop_assert_eq!(list("authorization_servers"), description.authorization_servers);
        prop_assert_eq!(list("bearer_methods_supported"), vec!["header"]);
        // Its absence says false.
        let flag = json.get("tls_client_certificate_bound_access_tokens");
        prop_assert_eq!(flag, certificate_bound.then_some(&Value::Bool(true)));
        prop_assert_eq!(json.get("dpop_signing_alg_values_supported").is_some(), takes_proofs);
    }

    #[test]
    fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let text = [b"https://".as_slice(), &text].concat();
        if let Ok(resource) = Resource::parse(&text) {
            prop_assert!(resource.metadata_url().is_ascii());
        }
        let _ = issuer(&text);
    }
}
