//! How facts are gathered from the claims of a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::layout::{
    CERTIFICATE, CLIENT, DIGEST, HEADER, KEY, MAX_LEN, MAX_NAMES, OTHER_BINDING, SESSION, SUBJECT,
    THUMBPRINT,
};
use super::name::{Digest, Kind};
use crate::key::FactsKey;
use crate::members::DPOP;
use crate::raw_json::{self, Text};

/// Gathers the facts of one token from its sources, the one that counts most first: of what a source speaks
/// the later ones are not asked.
///
/// A claim that is not what it should be (a number as `scope`, an element of `aud` that is no string), or that
/// is there twice, counts as one that names nobody: no requirement is met by it, nor by a later source.
/// `null` is no claim. Bindings add up: whatever any source binds the token to must be shown, and where one says that
/// it is bound to a key (`token_type`, RFC 9449 section 5), one must say to which.
pub struct Collector<'k> {
    name: &'k FactsKey,
    scopes: Names,
    audiences: Names,
    subject: Single,
    client: Single,
    session: Single,
    certificate: Option<[u8; THUMBPRINT]>,
    key: Option<[u8; THUMBPRINT]>,
    /// There must be a `key`.
    dpop: bool,
    other_binding: bool,
}

/// What a source may speak of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Scope,
    /// The same by its other name, which Microsoft and Okta use.
    Scp,
    Aud,
    Sub,
    ClientId,
    Azp,
    Sid,
    Cnf,
    TokenType,
}

const MEMBERS: usize = Member::TokenType as usize + 1;

impl Member {
    fn of(name: Text<'_, '_>) -> Option<Self> {
        Some(match name.as_str() {
            "scope" => Self::Scope,
            "scp" => Self::Scp,
            "aud" => Self::Aud,
            "sub" => Self::Sub,
            "client_id" => Self::ClientId,
            "azp" => Self::Azp,
            "sid" => Self::Sid,
            "cnf" => Self::Cnf,
            "token_type" => Self::TokenType,
            _ => return None,
        })
    }
}

/// A member of a source.
#[derive(Clone, Copy)]
enum Claim<'a> {
    /// Not there, or null.
    Absent,
    /// As it is in the text.
    Json(&'a str),
    /// There twice: two readers could take different ones.
    Repeated,
}

impl<'a> Claim<'a> {
    fn or(self, other: Self) -> Self {
        if let Self::Absent = self { other } else { self }
    }

    fn is_there(self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// A string or the elements of an array of strings, each handed to `note`; false for anything else, or if
    /// one of them is none.
    fn strings(self, mut note: impl FnMut(&str)) -> bool {
        let Self::Json(json) = self else { return false };
        if !json.starts_with('[') {
            return string(json, note);
        }
        let mut sound = true;
        raw_json::elements(json, |element| sound = string(element, &mut note) && sound).is_ok()
            && sound
    }
}

/// Hands a string to `note`; false for anything else.
fn string(json: &str, note: impl FnOnce(&str)) -> bool {
    json.starts_with('"') && raw_json::string(json, |text| note(text.as_str())).is_ok()
}

/// The members of an object that count.
struct Source<'a> {
    members: [(bool, Claim<'a>); MEMBERS],
}

impl<'a> Source<'a> {
    /// `None` for what is no JSON object.
    fn read(object: &'a [u8]) -> Option<Self> {
        let mut members = [(false, Claim::Absent); MEMBERS];
        raw_json::members(object, Member::of, |member, json| {
            let Some((seen, claim)) = member.and_then(|member| members.get_mut(member as usize))
            else {
                return;
            };
            *claim = match json {
                _ if *seen => Claim::Repeated,
                "null" => Claim::Absent,
                json => Claim::Json(json),
            };
            *seen = true;
        })
        .ok()?;
        Some(Self { members })
    }

    fn get(&self, member: Member) -> Claim<'a> {
        self.members.get(member as usize).map_or(Claim::Absent, |(_, claim)| *claim)
    }
}

impl<'k> Collector<'k> {
    /// Nothing is known yet. The names are digested under `key`.
    #[must_use]
    pub fn new(key: &'k FactsKey) -> Self {
        Self {
            name: key,
            scopes: Names::NONE,
            audiences: Names::NONE,
            subject: Single::Unsaid,
            client: Single::Unsaid,
            session: Single::Unsaid,
            certificate: None,
            key: None,
            dpop: false,
            other_binding: false,
        }
    }

    /// Takes what a JSON object says of all that was not spoken of before.
    pub fn claims(&mut self, object: &[u8]) {
        let Some(source) = Source::read(object) else { return };
        self.scope(&source);
        let digest = |kind, name: &str| Digest::new(self.name, kind, name.as_bytes());
        self.audiences.take(source.get(Member::Aud), |audiences, name| {
            audiences.add(self.name, Kind::Audience, name);
        });
        let client = source.get(Member::ClientId).or(source.get(Member::Azp));
        self.subject.take(source.get(Member::Sub), |name| digest(Kind::Subject, name));
        self.client.take(client, |name| digest(Kind::Client, name));
        self.session.take(source.get(Member::Sid), |name| digest(Kind::Session, name));
        self.binding(source.get(Member::Cnf));
        self.token_type(source.get(Member::TokenType));
    }

    /// Takes what the answer to an exchange says of the token that it issues: the scope, if nothing was said of it
    /// before, and that the token is bound to a key.
    pub fn issued(&mut self, object: &[u8]) {
        let Some(source) = Source::read(object) else { return };
        self.scope(&source);
        self.token_type(source.get(Member::TokenType));
    }

    fn token_type(&mut self, claim: Claim<'_>) {
        if let Claim::Json(json) = claim {
            string(json, |name| self.dpop |= name.eq_ignore_ascii_case(DPOP));
        }
    }

    fn scope(&mut self, source: &Source<'_>) {
        let claim = source.get(Member::Scope).or(source.get(Member::Scp));
        let is_list = matches!(claim, Claim::Json(json) if json.starts_with('['));
        self.scopes.take(claim, |scopes, text| {
            // An element that has a space in it is no scope, and none that can be asked for.
            let names = text.split(|it| it == ' ' && !is_list);
            names.for_each(|name| scopes.add(self.name, Kind::Scope, name));
        });
    }

    fn binding(&mut self, claim: Claim<'_>) {
        let object = match claim {
            Claim::Absent => return,
            Claim::Json(json) => json.as_bytes(),
            Claim::Repeated => &[],
        };
        enum Method {
            Certificate,
            Key,
            Other,
        }
        let method = |name: Text<'_, '_>| match name.as_str() {
            "x5t#S256" => Method::Certificate,
            "jkt" => Method::Key,
            _ => Method::Other,
        };
        let mut count = 0;
        let (certificate, key) = (&mut self.certificate, &mut self.key);
        let mut other = false;
        let read = raw_json::members(object, method, |method, json| {
            count += 1;
            let place = match method {
                Method::Certificate => &mut *certificate,
                Method::Key => &mut *key,
                Method::Other => return other = true,
            };
            match (*place, thumbprint(json)) {
                (None, Some(found)) => *place = Some(found),
                (Some(known), Some(found)) if known == found => {}
                _ => other = true,
            }
        });
        self.other_binding |= other || count == 0 || read.is_err();
    }

    /// The facts, written to `room`; empty if there are none.
    #[must_use]
    pub fn write<'r>(&self, room: &'r mut [u8; MAX_LEN]) -> &'r [u8] {
        let (scopes, audiences) = (self.scopes.all(), self.audiences.all());
        let singles = [(&self.subject, SUBJECT), (&self.client, CLIENT), (&self.session, SESSION)];
        let thumbprints = [(&self.certificate, CERTIFICATE), (&self.key, KEY)];
        let unknown_key = self.dpop && self.key.is_none();
        let mut others = if self.other_binding || unknown_key { OTHER_BINDING } else { 0 };
        others |=
            singles.iter().filter(|(it, _)| it.digest().is_some()).map(|(_, bit)| bit).sum::<u8>();
        others |= thumbprints.iter().filter(|(it, _)| it.is_some()).map(|(_, bit)| bit).sum::<u8>();
        if scopes.is_empty() && audiences.is_empty() && others == 0 {
            return &[];
        }
        let header: [u8; HEADER] = [0, scopes.len() as u8, audiences.len() as u8, others];
        let singles = singles.iter().filter_map(|(it, _)| it.digest());
        let names = scopes.iter().chain(audiences).copied().chain(singles);
        let thumbprints = thumbprints.iter().filter_map(|(it, _)| it.as_ref());
        let mut len = 0;
        let mut push = |piece: &[u8]| {
            // There is room for the most that there can be.
            let end = len + piece.len();
            if let Some(place) = room.get_mut(len..end) {
                place.copy_from_slice(piece);
                len = end;
            }
        };
        push(&header);
        names.for_each(|name| push(&name.0));
        thumbprints.for_each(|thumbprint| push(thumbprint));
        room.get(..len).unwrap_or_default()
    }
}

/// Exactly 32 bytes in base64url without padding.
fn thumbprint(json: &str) -> Option<[u8; THUMBPRINT]> {
    const LEN: usize = (THUMBPRINT * 8).div_ceil(6);
    let mut room = [0; THUMBPRINT + 3];
    let mut decoded = None;
    string(json, |text| {
        if text.len() == LEN {
            decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut room).ok();
        }
    });
    if decoded? == THUMBPRINT { room.first_chunk().copied() } else { None }
}

/// Names of one kind.
struct Names {
    said: bool,
    digests: [Digest; MAX_NAMES],
    len: usize,
}

impl Names {
    const NONE: Self = Self { said: false, digests: [Digest([0; DIGEST]); MAX_NAMES], len: 0 };

    /// Takes the names of a claim, unless a source before had some; `note` adds one.
    fn take(&mut self, claim: Claim<'_>, mut note: impl FnMut(&mut Self, &str)) {
        if self.said || !claim.is_there() {
            return;
        }
        self.said = true;
        if !claim.strings(|text| note(self, text)) {
            self.len = 0;
        }
    }

    fn add(&mut self, key: &FactsKey, kind: Kind, name: &str) {
        if name.is_empty() || self.len == MAX_NAMES {
            return;
        }
        let digest = Digest::new(key, kind, name.as_bytes());
        if !self.all().contains(&digest)
            && let Some(place) = self.digests.get_mut(self.len)
        {
            *place = digest;
            self.len += 1;
        }
    }

    fn all(&self) -> &[Digest] {
        self.digests.get(..self.len).unwrap_or_default()
    }
}

/// The one name of its kind.
enum Single {
    Unsaid,
    /// `None`: it could not be read, or is empty.
    Said(Option<Digest>),
}

impl Single {
    fn take(&mut self, claim: Claim<'_>, digest: impl FnOnce(&str) -> Digest) {
        let Self::Unsaid = self else { return };
        let mut found = None;
        match claim {
            Claim::Absent => return,
            Claim::Json(json) => {
                string(json, |name| found = (!name.is_empty()).then(|| digest(name)));
            }
            Claim::Repeated => {}
        }
        *self = Self::Said(found);
    }

    fn digest(&self) -> Option<Digest> {
        match self {
            Self::Unsaid => None,
            Self::Said(digest) => *digest,
        }
    }
}
