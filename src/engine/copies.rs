//! The conversations that are open, and the copies of the KV cache that are kept for those that are not active.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cached::Cached;
use crate::plan::Snapshot;
use crate::{Error, Result};

/// Bytes that the snapshots of all conversations may take together.
pub const COPIES: u64 = 256 << 20;

/// All open conversations.
#[derive(Default)]
pub(super) struct Conversations {
    pub last: u32,
    pub turns: u64,
    pub open: BTreeMap<u32, Conversation>,
    /// The conversation whose keys and values are in the cache; `None` after a call without a conversation.
    pub active: Option<u32>,
}

/// An open conversation.
#[derive(Clone, Default)]
pub(super) struct Conversation {
    /// The tokens whose keys and values were in the cache when the conversation was last active.
    pub ids: Vec<u32>,
    /// The snapshot of those keys and values, if one was taken and not evicted.
    pub copy: Option<Rc<Copy>>,
    /// When the conversation was last active, as a value of [`Conversations::turns`].
    pub used: u64,
}

/// A conversation's part of the cache, and what was in it.
pub(super) struct Copy {
    pub cached: Cached,
    pub snapshot: Snapshot,
}

impl Conversations {
    pub fn copies(&self) -> impl Iterator<Item = &Rc<Copy>> {
        self.open.values().filter_map(|c| c.copy.as_ref())
    }

    /// Bytes of all snapshots; cloned conversations share one.
    pub fn bytes(&self) -> u64 {
        let distinct: BTreeMap<_, _> = self.copies().map(|copy| (Rc::as_ptr(copy), copy.snapshot.bytes())).collect();
        distinct.values().sum()
    }

    /// Evicts snapshots, least recently used first and never that of `spared`, until `bytes` more are within the budget.
    pub fn make_room(&mut self, bytes: u64, budget: u64, spared: Option<u32>) -> bool {
        while bytes + self.bytes() > budget {
            let held = self.open.iter_mut().filter(|(id, c)| c.copy.is_some() && Some(**id) != spared);
            let Some((_, oldest)) = held.min_by_key(|(_, c)| c.used) else { return false };
            oldest.copy = None;
        }
        true
    }

    /// Gives up all snapshots, and what is in the cache.
    pub fn forget(&mut self) {
        self.active = None;
        self.open.values_mut().for_each(|conversation| conversation.copy = None);
    }

    pub fn get(&mut self, id: u32) -> Result<&mut Conversation> {
        self.open.get_mut(&id).ok_or_else(|| Error::invalid("session", "it has been destroyed"))
    }
}
