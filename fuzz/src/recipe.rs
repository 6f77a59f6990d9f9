//! Inputs that name the parts of an answer instead of spelling them: a fuzzer that changes a byte changes a
//! member, and what comes out is always well-formed.

use crate::template::expand;

/// What an answer is as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Object,
    Jwt,
}

/// The body of an answer. What begins with a byte of ASCII is a template, as it stands; anything else is a
/// list of parts.
pub fn prepare(input: &[u8], shape: Shape) -> Vec<u8> {
    match input.split_first() {
        Some((0x80.., parts)) => expand(cook(parts, shape).as_bytes()),
        _ => expand(input),
    }
}

fn cook(parts: &[u8], shape: Shape) -> String {
    let mut parts = parts.iter();
    let mut pick =
        |from: &[&'static str]| from[usize::from(*parts.next().unwrap_or(&0)) % from.len()];
    let mut closing = vec![match shape {
        Shape::Object => "}",
        Shape::Jwt => "}>>",
    }];
    let mut text = match shape {
        Shape::Object => "{".to_owned(),
        Shape::Jwt => format!("<<{{{}}}|{{", pick(HEADERS)),
    };
    // As many members as anybody repeats, and a few more.
    for _ in 0..12 {
        let member = pick(MEMBERS);
        if !text.ends_with('{') && !member.is_empty() {
            text.push(',');
        }
        match member {
            // The end of an object that is within another one.
            "" => {
                if closing.len() > 1 {
                    text.push_str(closing.pop().unwrap_or_default());
                }
            }
            JWT | PHANTOM_TOKEN | ACCESS_TOKEN => {
                text.push_str(&format!("{member}{}}}|{{", pick(HEADERS)));
                closing.push("}>>\"");
            }
            INSIDE => {
                text.push_str(member);
                closing.push("}");
            }
            _ => text.push_str(member),
        }
    }
    closing.iter().rev().for_each(|end| text.push_str(end));
    text
}

const JWT: &str = r#""jwt":"<<{"#;
const PHANTOM_TOKEN: &str = r#""phantom_token":"<<{"#;
const ACCESS_TOKEN: &str = r#""access_token":"<<{"#;
const INSIDE: &str = r#""token_introspection":{"#;

/// Most of them are good.
const HEADERS: &[&str] = &[
    r#""alg":"RS256""#,
    r#""alg":"RS256","typ":"at+jwt""#,
    r#""typ":"JWT","alg":"ES256""#,
    r#""alg":"RS256","typ":"token-introspection+jwt""#,
    r#""alg":"RS256","x":{"typ":[]}"#,
    r#""alg":"RS256""#,
    r#""alg":"RS256","typ":"application/Token-Introspection+JWT""#,
    r#""alg":"none""#,
    r#""alg":"nOnE","typ":"JWT""#,
    r#""alg":"","typ":"Logout+jwt""#,
    r#""alg":"RS256","typ":"application/dpop+JWT""#,
    r#""alg":"RS256","typ":null"#,
    r#""alg":"RS256","typ":"JWT","typ":"JWT""#,
    r#""alg":"RS256","alg":"RS256""#,
    r#""alg":["RS256"]"#,
    r#""typ":"JWT""#,
];

/// The empty one ends an object.
const MEMBERS: &[&str] = &[
    "",
    "",
    JWT,
    JWT,
    PHANTOM_TOKEN,
    ACCESS_TOKEN,
    ACCESS_TOKEN,
    INSIDE,
    INSIDE,
    r#""active":true"#,
    r#""active":true"#,
    r#""active":true"#,
    r#""active":false"#,
    r#""active":"true""#,
    r#""active":null"#,
    r#""\u0061ctive":true"#,
    r#""exp":9"#,
    r#""exp":2"#,
    r#""exp":1.9999"#,
    r#""exp":20E-1"#,
    r#""exp":"9""#,
    r#""exp":"1""#,
    r#""exp":-1"#,
    r#""exp":-0.5"#,
    r#""exp":9223372036854775807"#,
    r#""exp":18446744073709551616"#,
    r#""exp":1e400"#,
    r#""exp":null"#,
    r#""exp":"""#,
    r#""exp":[9]"#,
    r#""cnf":{"jkt":"x"}"#,
    r#""cnf":null"#,
    r#""token_type":"Bearer""#,
    r#""token_type":"dpop""#,
    r#""token_type":"Refresh_Token""#,
    r#""typ":"refresh""#,
    r#""typ":"OFFLINE""#,
    r#""typ":7"#,
    r#""token_introspection":null"#,
    r#""error":"unsupported_token_type""#,
    r#""error":"invalid_grant""#,
    r#""error":"invalid_client""#,
    r#""error":"temporarily_unavailable""#,
    r#""jwt":"""#,
    r#""jwt":null"#,
    r#""phantom_token":"a.b.c""#,
    r#""access_token":7"#,
    r#""iss":"a""#,
    r#""iss":"""#,
    r#""aud":"b""#,
    r#""aud":["b","c"]"#,
    r#""aud":["b",""]"#,
    r#""aud":[]"#,
    r#""aud":{}"#,
    r#""iat":1"#,
    r#""iat":1.5"#,
    r#""iat":"1""#,
    r#""expires_in":60"#,
    r#""expires_in":0.5"#,
    r#""expires_in":1"#,
    r#""expires_in":"60""#,
    r#""expires_in":-9"#,
    r#""expires_in":1e99"#,
    r#""expires_in":"x""#,
    r#""expires_in":null"#,
    r#""issued_token_type":"urn:ietf:params:oauth:token-type:jwt""#,
    r#""issued_token_type":"urn:ietf:params:oauth:token-type:access_token""#,
    r#""issued_token_type":"urn:ietf:params:oauth:token-type:refresh_token""#,
    r#""sub":"alice""#,
    r#""Sub":"bob""#,
    r#""s\u0075b":"\ud83d\ude00""#,
    r#""sub":"a\r\nb""#,
    r#""sub":"\u0085""#,
    "\"sub\":\"\u{9f}\"",
    "\"sub\":\"\u{7f}\"",
    r#""sub":null"#,
    r#""sub":-1.50E+3"#,
    r#""sub":["a",1,"b",true]"#,
    r#""sub":["a","b c"]"#,
    r#""sub":["[a","b"]"#,
    r#""sub":["a",""]"#,
    r#""sub":["a",null]"#,
    r#""sub":[]"#,
    "\"sub\":{ \"a\" :\t[ \"\\\\\" , \"\\\" }\" ] }",
];
