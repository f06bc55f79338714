//! Several conversations on one KV cache, which holds one of them at a time: the active one. When another becomes active,
//! the used part of the cache is copied to a snapshot on the GPU, within a budget and as far as the device grants it. A
//! conversation whose snapshot was given up is fed again. What a call continues from is found by comparing tokens: the
//! longest prefix of the prompt that the cache or any snapshot holds, whoever put it there.

use std::rc::Rc;

use super::Engine;
use super::cached::Cached;
use super::copies::{Conversation, Copy};
use crate::plan::{Role, Snapshot};
use crate::{Error, Result};

impl Engine {
    /// Opens a conversation and returns its id for [`Engine::generate_in`].
    pub fn open_conversation(&self) -> u32 {
        let all = &mut *self.conversations.borrow_mut();
        all.last += 1;
        all.open.insert(all.last, Conversation::default());
        all.last
    }

    /// Closes a conversation and frees its snapshot.
    pub fn close_conversation(&self, id: u32) {
        let all = &mut *self.conversations.borrow_mut();
        all.open.remove(&id);
        all.active = all.active.filter(|&active| active != id);
    }

    /// Opens a new conversation that continues from the keys and values of an existing one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such conversation, [`Error::DeviceLost`].
    pub async fn clone_conversation(&self, id: u32) -> Result<u32> {
        let _taken = self.take()?;
        self.ready().await?;
        self.conversations.borrow_mut().get(id)?;
        if self.conversations.borrow().active == Some(id) {
            self.keep_active(None).await?;
        }
        let all = &mut *self.conversations.borrow_mut();
        let same = all.get(id)?.clone();
        all.last += 1;
        all.open.insert(all.last, same);
        Ok(all.last)
    }

    /// The tokens of a conversation whose keys and values are in the cache or in a snapshot.
    pub fn conversation_tokens(&self, id: u32) -> Result<Vec<u32>> {
        let all = &mut *self.conversations.borrow_mut();
        let active = all.active == Some(id);
        let conversation = all.get(id)?;
        Ok(if active { self.runner().cached.borrow().ids.clone() } else { conversation.ids.clone() })
    }

    /// Takes a snapshot of the active conversation's part of the cache, if there is one and the budget allows it.
    async fn keep_active(&self, spared: Option<u32>) -> Result<()> {
        let cached = self.runner().cached.borrow().clone();
        let ranges = cached.ranges(&self.runner().kv);
        let bytes = ranges.iter().map(|(_, range)| range.end - range.start).sum();
        let Some(active) = self.conversations.borrow().active else { return Ok(()) };
        let room = {
            let all = &mut *self.conversations.borrow_mut();
            if let Ok(conversation) = all.get(active) {
                conversation.ids.clone_from(&cached.ids);
                conversation.copy = None;
            }
            !ranges.is_empty() && all.make_room(bytes, self.copies_budget, spared)
        };
        if !room {
            return Ok(());
        }
        match Snapshot::take(&self.runner().executor, &ranges, Role::Kv).await {
            Ok(snapshot) => {
                if let Ok(conversation) = self.conversations.borrow_mut().get(active) {
                    conversation.copy = Some(Rc::new(Copy { cached, snapshot }));
                }
                Ok(())
            }
            Err(Error::Memory { .. }) => Ok(()), // it is prefilled again when it becomes active
            Err(e) => Err(e),
        }
    }

    /// Makes a conversation active, or none, and restores the snapshot that holds the longest prefix of `prompt` if
    /// that is longer than the prefix in the cache.
    pub(super) async fn take_turn(&self, id: Option<u32>, prompt: &[u32]) -> Result<()> {
        if let Some(id) = id {
            let all = &mut *self.conversations.borrow_mut();
            all.turns += 1;
            let turns = all.turns;
            all.get(id)?.used = turns;
        }
        if self.conversations.borrow().active != id {
            self.keep_active(id).await?;
        }
        let all = &mut *self.conversations.borrow_mut();
        let reusable = |cached: &Cached| self.runner().reusable_in(cached, prompt, prompt.len());
        let here = reusable(&self.runner().cached.borrow());
        if let Some(best) =
            all.copies().max_by_key(|copy| reusable(&copy.cached)).filter(|c| reusable(&c.cached) > here)
        {
            best.snapshot.restore()?;
            self.runner().cached.borrow_mut().clone_from(&best.cached);
        }
        all.active = id;
        if let Some(own) = id.and_then(|id| all.open.get_mut(&id)) {
            own.copy = None;
        }
        Ok(())
    }
}
