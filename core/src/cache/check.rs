//! Whether a shard is in every respect what it should be. For tests; walks everything.

use std::collections::HashSet;

use super::shard::{Fault, Shard};
use super::unit::{FAR, Head, NEAR, NONE, data_units, units_for};
use crate::record::State;

/// The numbers of an entry's units.
fn units_of(shard: &Shard<'_>, head: &Head) -> Result<Vec<u32>, String> {
    let mut units = vec![head.owner];
    let (data, near) = data_units(head.len());
    units.extend(head.near.iter().take(near));
    let named = if data > near { NEAR } else { near };
    if head.near.iter().skip(named).any(|&unit| unit != NONE) {
        return Err(format!("entry {} names data units that it does not need", head.owner));
    }
    let mut far = data - near;
    let [.., mut page] = head.near;
    while far > 0 {
        let index = shard
            .owned(head.owner, page)
            .map_err(|Fault| format!("entry {} lacks an index unit", head.owner))?
            .index();
        let here = far.min(FAR);
        units.push(page);
        units.extend(index.units.iter().take(here));
        page = index.next;
        far -= here;
    }
    if data > near && page != NONE {
        return Err(format!("entry {} has an index unit too many", head.owner));
    }
    Ok(units)
}

pub(super) fn check(shard: &Shard<'_>) -> Result<(), String> {
    let state = shard.state();
    let mut seen = HashSet::new();
    let mut entries = HashSet::new();
    for (name, list, active) in [("active", &state.active, true), ("small", &state.small, false)] {
        let (mut count, mut units) = (0_usize, 0_usize);
        let (mut newer, mut id) = (NONE, list.newest);
        while id != NONE {
            let head = shard.head(id).map_err(|Fault| format!("{name} list: {id} is no entry"))?;
            if head.newer != newer {
                return Err(format!("{name} list: {id} does not point back to {newer}"));
            }
            let record = head.record().ok_or_else(|| format!("entry {id} has no valid facts"))?;
            if (record.state == State::Active) != active {
                return Err(format!("{name} list: {id} is {:?}", record.state));
            }
            if !active && (head.len() != 0 || head.first.iter().any(|&byte| byte != 0)) {
                return Err(format!("{name} list: {id} has a body"));
            }
            if !entries.insert(id) {
                return Err(format!("{name} list: {id} is there twice"));
            }
            let of_entry = units_of(shard, head)?;
            if of_entry.len() != units_for(head.len()) {
                return Err(format!("entry {id} has {} units", of_entry.len()));
            }
            for unit in &of_entry {
                if shard.owned(id, *unit).is_err() || !seen.insert(*unit) {
                    return Err(format!("entry {id}: unit {unit} is not its own"));
                }
            }
            count += 1;
            units += of_entry.len();
            (newer, id) = (id, head.older);
        }
        if list.oldest != newer {
            return Err(format!("{name} list ends at {newer}, not at {}", list.oldest));
        }
        if (list.entries as usize, list.units as usize) != (count, units) {
            return Err(format!(
                "{name} list counts {} entries, {} units and has {count}, {units}",
                list.entries, list.units
            ));
        }
    }
    if state.active.units > shard.active_limit() || state.small.units > shard.small_limit() {
        return Err("a list is over its budget".to_owned());
    }
    check_chains(shard, entries)?;
    check_pool(shard, seen)
}

/// Each entry is in the hash chain of its key, once, and nothing else is in any.
fn check_chains(shard: &Shard<'_>, mut entries: HashSet<u32>) -> Result<(), String> {
    for (number, &first) in shard.buckets().iter().enumerate() {
        let mut id = first;
        while id != NONE {
            if !entries.remove(&id) {
                return Err(format!("bucket {number}: {id} is in no list, or in a chain twice"));
            }
            let head = shard.head(id).map_err(|Fault| format!("bucket {number}: {id}"))?;
            if shard.bucket_number(&head.key) != number {
                return Err(format!("bucket {number}: {id} belongs elsewhere"));
            }
            id = head.hash_next;
        }
    }
    entries.into_iter().next().map_or(Ok(()), |id| Err(format!("entry {id} is in no hash chain")))
}

/// Each unit that was ever used belongs to an entry or to the pool, and the latter hold nothing.
fn check_pool(shard: &Shard<'_>, mut seen: HashSet<u32>) -> Result<(), String> {
    let state = shard.state();
    let mut free = state.free;
    while free != NONE {
        let unit = shard.owned(NONE, free).map_err(|Fault| format!("pool: {free} is not free"))?;
        if !seen.insert(free) {
            return Err(format!("pool: {free} is there twice"));
        }
        if unit.index().units.iter().any(|&word| word != 0) {
            return Err(format!("pool: {free} was not overwritten"));
        }
        free = unit.index().next;
    }
    if seen.len() != state.touched as usize || seen.iter().any(|&unit| unit > state.touched) {
        return Err(format!("{} of {} used units are accounted for", seen.len(), state.touched));
    }
    Ok(())
}
