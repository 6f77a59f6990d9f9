//! The 128-byte units that entries are made of, and the three shapes they take.
//!
//! Units are named by number, counted from 1; [`NONE`] is no unit. An entry is a head, whose number is
//! the entry's, with as many data units as its body needs: the document, and the facts behind it. The
//! first bytes of the body lie in the head. It names up to ten data units itself, so that the processor
//! fetches them side by side; with a longer body the tenth is the first of the index units, which name the
//! rest.
//!
//! Every unit of an entry bears the entry's number. A link that went astray is thereby found before a
//! byte is read through it, and one entry's JWT never comes out under another's key.

use crate::record::{CacheDirectives, Document, Record, State, UnixMillis};

/// Bytes of a unit: two cache lines.
pub(super) const UNIT: usize = 128;
/// The number of no unit; as an owner: of a free unit.
pub(super) const NONE: u32 = 0;
/// Bytes of the body in the head.
pub(super) const FIRST: usize = 20;
/// Bytes of the body in a data unit.
pub(super) const DATA: usize = UNIT - 4;
/// Units that the head names.
pub(super) const NEAR: usize = 10;
/// Data units that an index unit names.
pub(super) const FAR: usize = 30;

/// Data units of an entry whose body has `len` bytes, and how many of them the head names.
#[inline]
pub(super) fn data_units(len: usize) -> (usize, usize) {
    let data = len.saturating_sub(FIRST).div_ceil(DATA);
    (data, if data <= NEAR { data } else { NEAR - 1 })
}

/// Units of an entry whose body has `len` bytes.
#[inline]
pub(super) fn units_for(len: usize) -> usize {
    let (data, near) = data_units(len);
    1 + data + (data - near).div_ceil(FAR)
}

/// What an entry is known by: the first 160 bits of the token's keyed hash. Guessing one is as hopeless as
/// RFC 6749 section 10.10 asks of tokens themselves.
pub(super) type Key = [u8; 20];

/// First unit of an entry: its key, its place in the hash chain and the list, the record, and the first
/// bytes of the body.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// The unit's own number.
    pub(super) owner: u32,
    pub(super) key: Key,
    /// Next entry of the same bucket.
    pub(super) hash_next: u32,
    /// Neighbour towards the newest.
    pub(super) newer: u32,
    /// Neighbour towards the oldest.
    pub(super) older: u32,
    /// Bytes of the document.
    pub(super) jwt_len: u32,
    confirmed: i64,
    expires: i64,
    max_age: u32,
    state: u16,
    flags: u16,
    pub(super) near: [u32; NEAR],
    /// Not zero: asked for since it came to where it is in its list, see `order`.
    pub(super) used: u16,
    /// Bytes of the facts, which follow the document.
    pub(super) facts_len: u16,
    pub(super) first: [u8; FIRST],
}

/// Names data units that the head does not. In a free unit `next` is the next free one.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Index {
    pub(super) owner: u32,
    pub(super) next: u32,
    pub(super) units: [u32; FAR],
}

/// A piece of the body.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Data {
    pub(super) owner: u32,
    pub(super) bytes: [u8; DATA],
}

/// One unit in whatever shape.
#[repr(C)]
pub(super) union Unit {
    head: Head,
    index: Index,
    data: Data,
}

// A shape with padding, or one that fills less than the unit, would expose uninitialised bytes.
const _: () = assert!(size_of::<Head>() == UNIT);
const _: () = assert!(size_of::<Index>() == UNIT);
const _: () = assert!(size_of::<Data>() == UNIT);
const _: () = assert!(size_of::<Unit>() == UNIT && align_of::<Unit>() == 8);

impl Unit {
    #[inline]
    pub(super) fn head(&self) -> &Head {
        // SAFETY: each shape fills the unit with integers without padding: any bytes are valid in any.
        unsafe { &self.head }
    }

    #[inline]
    pub(super) fn head_mut(&mut self) -> &mut Head {
        // SAFETY: as in `head`.
        unsafe { &mut self.head }
    }

    #[inline]
    pub(super) fn index(&self) -> &Index {
        // SAFETY: as in `head`.
        unsafe { &self.index }
    }

    #[inline]
    pub(super) fn index_mut(&mut self) -> &mut Index {
        // SAFETY: as in `head`.
        unsafe { &mut self.index }
    }

    #[inline]
    pub(super) fn data(&self) -> &Data {
        // SAFETY: as in `head`.
        unsafe { &self.data }
    }

    /// The entry that the unit belongs to; every shape begins with it.
    #[inline]
    pub(super) fn owner(&self) -> u32 {
        self.index().owner
    }

    /// Overwrites the unit, whatever it held, as a free one.
    pub(super) fn clear(&mut self, next: u32) {
        self.index = Index { owner: NONE, next, units: [0; FAR] };
    }

    /// Makes it a data unit with a piece of a body.
    pub(super) fn fill(&mut self, owner: u32, bytes: [u8; DATA]) {
        self.data = Data { owner, bytes };
    }
}

const HAS_EXPIRES: u16 = 1;
const HAS_MAX_AGE: u16 = 2;
const UNCACHEABLE: u16 = 4;
const BOUND: u16 = 8;
const FACTS: u16 = HAS_EXPIRES | HAS_MAX_AGE | UNCACHEABLE | BOUND;
/// The document is a number above the facts.
const DOCUMENT: u32 = FACTS.count_ones();

// Far apart, so that a few flipped bits do not turn one state into another.
const ACTIVE: u16 = 0x0f35;
const INACTIVE: u16 = 0x53ca;
const EXPIRED: u16 = 0xaca9;

impl Head {
    /// A head with this record, in no list and without a body.
    pub(super) fn new(owner: u32, key: Key, record: &Record) -> Self {
        let mut head = Self {
            owner,
            key,
            hash_next: NONE,
            newer: NONE,
            older: NONE,
            jwt_len: 0,
            confirmed: record.confirmed,
            expires: record.expires.unwrap_or(0),
            max_age: record.directives.max_age.unwrap_or(0),
            state: 0,
            flags: 0,
            near: [NONE; NEAR],
            used: 0,
            facts_len: 0,
            first: [0; FIRST],
        };
        head.set_state(record.state);
        let facts = [
            (record.expires.is_some(), HAS_EXPIRES),
            (record.directives.max_age.is_some(), HAS_MAX_AGE),
            (record.directives.uncacheable, UNCACHEABLE),
            (record.bound, BOUND),
        ];
        head.flags = facts.iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).sum();
        head.flags |= (record.document as u16) << DOCUMENT;
        head
    }

    /// Bytes of the body.
    #[inline]
    pub(super) fn len(&self) -> usize {
        (self.jwt_len as usize).saturating_add(self.facts_len.into())
    }

    pub(super) fn set_state(&mut self, state: State) {
        self.state = match state {
            State::Active => ACTIVE,
            State::Inactive => INACTIVE,
            State::Expired => EXPIRED,
        };
    }

    /// Whether there is an `exp` and it has passed.
    pub(super) fn is_over(&self, now: UnixMillis) -> bool {
        self.flags & HAS_EXPIRES != 0 && now >= self.expires
    }

    /// The record; `None` if it is none that [`Head::new`] writes.
    #[inline]
    pub(super) fn record(&self) -> Option<Record> {
        let state = match self.state {
            ACTIVE => State::Active,
            INACTIVE => State::Inactive,
            EXPIRED => State::Expired,
            _ => return None,
        };
        let has = |flag| self.flags & flag != 0;
        let document = match self.flags >> DOCUMENT {
            0 => Document::Jwt,
            1 => Document::Exchanged,
            2 => Document::Json,
            3 => Document::ClaimsJwt,
            4 => Document::Envelope,
            5 => Document::Keys,
            _ => return None,
        };
        Some(Record {
            state,
            confirmed: self.confirmed,
            document,
            expires: has(HAS_EXPIRES).then_some(self.expires),
            directives: CacheDirectives {
                max_age: has(HAS_MAX_AGE).then_some(self.max_age),
                uncacheable: has(UNCACHEABLE),
            },
            bound: has(BOUND),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTS: [Document; 6] = [
        Document::Jwt,
        Document::Exchanged,
        Document::Json,
        Document::ClaimsJwt,
        Document::Envelope,
        Document::Keys,
    ];

    #[test]
    fn every_record_survives_the_head() {
        for state in [State::Active, State::Inactive, State::Expired] {
            for expires in [None, Some(0), Some(i64::MIN), Some(i64::MAX)] {
                for max_age in [None, Some(0), Some(u32::MAX)] {
                    for (uncacheable, bound) in
                        [(false, false), (false, true), (true, false), (true, true)]
                    {
                        let directives = CacheDirectives { max_age, uncacheable };
                        for document in DOCUMENTS {
                            let confirmed = -7;
                            let record =
                                Record { state, confirmed, document, expires, directives, bound };
                            assert_eq!(Head::new(1, [0; 20], &record).record(), Some(record));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_states_and_flags_are_no_record() {
        let directives = CacheDirectives::default();
        let record = Record {
            state: State::Active,
            confirmed: 0,
            document: Document::Jwt,
            expires: None,
            directives,
            bound: false,
        };
        let mut head = Head::new(1, [0; 20], &record);
        for number in [6, 8, u16::MAX >> DOCUMENT] {
            head.flags = number << DOCUMENT;
            assert_eq!(head.record(), None);
        }
        head.flags = 0;
        for bit in 0..16 {
            head.state = ACTIVE ^ (1 << bit);
            assert_eq!(head.record(), None);
        }
    }

    #[test]
    fn units_of_an_entry() {
        for (len, units) in [(0, 1), (20, 1), (21, 2), (144, 2), (145, 3), (1200, 11), (1260, 11)] {
            assert_eq!(units_for(len), units, "{len}");
        }
        // From the eleventh data unit on there is an index unit, from the fortieth on a second.
        let bytes = |data: usize| 20 + data * 124;
        for (len, units) in
            [(bytes(10) + 1, 13), (bytes(39), 41), (bytes(39) + 1, 43), (65_536, 1 + 529 + 18)]
        {
            assert_eq!(units_for(len), units, "{len}");
        }
    }
}
