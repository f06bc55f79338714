//! The conversations that are open, and the copies of the KV cache that are kept for those that are not active.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cached::Cached;
use crate::gpu::Aside;
use crate::{Error, Result};

/// Bytes that copies of conversations take together, at most.
pub const COPIES: u64 = 256 << 20;

/// Every conversation that is open.
#[derive(Default)]
pub(super) struct Conversations {
    pub last: u32,
    pub turns: u64,
    pub open: BTreeMap<u32, Conversation>,
    /// Whose keys and values are in the cache; none where it was a call without a conversation.
    pub active: Option<u32>,
}

/// One that is open.
#[derive(Clone, Default)]
pub(super) struct Conversation {
    /// Its tokens whose keys and values were in the cache when it last was active.
    pub ids: Vec<u32>,
    /// Those, where they were copied and are still there.
    pub copy: Option<Rc<Copy>>,
    /// The turn in which it last was active.
    pub used: u64,
}

/// A conversation's part of the cache, and what was in it.
pub(super) struct Copy {
    pub cached: Cached,
    pub aside: Aside,
}

impl Conversations {
    pub fn copies(&self) -> impl Iterator<Item = &Rc<Copy>> {
        self.open.values().filter_map(|c| c.copy.as_ref())
    }

    /// Bytes of all copies; clones share theirs.
    pub fn bytes(&self) -> u64 {
        let distinct: BTreeMap<_, _> = self.copies().map(|copy| (Rc::as_ptr(copy), copy.aside.bytes())).collect();
        distinct.values().sum()
    }

    /// Gives up copies until as many bytes are within the budget, those longest unused first; never `spared`'s.
    pub fn make_room(&mut self, bytes: u64, budget: u64, spared: Option<u32>) -> bool {
        while bytes + self.bytes() > budget {
            let held = self.open.iter_mut().filter(|(id, c)| c.copy.is_some() && Some(**id) != spared);
            let Some((_, oldest)) = held.min_by_key(|(_, c)| c.used) else { return false };
            oldest.copy = None;
        }
        true
    }

    pub fn get(&mut self, id: u32) -> Result<&mut Conversation> {
        self.open.get_mut(&id).ok_or_else(|| Error::invalid("session", "it has been destroyed"))
    }
}
