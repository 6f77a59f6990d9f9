//! What is done with the entry of a token: looked up, stored, removed.

use std::mem::MaybeUninit;

use super::body::Body;
use super::shard::{Fault, Shard};
use super::unit::{DATA, Key, units_for};
use crate::freshness::{Age, Freshness};
use crate::record::{Record, State, UnixMillis};

/// The answer of [`super::Cache::look_up`]. Has no `Debug`: it carries a JWT.
pub enum LookUp<'b> {
    /// Nothing is known, or nothing that is fresh by the asking location's rules.
    Miss,
    /// The token is active.
    Active {
        /// What is kept for it, in the room that the caller gave.
        document: &'b mut [u8],
        /// The facts, directly behind it.
        facts: &'b mut [u8],
        /// What else is known.
        record: Record,
        /// What it is good for: anything but [`Age::Over`].
        age: Age,
    },
    /// The authorization server said that the token is inactive.
    Inactive(Record),
    /// The token was active and its `exp` has passed.
    Expired(Record),
    /// The token is active, but the caller gave no room for the JWT, or too little.
    NoRoom,
}

/// The outcome of [`super::Cache::store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The entry is there.
    Stored,
    /// The answer to a later question is there, and stays.
    Outdated,
    /// The body is larger than what a shard holds: nothing is cached for this key.
    TooLarge,
    /// The shard cannot be used now (this thread holds its lock, or its content had to be thrown away just
    /// now): nothing was cached.
    Unavailable,
}

impl Shard<'_> {
    /// See [`super::Cache::look_up`].
    #[inline]
    pub(super) fn look_up<'b>(
        &mut self,
        key: &Key,
        now: UnixMillis,
        rules: &Freshness,
        room: impl FnOnce(usize) -> Option<&'b mut [MaybeUninit<u8>]>,
    ) -> Result<LookUp<'b>, Fault> {
        let Some(id) = self.find(key)? else { return Ok(LookUp::Miss) };
        let units = self.locked.units.len();
        let head = self.head_mut(id)?;
        let mut record = head.record().ok_or(Fault)?;
        let age = rules.age(&record, now);
        match record.state {
            State::Active if record.is_expired(now) => {
                record.state = State::Expired;
                self.expire(id, now)?;
                Ok(LookUp::Expired(record))
            }
            _ if age == Age::Over => Ok(LookUp::Miss),
            State::Active => {
                let (len, document_len) = (head.len(), head.jwt_len as usize);
                if len / DATA >= units {
                    return Err(Fault);
                }
                let Some(room) = room(len).and_then(|room| room.get_mut(..len)) else {
                    return Ok(LookUp::NoRoom);
                };
                head.mark();
                self.copy_body(id, room)?;
                // SAFETY: `copy_body` has written every byte.
                let body = unsafe { &mut *(std::ptr::from_mut(room) as *mut [u8]) };
                let (document, facts) = body.split_at_mut_checked(document_len).ok_or(Fault)?;
                Ok(LookUp::Active { document, facts, record, age })
            }
            State::Inactive => {
                head.mark();
                Ok(LookUp::Inactive(record))
            }
            State::Expired => {
                head.mark();
                Ok(LookUp::Expired(record))
            }
        }
    }

    /// See [`super::Cache::glance`].
    pub(super) fn glance(&mut self, key: &Key) -> Result<Option<Record>, Fault> {
        let Some(id) = self.find(key)? else { return Ok(None) };
        let head = self.head_mut(id)?;
        let record = head.record().ok_or(Fault)?;
        head.mark();
        Ok(Some(record))
    }

    /// See [`super::Cache::store`].
    pub(super) fn store(
        &mut self,
        key: &Key,
        record: &Record,
        body: Body<'_>,
        now: UnixMillis,
    ) -> Result<Stored, Fault> {
        let known = self.find(key)?;
        if let Some(id) = known
            && self.outdates(id, record.confirmed, now)?
        {
            return Ok(Stored::Outdated);
        }
        self.locked.change();
        if let Some(id) = known {
            self.drop_entry(id)?;
        }
        let need = units_for(body.len());
        let is_long =
            u32::try_from(body.len()).is_err() || u16::try_from(body.facts.len()).is_err();
        if need > self.active_limit() as usize || is_long {
            return Ok(Stored::TooLarge);
        }
        let need = need as u32;
        self.make_room(record.state, need, now)?;
        let id = self.insert(key, record, body)?;
        // Whoever asked the server again wanted the entry that was there.
        self.head_mut(id)?.used = u16::from(known.is_some());
        self.link_newest(id, record.state, need)?;
        self.hash(key, id)?;
        Ok(Stored::Stored)
    }

    /// See [`super::Cache::remove`].
    pub(super) fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        let Some(id) = self.find(key)? else { return Ok(false) };
        self.locked.change();
        self.drop_entry(id)?;
        Ok(true)
    }

    /// See [`super::Cache::remove_older`].
    pub(super) fn remove_older(
        &mut self,
        key: &Key,
        asked: UnixMillis,
        now: UnixMillis,
    ) -> Result<bool, Fault> {
        match self.find(key)? {
            Some(id) if !self.outdates(id, asked, now)? => {
                self.locked.change();
                self.drop_entry(id)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Turns an active entry into a small one that says "expired". Its body is overwritten.
    #[cold]
    fn expire(&mut self, id: u32, now: UnixMillis) -> Result<(), Fault> {
        self.locked.change();
        let body = self.free_body(id)?;
        self.unlink(id, State::Active, body.saturating_add(1))?;
        while self.list(State::Expired).units >= self.small_limit() {
            self.evict(State::Expired, now)?;
        }
        self.head_mut(id)?.set_state(State::Expired);
        self.link_newest(id, State::Expired, 1)
    }

    /// Whether an entry is the answer to a later question than one of `asked`. One from the future is not: the
    /// clock was set back.
    fn outdates(&self, id: u32, asked: UnixMillis, now: UnixMillis) -> Result<bool, Fault> {
        let known = self.head(id)?.record().ok_or(Fault)?.confirmed;
        Ok(known > asked && known <= now)
    }
}
