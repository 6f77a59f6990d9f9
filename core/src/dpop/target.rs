//! Whether a proof's `htu` is the URL of the request (RFC 9449 section 4.3): normalised by syntax and scheme
//! (RFC 3986 sections 6.2.2 and 6.2.3), without query and fragment. Dot segments are taken as they are, since
//! clients resolve them before they send a request.
//!
//! Paths are compared octet by octet, whatever NGINX and browsers let pass in them that RFC 3986 does not.

use iri_string::types::UriAbsoluteStr;

/// The URL of a request.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    base: Base<'a>,
    path: &'a [u8],
}

impl<'a> Target<'a> {
    /// The URL of what is asked for below `base`. `path` is that of the request line, encoded as it is there; what
    /// follows the path does not count.
    #[must_use]
    pub fn new(base: Base<'a>, path: &'a [u8]) -> Self {
        Self { base, path: until(path, b"?#").0 }
    }

    /// Whether it is that URL.
    pub(super) fn is(&self, url: &[u8]) -> bool {
        let Some((scheme, authority, path)) = split(url) else { return false };
        scheme.eq_ignore_ascii_case(self.base.scheme)
            && is_same_authority(authority, self.base.authority, self.base.scheme)
            && is_same_path(path, self.base.prefix, self.path)
    }
}

/// Where the URLs of requests begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base<'a> {
    scheme: &'a [u8],
    authority: &'a [u8],
    prefix: &'a [u8],
}

/// Why a URL cannot be a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseFault {
    /// Not by RFC 3986.
    #[error("it is no URL")]
    NotUrl,
    /// Everybody would take it for a variable.
    #[error("it is the same for every request, and cannot contain variables")]
    Variable,
    /// No web server's.
    #[error("it begins with \"https://\" or \"http://\" and a host")]
    Scheme,
    /// A proof's URL has none.
    #[error("a user cannot be part of it")]
    User,
    /// A proof's URL has neither.
    #[error("a query (\"?\") or fragment (\"#\") cannot be part of it")]
    Query,
}

impl<'a> Base<'a> {
    /// That of requests for a host, which may have a port.
    #[must_use]
    pub fn of_host(is_tls: bool, authority: &'a [u8]) -> Self {
        Self { scheme: if is_tls { b"https" } else { b"http" }, authority, prefix: b"" }
    }

    /// Reads `scheme://host[:port][/prefix]`.
    ///
    /// # Errors
    /// [`BaseFault`].
    pub fn parse(text: &'a [u8]) -> Result<Self, BaseFault> {
        if text.contains(&b'$') {
            return Err(BaseFault::Variable);
        }
        if text.iter().any(|byte| b"?#".contains(byte)) {
            return Err(BaseFault::Query);
        }
        let url = str::from_utf8(text).ok().and_then(|text| UriAbsoluteStr::new(text).ok());
        let authority = url.ok_or(BaseFault::NotUrl)?.authority_components();
        if authority.is_some_and(|authority| authority.userinfo().is_some()) {
            return Err(BaseFault::User);
        }
        let (scheme, authority, path) = split(text).ok_or(BaseFault::Scheme)?;
        let port = default_port(scheme).and_then(|port| host_and_port(authority, port));
        if port.is_none_or(|(host, _)| host.is_empty()) {
            return Err(BaseFault::Scheme);
        }
        // The path of a request begins with the slash.
        Ok(Self { scheme, authority, prefix: path.strip_suffix(b"/").unwrap_or(path) })
    }
}

/// Scheme, authority and path of a URL with an authority.
fn split(url: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (scheme, rest) = until(url, b":/?#");
    let (authority, rest) = until(rest.strip_prefix(b"://")?, b"/?#");
    Some((scheme, authority, until(rest, b"?#").0))
}

/// What is before the first of these bytes, and the rest.
fn until<'a>(text: &'a [u8], ends: &[u8]) -> (&'a [u8], &'a [u8]) {
    let end = text.iter().position(|byte| ends.contains(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case(b"http") {
        Some(80)
    } else {
        None
    }
}

/// Both are of that scheme.
fn is_same_authority(one: &[u8], other: &[u8], scheme: &[u8]) -> bool {
    let Some(default) = default_port(scheme) else { return false };
    let lower = |unit: u16| u8::try_from(unit).map_or(unit, |it| it.to_ascii_lowercase().into());
    match (host_and_port(one, default), host_and_port(other, default)) {
        (Some((one, port)), Some((other, other_port))) => {
            port == other_port
                && !one.is_empty()
                && normal(one).map(lower).eq(normal(other).map(lower))
        }
        _ => false,
    }
}

/// Host and port of an authority; the host without a dot at its end, which to NGINX is the same one. `None`: there
/// is a user in it, or what should be the port is none.
fn host_and_port(authority: &[u8], default: u16) -> Option<(&[u8], u16)> {
    let (host, port) = split_port(authority, default)?;
    Some((host.strip_suffix(b".").unwrap_or(host), port))
}

fn split_port(authority: &[u8], default: u16) -> Option<(&[u8], u16)> {
    if authority.contains(&b'@') {
        return None;
    }
    let after_address = authority.iter().position(|&byte| byte == b']').map_or(0, |end| end + 1);
    let colon = authority.iter().skip(after_address).position(|&byte| byte == b':');
    let Some(colon) = colon.map(|colon| after_address + colon) else {
        return Some((authority, default));
    };
    let (host, port) = authority.split_at_checked(colon)?;
    let port = port.get(1..)?;
    if port.is_empty() {
        return Some((host, default));
    }
    if !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((host, str::from_utf8(port).ok()?.parse().ok()?))
}

/// Whether a path is the prefix with the rest behind it. None at all is the one of all (RFC 3986 section 6.2.3).
fn is_same_path(path: &[u8], prefix: &[u8], rest: &[u8]) -> bool {
    let rooted = |path: &'_ [u8]| -> &'static [u8] { if path.is_empty() { b"/" } else { b"" } };
    let expected = normal(prefix).chain(normal(rest));
    let root = if prefix.is_empty() { rooted(rest) } else { b"" };
    normal(path).chain(normal(rooted(path))).eq(expected.chain(normal(root)))
}

/// The characters of a part of a URL, percent-encoded ones as such, where they need to be.
fn normal(text: &[u8]) -> impl Iterator<Item = u16> {
    const ENCODED: u16 = 0x100;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = text;
    core::iter::from_fn(move || {
        if let [b'%', high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = tail;
            let byte = high << 4 | low;
            let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            return Some(if is_unreserved { byte.into() } else { ENCODED | u16::from(byte) });
        }
        let (first, tail) = rest.split_first()?;
        rest = tail;
        Some(u16::from(*first))
    })
}
