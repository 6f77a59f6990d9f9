//! The members of an introspection answer, or the claims of a JWT, that count.

use super::instant::{Seconds, seconds};
use super::json::{Object, Value, all};

/// What they say.
#[derive(Debug)]
pub struct Members {
    /// `active`, if it is there: whether it is the boolean true.
    pub active: Option<bool>,
    /// `exp`; an error if it is there and no point in time.
    pub exp: Result<Option<Seconds>, ()>,
    /// There is a `cnf`, or the type of a token that has one.
    pub bound: bool,
    /// A refresh token.
    pub refresh: bool,
    /// There is a `token_introspection`.
    pub envelope: bool,
    /// An `error` that says that the server does not know such tokens.
    pub unsupported: bool,
}

/// `None` if one of them is there twice.
pub fn members(object: &Object) -> Option<Members> {
    let only = |name| {
        let mut values = all(object, name).into_iter();
        let first = values.next();
        values.next().is_none().then_some(first)
    };
    let is = |value: Option<&Value>, words: &[&str]| {
        let text = value.and_then(Value::text).map(str::to_ascii_lowercase);
        text.is_some_and(|text| words.contains(&&*text))
    };
    let token_type = only("token_type")?;
    let typ = only("typ")?;
    Some(Members {
        active: only("active")?.map(|value| matches!(value, Value::Bool(true))),
        exp: match only("exp")? {
            None | Some(Value::Null) => Ok(None),
            Some(value) => seconds(value).map(Some).ok_or(()),
        },
        bound: !matches!(only("cnf")?, None | Some(Value::Null)) || is(token_type, &["dpop"]),
        refresh: is(token_type, &["refresh_token"]) || is(typ, &["refresh", "offline"]),
        envelope: only("token_introspection")?.is_some(),
        unsupported: only("error")?.and_then(Value::text) == Some("unsupported_token_type"),
    })
}
