//! `Cache-Control`, as long as nothing in it is quoted.

/// `max-age`, or `s-maxage` where it is there, and whether the answer must not be stored.
pub fn unquoted(line: &[u8]) -> Option<(Option<u32>, bool)> {
    // Among other bytes, what is a blank and what is not would be another question.
    if line.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~') || *byte == b'"') {
        return None;
    }
    let line = String::from_utf8(line.to_vec()).ok()?.to_ascii_lowercase();
    let directives: Vec<(&str, &str)> = line
        .split(',')
        .map(|it| it.split_once('=').unwrap_or((it, "")))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let has = |wanted| directives.iter().any(|(name, _)| *name == wanted);
    let age = |wanted| {
        let (_, value) = directives.iter().find(|(name, _)| *name == wanted)?;
        let is_number = !value.is_empty() && value.bytes().all(|it| it.is_ascii_digit());
        // What is no number is stale; what is too large is for ever.
        Some(if is_number { value.parse().unwrap_or(u32::MAX) } else { 0 })
    };
    let uncacheable = ["no-store", "no-cache", "private"].into_iter().any(has);
    Some((age("s-maxage").or(age("max-age")), uncacheable))
}
