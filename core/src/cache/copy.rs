//! A cache of another size takes over what was known, while the old one is in use.

use super::body::Body;
use super::handle::Cache;
use super::shard::{Fault, Shard};
use super::unit::{DATA, Key, NONE, units_for};
use crate::record::{Record, State};

/// Two caches were made with different secrets: the keys of one mean nothing in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caches were made with different secrets: make the new one with the secret of the old")]
pub struct OtherSecret;

/// Bodies that are copied while the old shard is locked: bytes, and entries.
const BATCH: usize = 256 * 1024;
const BATCH_ENTRIES: usize = 128;
/// Entries that are looked at while the old shard is locked.
const STEPS: usize = 1024;
/// That many in a row without room are reason to stop: the rest is older still.
const ENOUGH_REFUSED: usize = 64;

/// One walk through a list: active or small entries, those that were asked for lately or the others. What
/// comes first finds room first.
struct Pass {
    state: State,
    used: bool,
}

const PASSES: [Pass; 4] = [
    Pass { state: State::Active, used: true },
    Pass { state: State::Active, used: false },
    Pass { state: State::Inactive, used: true },
    Pass { state: State::Inactive, used: false },
];

/// An entry on its way; its body lies in the batch's bytes.
struct Taken {
    key: Key,
    record: Record,
    len: usize,
    document_len: usize,
}

/// Entries of one old shard. The bytes are overwritten before their memory is given back.
struct Batch {
    entries: Vec<Taken>,
    bytes: Vec<u8>,
    filled: usize,
}

/// Where a walk goes on: an entry, known again by its key.
type Place = Option<(u32, Key)>;

impl Batch {
    fn new() -> Self {
        Self { entries: Vec::with_capacity(BATCH_ENTRIES), bytes: vec![0; BATCH], filled: 0 }
    }

    /// Room for one more body; `None` if this batch is full.
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.entries.len() >= BATCH_ENTRIES {
            return None;
        }
        if self.entries.is_empty() && self.bytes.len() < len {
            self.wipe();
            self.bytes = vec![0; len];
        }
        let from = self.filled;
        let room = self.bytes.get_mut(from..from.checked_add(len)?)?;
        self.filled += len;
        Some(room)
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.filled = 0;
    }

    fn wipe(&mut self) {
        for byte in &mut self.bytes {
            // SAFETY: a byte of our own. Volatile, since nobody reads it again.
            unsafe { std::ptr::write_volatile(byte, 0) };
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl Cache {
    /// Takes over what another cache holds, as much as fits by this one's budgets: first what was asked for
    /// lately, the newest first. What is known here stays. Says how many entries were copied.
    ///
    /// The other cache may be in use meanwhile, by any process, and so may this one: one shard of either
    /// is locked at a time, and never for long. What is stored in the other one later is not copied.
    ///
    /// # Errors
    ///
    /// [`OtherSecret`] unless this cache was made with the other's [`Cache::secret`].
    pub fn copy_from(&self, old: &Self) -> Result<u64, OtherSecret> {
        if self.secret() != old.secret() {
            return Err(OtherSecret);
        }
        let mut batch = Batch::new();
        let mut copied = 0;
        // Several old shards may come to lie in one new one: each has its part of the room there.
        let sharing = (old.region.shards() / self.region.shards()).max(1) as u32;
        for number in 0..old.region.shards() {
            let mut parts = [0; 2].map(|units| Part { units, sharing });
            for pass in &PASSES {
                let [active, small] = &mut parts;
                let part = if pass.state == State::Active { active } else { small };
                let lock = || old.region.lock(number).map(Shard::new);
                copied += walk(self, lock, pass, part, &mut batch);
            }
        }
        Ok(copied)
    }
}

/// What an old shard has taken, and by how many the room of its new shard is shared.
struct Part {
    units: u32,
    sharing: u32,
}

fn walk<'a>(
    new: &Cache,
    lock: impl Fn() -> Option<Shard<'a>>,
    pass: &Pass,
    part: &mut Part,
    batch: &mut Batch,
) -> u64 {
    let (mut copied, mut refused) = (0, 0);
    let mut place = None;
    // Entries may come, go and begin anew meanwhile; the walk is bounded all the same.
    let Some(entries) = lock().and_then(|shard| shard.run(|shard| Ok(shard.entries(pass.state))))
    else {
        return 0;
    };
    let mut left = (entries as usize).saturating_mul(2);
    loop {
        batch.clear();
        let next =
            lock().and_then(|shard| shard.run(|shard| shard.take(pass, place, &mut left, batch)));
        let mut from = 0;
        for taken in &batch.entries {
            let bytes = batch.bytes.get(from..from + taken.len).unwrap_or_default();
            let (document, facts) = bytes.split_at(taken.document_len.min(bytes.len()));
            let body = Body { document, facts };
            from += taken.len;
            // One lock at a time: the old shard's is free by now.
            let adopted = new
                .shard_of(&taken.key)
                .and_then(|shard| shard.run(|shard| shard.adopt(taken, pass.used, body, part)));
            match adopted {
                Some(true) => (copied, refused) = (copied + 1, 0),
                _ => refused += 1,
            }
        }
        match next.flatten() {
            Some(goes_on) if refused < ENOUGH_REFUSED => place = Some(goes_on),
            _ => return copied,
        }
    }
}

impl Shard<'_> {
    fn entries(&mut self, state: State) -> u32 {
        self.list(state).entries
    }

    /// Copies entries from a place towards the oldest; says where to go on. If the entry of that place is
    /// gone, from the newest again: what is known there is not taken twice.
    fn take(
        &mut self,
        pass: &Pass,
        place: Place,
        left: &mut usize,
        batch: &mut Batch,
    ) -> Result<Place, Fault> {
        let newest = self.list(pass.state).newest;
        let known = place.filter(|(id, key)| {
            self.head(*id).is_ok_and(|head| {
                let same = |record: Record| (record.state == State::Active) == pass.is_active();
                head.key == *key && head.record().is_some_and(same)
            })
        });
        let mut id = known.map_or(newest, |(id, _)| id);
        for _ in 0..STEPS {
            if id == NONE || *left == 0 {
                return Ok(None);
            }
            let head = *self.head(id)?;
            if (head.used != 0) == pass.used {
                let len = head.len();
                if len > self.locked.units.len() * DATA {
                    return Err(Fault);
                }
                let Some(room) = batch.room(len) else { break };
                self.copy_body(id, room)?;
                let record = head.record().ok_or(Fault)?;
                let document_len = head.jwt_len as usize;
                batch.entries.push(Taken { key: head.key, record, len, document_len });
            }
            *left -= 1;
            id = head.older;
        }
        if id == NONE {
            return Ok(None);
        }
        Ok(Some((id, self.head(id)?.key)))
    }

    /// Puts an entry at the oldest end of its list if nothing is known of the token and there is room that
    /// needs no eviction.
    fn adopt(
        &mut self,
        taken: &Taken,
        used: bool,
        body: Body<'_>,
        part: &mut Part,
    ) -> Result<bool, Fault> {
        if self.find(&taken.key)?.is_some() {
            return Ok(false);
        }
        let state = taken.record.state;
        let Ok(need) = u32::try_from(units_for(body.len())) else { return Ok(false) };
        let limit = self.limit(state);
        let taking = part.units.saturating_add(need);
        if self.list(state).units.saturating_add(need) > limit
            || self.unused()? < need
            || taking > limit / part.sharing
        {
            return Ok(false);
        }
        if part.sharing > 1 {
            part.units = taking;
        }
        self.locked.change();
        let id = self.insert(&taken.key, &taken.record, body)?;
        self.head_mut(id)?.used = u16::from(used);
        self.link_oldest(id, state, need)?;
        self.hash(&taken.key, id)?;
        Ok(true)
    }
}

impl Pass {
    fn is_active(&self) -> bool {
        self.state == State::Active
    }
}
