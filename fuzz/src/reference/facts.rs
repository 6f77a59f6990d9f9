//! What checks on a hit need to know of a token.

use super::answer::Document;
use super::base64::decode_url;
use super::claims;
use super::json::{self, Object, Value, all};

/// How many scopes, and how many audiences, are kept.
const MOST: usize = 64;

/// By their names.
#[derive(Debug, Default)]
pub struct Facts {
    pub scopes: Vec<String>,
    pub audiences: Vec<String>,
    pub subject: Option<String>,
    pub client: Option<String>,
    pub session: Option<String>,
    pub certificate: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub other_binding: bool,
}

/// Those of a document that was judged, and of the answer that it came in, which is JSON or not.
pub fn facts(kind: Document, document: &[u8], is_json: bool, body: &[u8]) -> Facts {
    let own = claims::claims(kind, document).unwrap_or_default();
    let around = if is_json { json::object(body).unwrap_or_default() } else { Object::new() };
    // An exchange says of the token that it issues the scope and the type alone.
    let (all, with_issued): (Vec<&Object>, Vec<&Object>) = match kind {
        Document::Jwt => (vec![&own, &around], vec![&own, &around]),
        Document::Exchanged => (vec![&own], vec![&own, &around]),
        _ => (vec![&own], vec![&own]),
    };
    let (certificate, key, unreadable) = bindings(&all);
    // Where a source says that there is a key, it has to be known.
    let mut types = with_issued.iter().flat_map(|source| json::all(source, "token_type"));
    let is_dpop = types.any(|it| it.text().is_some_and(|text| text.eq_ignore_ascii_case("dpop")));
    let other_binding = unreadable || (is_dpop && key.is_none());
    Facts {
        scopes: distinct(match said(&with_issued, &["scope", "scp"]) {
            Some(Said::Once(Value::Text(text))) => words(&text.text),
            said => names(said),
        }),
        audiences: distinct(names(said(&all, &["aud"]))),
        subject: single(said(&all, &["sub"])),
        client: single(said(&all, &["client_id", "azp"])),
        session: single(said(&all, &["sid"])),
        certificate,
        key,
        other_binding,
    }
}

enum Said<'o> {
    Once(&'o Value),
    Twice,
}

/// The first source that speaks, by the first of the names under which it does.
fn said<'o>(sources: &[&'o Object], members: &[&str]) -> Option<Said<'o>> {
    let members = |source| members.iter().map(move |member| all(source, member));
    sources.iter().flat_map(|source| members(*source)).find_map(|values| match values[..] {
        [] | [Value::Null] => None,
        [value] => Some(Said::Once(value)),
        _ => Some(Said::Twice),
    })
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A string, or an array of strings.
fn names(said: Option<Said<'_>>) -> Vec<String> {
    match said {
        Some(Said::Once(Value::Text(text))) => vec![text.text.clone()],
        Some(Said::Once(Value::Array(elements))) => elements
            .iter()
            .map(|it| it.text().map(str::to_owned))
            .collect::<Option<_>>()
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The first ones that differ.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for name in names {
        if !name.is_empty() && !kept.contains(&name) && kept.len() < MOST {
            kept.push(name);
        }
    }
    kept
}

fn single(said: Option<Said<'_>>) -> Option<String> {
    match said {
        Some(Said::Once(Value::Text(text))) => {
            Some(text.text.clone()).filter(|name| !name.is_empty())
        }
        _ => None,
    }
}

/// What all sources say together: certificate, key, and whether there is anything else.
fn bindings(sources: &[&Object]) -> (Option<Vec<u8>>, Option<Vec<u8>>, bool) {
    let mut known: [Option<Vec<u8>>; 2] = [None, None];
    let mut other = false;
    for source in sources {
        match all(source, "cnf")[..] {
            [] | [Value::Null] => {}
            [Value::Object(members)] if !members.is_empty() => {
                for (name, value) in members {
                    let place = match name.text.as_str() {
                        "x5t#S256" => &mut known[0],
                        "jkt" => &mut known[1],
                        _ => {
                            other = true;
                            continue;
                        }
                    };
                    let found = value.text().and_then(|text| decode_url(text.as_bytes()));
                    match found.filter(|bytes| bytes.len() == 32) {
                        Some(found) if *place.get_or_insert(found.clone()) == found => {}
                        _ => other = true,
                    }
                }
            }
            _ => other = true,
        }
    }
    let [certificate, key] = known;
    (certificate, key, other)
}
