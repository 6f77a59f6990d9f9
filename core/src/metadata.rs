//! Protected resource metadata (RFC 9728): where a resource's document is, and what is in it.

use core::net::{Ipv4Addr, Ipv6Addr};

use iri_string::types::UriAbsoluteStr;
use serde_json::{Map, Value};

use crate::dpop::ALGORITHMS;

/// What RFC 9728 section 3 inserts between host and path.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Why a URL names no protected resource, or no authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not by RFC 3986.
    #[error("it is no URL, or has characters that a URL can only have percent-encoded")]
    NotUrl,
    /// Everybody would take it for a variable.
    #[error("it is the same for every request, and cannot contain variables")]
    Variable,
    /// RFC 9728 section 1.2, RFC 8414 section 2.
    #[error("a fragment (\"#\") cannot be part of it")]
    Fragment,
    /// As of `Fragment`. What is on this machine needs no TLS: developers test their clients so.
    #[error("it begins with \"https://\", or for a loopback address with \"http://\"")]
    Scheme,
    /// Nobody can be asked there.
    #[error("it has no host")]
    Host,
    /// It would be published.
    #[error("a user cannot be part of it")]
    User,
    /// NGINX sees another path in the request for the document.
    #[error("an empty segment, \".\" or \"..\" cannot be part of its path")]
    Path,
    /// An issuer has none (RFC 8414 section 2).
    #[error("a query (\"?\") cannot be part of it")]
    Query,
}

/// What RFC 9728 section 1.2 and RFC 8414 section 2 ask of both kinds of URL.
fn url(text: &[u8]) -> Result<&UriAbsoluteStr, UrlFault> {
    if text.contains(&b'$') {
        return Err(UrlFault::Variable);
    }
    if text.contains(&b'#') {
        return Err(UrlFault::Fragment);
    }
    let text = str::from_utf8(text).map_err(|_| UrlFault::NotUrl)?;
    let url = UriAbsoluteStr::new(text).map_err(|_| UrlFault::NotUrl)?;
    let authority = url.authority_components().ok_or(UrlFault::Scheme)?;
    match url.scheme_str() {
        "https" => {}
        "http" if is_loopback(authority.host()) => {}
        _ => return Err(UrlFault::Scheme),
    }
    if authority.host().is_empty() {
        return Err(UrlFault::Host);
    }
    if authority.userinfo().is_some() {
        return Err(UrlFault::User);
    }
    Ok(url)
}

/// Whether the host is this machine (RFC 6761 section 6.3 for the names).
fn is_loopback(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    last.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse() == Ok(Ipv6Addr::LOCALHOST))
}

/// The issuer identifier of an authorization server (RFC 8414 section 2), as it is.
///
/// # Errors
/// It cannot be one.
pub fn issuer(text: &[u8]) -> Result<&str, UrlFault> {
    let url = url(text)?;
    if url.query_str().is_some() {
        return Err(UrlFault::Query);
    }
    Ok(url.as_str())
}

/// The identifier of a protected resource (RFC 9728 section 1.2). It is compared as it is: nothing in it
/// is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a>(&'a UriAbsoluteStr);

impl<'a> Resource<'a> {
    /// Reads an identifier.
    ///
    /// # Errors
    /// It cannot be one, or NGINX would not find its document.
    pub fn parse(identifier: &'a [u8]) -> Result<Self, UrlFault> {
        let resource = Self(url(identifier)?);
        let path = resource.decoded_path();
        let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            if matches!(segment, b"." | b"..") || (segment.is_empty() && !is_last) {
                return Err(UrlFault::Path);
            }
        }
        if path.contains(&0) {
            return Err(UrlFault::Path);
        }
        Ok(resource)
    }

    /// The identifier, as it was given.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0.as_str()
    }

    /// Where the document is (RFC 9728 section 3.1): for `resource_metadata` in a challenge.
    #[must_use]
    pub fn metadata_url(self) -> String {
        let scheme = self.0.scheme_str();
        let authority = self.0.authority_str().unwrap_or_default();
        let separator = if self.0.query_str().is_some() { "?" } else { "" };
        let (path, query) = (self.path(), self.query());
        format!("{scheme}://{authority}{WELL_KNOWN}{path}{separator}{query}")
    }

    /// The path of that URL as NGINX has it in `$uri`: percent-decoded.
    #[must_use]
    pub fn metadata_path(self) -> Vec<u8> {
        [WELL_KNOWN.as_bytes(), &self.decoded_path()].concat()
    }

    /// The query of that URL, which is the identifier's own; empty: none.
    #[must_use]
    pub fn query(self) -> &'a str {
        self.0.query_str().unwrap_or_default()
    }

    /// The path, without a slash that is all of it.
    fn path(self) -> &'a str {
        match self.0.path_str() {
            "/" => "",
            path => path,
        }
    }

    fn decoded_path(self) -> Vec<u8> {
        let mut decoded = Vec::with_capacity(self.path().len());
        let mut bytes = self.path().bytes();
        while let Some(byte) = bytes.next() {
            decoded.push(match byte {
                // A URL has two digits behind each of them.
                b'%' => hex(bytes.next()) << 4 | hex(bytes.next()),
                byte => byte,
            });
        }
        decoded
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: Option<u8>) -> u8 {
    let value = digit.and_then(|digit| char::from(digit).to_digit(16)).unwrap_or_default();
    u8::try_from(value).unwrap_or_default()
}

/// How a token is presented (RFC 6750 section 2), by the names of RFC 9728 section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BearerMethod {
    /// In `Authorization`.
    Header,
    /// As `access_token` in the query string.
    Query,
}

impl BearerMethod {
    fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Query => "query",
        }
    }
}

/// What one location says of its resource.
#[derive(Clone, Debug, Default)]
pub struct Description<'a> {
    /// Issuer identifiers of the authorization servers; empty: it does not say.
    pub authorization_servers: Vec<&'a str>,
    /// Scopes that its challenges mention or its rules ask for.
    pub scopes: Vec<&'a str>,
    /// How it takes tokens, where that is one of RFC 6750's ways.
    pub bearer_method: Option<BearerMethod>,
    /// Tokens must be bound, and those that are bound to the client's certificate are taken (RFC 8705).
    pub certificate_bound: bool,
    /// Tokens must be bound, and those that are bound to a key are taken with a proof (RFC 9449).
    pub takes_proofs: bool,
}

/// Two locations of a resource name other authorization servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherServers;

/// The metadata document of a resource, made of what its locations say.
///
/// Members that are not known here yet, such as the flag of DPoP-bound tokens, have their place in
/// [`Description`] and in [`Document::to_json`].
#[derive(Clone, Debug)]
pub struct Document<'a> {
    resource: Resource<'a>,
    authorization_servers: Vec<&'a str>,
    scopes: Vec<&'a str>,
    bearer_methods: Vec<BearerMethod>,
    certificate_bound: bool,
    takes_proofs: bool,
}

impl<'a> Document<'a> {
    /// A document that says nothing but whose it is.
    #[must_use]
    pub fn new(resource: Resource<'a>) -> Self {
        Self {
            resource,
            authorization_servers: Vec::new(),
            scopes: Vec::new(),
            bearer_methods: Vec::new(),
            certificate_bound: false,
            takes_proofs: false,
        }
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> Resource<'a> {
        self.resource
    }

    /// Adds what one more location says. Scopes add up, each once; authorization servers do not, for a
    /// client that chose one of them would be refused by the other location.
    ///
    /// # Errors
    /// The location names other authorization servers than an earlier one.
    pub fn add(&mut self, location: &Description<'a>) -> Result<(), OtherServers> {
        let servers = distinct(&location.authorization_servers);
        if self.authorization_servers.is_empty() {
            self.authorization_servers = servers;
        } else if !servers.is_empty()
            && (servers.len() != self.authorization_servers.len()
                || servers.iter().any(|server| !self.authorization_servers.contains(server)))
        {
            return Err(OtherServers);
        }
        self.scopes.extend_from_slice(&location.scopes);
        self.scopes = distinct(&self.scopes);
        self.bearer_methods.extend(location.bearer_method);
        self.bearer_methods.sort_unstable();
        self.bearer_methods.dedup();
        self.certificate_bound |= location.certificate_bound;
        self.takes_proofs |= location.takes_proofs;
        Ok(())
    }

    /// The document as JSON. A member without values is left out (RFC 9728 section 3.2), and so is a flag that
    /// is not set, since false is what its absence says (section 2).
    #[must_use]
    pub fn to_json(&self) -> String {
        let list = |values: Vec<&str>| Value::from(values);
        let methods = self.bearer_methods.iter().map(|method| method.as_str()).collect();
        let algorithms = if self.takes_proofs { ALGORITHMS.to_vec() } else { Vec::new() };
        let members: [(&str, Value); 6] = [
            ("resource", self.resource.as_str().into()),
            ("authorization_servers", list(self.authorization_servers.clone())),
            ("scopes_supported", list(self.scopes.clone())),
            ("bearer_methods_supported", list(methods)),
            ("tls_client_certificate_bound_access_tokens", self.certificate_bound.into()),
            // That DPoP is required would not be true: a certificate does, too.
            ("dpop_signing_alg_values_supported", list(algorithms)),
        ];
        let is_empty = |value: &Value| {
            *value == Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty)
        };
        let members = members.into_iter().filter(|(_, value)| !is_empty(value));
        let members: Map<String, Value> =
            members.map(|(name, value)| (name.to_owned(), value)).collect();
        Value::Object(members).to_string()
    }
}

/// The values, each once, in the order of their first.
fn distinct<'a>(values: &[&'a str]) -> Vec<&'a str> {
    let mut distinct = Vec::with_capacity(values.len());
    for value in values {
        if !distinct.contains(value) {
            distinct.push(*value);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(identifier: &str) -> Resource<'_> {
        Resource::parse(identifier.as_bytes()).unwrap()
    }

    #[test]
    fn urls_of_documents() {
        // RFC 9728 section 3.1 has the first two.
        let cases = [
            ("https://resource.example.com", "https://resource.example.com", "", ""),
            (
                "https://resource.example.com/resource1",
                "https://resource.example.com",
                "/resource1",
                "",
            ),
            // The slash after the host goes; any other is part of the name.
            ("https://a.example/", "https://a.example", "", ""),
            ("https://a.example/mcp/", "https://a.example", "/mcp/", ""),
            ("https://a.example?tenant=1", "https://a.example", "", "?tenant=1"),
            ("https://a.example/?tenant=1", "https://a.example", "", "?tenant=1"),
            ("https://a.example/v1?a=/b&c", "https://a.example", "/v1", "?a=/b&c"),
            ("https://a.example:8443/a/b.c", "https://a.example:8443", "/a/b.c", ""),
            ("https://[2001:db8::1]/a", "https://[2001:db8::1]", "/a", ""),
            ("https://A.Example/A", "https://A.Example", "/A", ""),
            ("http://localhost:3001/mcp", "http://localhost:3001", "/mcp", ""),
        ];
        for (identifier, origin, path, query) in cases {
            let resource = resource(identifier);
            assert_eq!(resource.as_str(), identifier);
            assert_eq!(resource.metadata_url(), format!("{origin}{WELL_KNOWN}{path}{query}"));
            assert_eq!(resource.metadata_path(), format!("{WELL_KNOWN}{path}").into_bytes());
            assert_eq!(resource.query(), query.trim_start_matches('?'));
        }
    }

    #[test]
    fn a_path_is_decoded_as_nginx_does_it() {
        let resource = resource("https://a.example/a%20b/%C3%A4%2fc%3F%25");
        assert!(resource.metadata_url().ends_with("/a%20b/%C3%A4%2fc%3F%25"));
        assert_eq!(resource.metadata_path(), format!("{WELL_KNOWN}/a b/ä/c?%").into_bytes());
    }

    #[test]
    fn faults_of_identifiers() {
        use UrlFault::{Fragment, Host, NotUrl, Path, Scheme, User, Variable};
        let cases: &[(&[u8], UrlFault)] = &[
            (b"", NotUrl),
            (b"a.example", NotUrl),
            (b"/mcp", NotUrl),
            (b"https://a example", NotUrl),
            (b"https://a.example/\"", NotUrl),
            (b"https://a.example/\\", NotUrl),
            (b"https://a.example/\r\nA: b", NotUrl),
            (b"https://a.example/%2", NotUrl),
            (b"https://a.example/%zz", NotUrl),
            (b"https://a.example:port/", NotUrl),
            ("https://ä.example".as_bytes(), NotUrl),
            (b"https://a.example/\xff", NotUrl),
            (b"https://$host/mcp", Variable),
            (b"https://a.example/#a", Fragment),
            (b"https://a.example#", Fragment),
            (b"http://a.example", Scheme),
            (b"HTTPS://a.example", Scheme),
            (b"ftp://localhost", Scheme),
            (b"urn:a:b", Scheme),
            (b"https:/a.example", Scheme),
            (b"http://127.0.0.1.example", Scheme),
            (b"http://localhost.example", Scheme),
            (b"http://[::2]", Scheme),
            (b"http://", Scheme),
            (b"https://", Host),
            (b"https:///mcp", Host),
            (b"https://:443/mcp", Host),
            (b"https://user@a.example", User),
            (b"https://user:password@a.example/", User),
            (b"https://a.example//", Path),
            (b"https://a.example//a", Path),
            (b"https://a.example/a/../b", Path),
            (b"https://a.example/a/.", Path),
            (b"https://a.example/a/%2e%2E/b", Path),
            (b"https://a.example/a%2F%2Fb", Path),
            (b"https://a.example/a%00", Path),
        ];
        for (identifier, fault) in cases {
            let name = String::from_utf8_lossy(identifier);
            assert_eq!(Resource::parse(identifier), Err(*fault), "{name}");
        }
        for host in ["localhost", "LOCALHOST", "mcp.localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            resource(&format!("http://{host}:8080/mcp"));
        }
    }

    #[test]
    fn issuers() {
        for text in ["https://as.example", "https://as.example/", "https://as.example/realms/a//b"]
        {
            assert_eq!(issuer(text.as_bytes()), Ok(text));
        }
        assert_eq!(issuer(b"https://as.example?a"), Err(UrlFault::Query));
        assert_eq!(issuer(b"https://as.example#a"), Err(UrlFault::Fragment));
        assert_eq!(issuer(b"http://as.example"), Err(UrlFault::Scheme));
        assert_eq!(issuer(b"as.example"), Err(UrlFault::NotUrl));
    }

    #[test]
    fn a_document_says_what_its_locations_say() {
        // What RFC 9728 section 3.2 has of it.
        let mut document = Document::new(resource("https://resource.example.com"));
        let servers = vec!["https://as1.example.com", "https://as2.example.net"];
        let mut location = Description {
            authorization_servers: servers.clone(),
            scopes: vec!["profile", "email"],
            bearer_method: Some(BearerMethod::Query),
            certificate_bound: true,
            takes_proofs: true,
        };
        document.add(&location).unwrap();
        location.authorization_servers.reverse();
        location.scopes = vec!["email", "phone", "phone"];
        location.bearer_method = Some(BearerMethod::Header);
        location.certificate_bound = false;
        location.takes_proofs = false;
        document.add(&location).unwrap();
        document.add(&Description::default()).unwrap();

        let json: Value = serde_json::from_str(&document.to_json()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "resource": "https://resource.example.com",
                "authorization_servers": servers,
                "scopes_supported": ["profile", "email", "phone"],
                "bearer_methods_supported": ["header", "query"],
                "tls_client_certificate_bound_access_tokens": true,
                "dpop_signing_alg_values_supported": ALGORITHMS,
            })
        );
    }

    #[test]
    fn nothing_empty_is_in_a_document() {
        let document = Document::new(resource("https://a.example/b"));
        assert_eq!(document.to_json(), r#"{"resource":"https://a.example/b"}"#);
    }

    #[test]
    fn authorization_servers_do_not_add_up() {
        let says = |servers: &[&'static str]| Description {
            authorization_servers: servers.to_vec(),
            ..Description::default()
        };
        let (one, two) = ("https://as1.example", "https://as2.example");
        for (first, second, expected) in [
            (&[one][..], &[one][..], Ok(())),
            (&[one, two], &[two, one, one], Ok(())),
            (&[], &[one], Ok(())),
            (&[one], &[], Ok(())),
            (&[one], &[two], Err(OtherServers)),
            (&[one], &[one, two], Err(OtherServers)),
            (&[one, two], &[two], Err(OtherServers)),
        ] {
            let mut document = Document::new(resource("https://a.example"));
            document.add(&says(first)).unwrap();
            assert_eq!(document.add(&says(second)), expected, "{first:?} {second:?}");
        }
    }
}
