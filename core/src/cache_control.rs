//! `Cache-Control` of an answer, read as a shared cache reads it (RFC 9111 section 5.2.2).

use crate::record::CacheDirectives;

/// Reads every `Cache-Control` line of an answer.
///
/// Names are case-insensitive, arguments may be quoted. Of repeated directives the first counts. A
/// `max-age` or `s-maxage` that is no number counts as 0, which is stale (section 4.2.1); one too
/// large for an `u32` counts as its maximum. `no-cache` and `private` count as a whole, even where
/// they name single fields: an answer is stored whole or not at all.
#[must_use]
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> CacheDirectives {
    let mut max_age = None;
    let mut s_maxage = None;
    let mut uncacheable = false;
    for directive in values.into_iter().flat_map(Directives::of) {
        let (name, argument) = match directive.iter().position(|&byte| byte == b'=') {
            Some(at) => (directive.get(..at).unwrap_or_default(), directive.get(at + 1..)),
            None => (directive, None),
        };
        let name = name.trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            max_age = max_age.or(Some(seconds(argument)));
        } else if is("s-maxage") {
            s_maxage = s_maxage.or(Some(seconds(argument)));
        } else if is("no-store") || is("no-cache") || is("private") {
            uncacheable = true;
        }
    }
    CacheDirectives { max_age: s_maxage.or(max_age), uncacheable }
}

/// The directives of one line: what commas separate, except within quotes.
struct Directives<'a> {
    rest: &'a [u8],
    /// A quote that is never closed hides nothing: a `no-store` behind it still counts. From there
    /// on every comma separates.
    unclosed: bool,
}

impl<'a> Directives<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { rest: line, unclosed: false }
    }

    /// Where the first comma outside of quotes is.
    fn end(&mut self) -> usize {
        let mut quoted = false;
        let mut escaped = false;
        let mut first = None;
        for (at, &byte) in self.rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' if !self.unclosed => quoted = !quoted,
                b',' if !quoted => return at,
                b',' => first = first.or(Some(at)),
                _ => {}
            }
        }
        self.unclosed |= quoted;
        first.filter(|_| quoted).unwrap_or(self.rest.len())
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.end();
        let directive = self.rest.get(..end)?;
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(directive)
    }
}

/// `delta-seconds` (section 1.2.2), bare or quoted.
fn seconds(argument: Option<&[u8]>) -> u32 {
    let digits = match argument.unwrap_or_default().trim_ascii() {
        [b'"', quoted @ .., b'"'] => quoted,
        bare => bare,
    };
    let mut total = 0_u32;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return 0;
        }
        total = total.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> CacheDirectives {
        parse(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn ages() {
        let cases: &[(&[&str], Option<u32>)] = &[
            (&[], None),
            (&[""], None),
            (&["public, must-revalidate"], None),
            (&["max-age=60"], Some(60)),
            (&["MAX-AGE=60"], Some(60)),
            (&["public , max-age = 60 ,"], Some(60)),
            (&["max-age=\"60\""], Some(60)),
            (&["max-age=0"], Some(0)),
            (&["max-age=007"], Some(7)),
            (&["max-age=60, max-age=5"], Some(60)),
            (&["max-age=60", "max-age=5"], Some(60)),
            (&["max-age=60, s-maxage=5"], Some(5)),
            (&["s-maxage=5", "max-age=60"], Some(5)),
            (&["s-maxage=x, max-age=60"], Some(0)),
            (&["max-age=4294967295"], Some(u32::MAX)),
            (&["max-age=4294967296"], Some(u32::MAX)),
            (&["max-age=99999999999999999999999999"], Some(u32::MAX)),
            (&["max-age"], Some(0)),
            (&["max-age="], Some(0)),
            (&["max-age=-1"], Some(0)),
            (&["max-age=+1"], Some(0)),
            (&["max-age=1.5"], Some(0)),
            (&["max-age=1e3"], Some(0)),
            (&["max-age=60s"], Some(0)),
            (&["max-age=\"60"], Some(0)),
            (&["max-age=60;public"], Some(0)),
            (&["x-max-age=60, max-agex=60"], None),
            (&["ext=\"a, max-age=60\""], None),
            (&["ext=\"a\\\", max-age=60\", max-age=5"], Some(5)),
            (&["ext=\"a, max-age=60, b=\\\""], Some(60)),
        ];
        for (lines, expected) in cases {
            let expected = CacheDirectives { max_age: *expected, uncacheable: false };
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn uncacheable_answers() {
        let cases: &[(&[&str], bool)] = &[
            (&["no-store"], true),
            (&["No-Cache"], true),
            (&["private"], true),
            (&["no-cache=\"set-cookie, x\""], true),
            (&["private=\"x\""], true),
            (&["public", "max-age=60,no-store"], true),
            (&["ext=\"a, no-store"], true),
            (&["ext=\"a, no-store\""], false),
            (&["no-store-at-all, x=no-store, no_cache"], false),
        ];
        for (lines, expected) in cases {
            assert_eq!(read(lines).uncacheable, *expected, "{lines:?}");
        }
        let all = CacheDirectives { max_age: Some(0), uncacheable: true };
        assert_eq!(read(&["no-store, no-cache, max-age=0"]), all);
    }

    #[test]
    fn quotes_that_never_close_cost_linear_time() {
        let line = "\"".to_owned() + &"\\\",".repeat(1 << 20) + "max-age=1";
        assert_eq!(read(&[&line]).max_age, Some(1));
    }
}
