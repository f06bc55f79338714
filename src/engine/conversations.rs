//! Several conversations on one KV cache. The cache holds one at a time, the active one's. When another takes its turn, the
//! used part of the cache is copied aside on the GPU, within a budget and as far as the device grants it; a conversation
//! whose copy had to go is fed again when its turn comes. What a turn goes on from is found by its tokens: the longest
//! beginning of the prompt that the cache or some copy holds, whoever put it there.

use std::rc::Rc;

use super::Engine;
use super::cached::Cached;
use super::copies::{Conversation, Copy};
use crate::plan::Role;
use crate::{Error, Result};

impl Engine {
    /// Begins a conversation: its number, for [`Engine::generate`].
    pub fn open_conversation(&self) -> u32 {
        let all = &mut *self.conversations.borrow_mut();
        all.last += 1;
        all.open.insert(all.last, Conversation::default());
        all.last
    }

    /// Ends one, and gives back what was copied for it.
    pub fn close_conversation(&self, id: u32) {
        let all = &mut *self.conversations.borrow_mut();
        all.open.remove(&id);
        all.active = all.active.filter(|&active| active != id);
    }

    /// Begins another that goes on from the same keys and values.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where there is no such conversation, [`Error::DeviceLost`].
    pub async fn clone_conversation(&self, id: u32) -> Result<u32> {
        let _taken = self.take()?;
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

    /// Tokens whose keys and values are in the cache or in a copy, for a conversation.
    pub fn conversation_tokens(&self, id: u32) -> Result<Vec<u32>> {
        let all = &mut *self.conversations.borrow_mut();
        let active = all.active == Some(id);
        let conversation = all.get(id)?;
        Ok(if active { self.session.cached.borrow().ids.clone() } else { conversation.ids.clone() })
    }

    /// Copies the active conversation's part of the cache aside, if there is one and room for it.
    async fn keep_active(&self, spared: Option<u32>) -> Result<()> {
        let cached = self.session.cached.borrow().clone();
        let stretches = cached.stretches(&self.session.kv);
        let bytes = stretches.iter().map(|(_, range)| range.end - range.start).sum();
        let Some(active) = self.conversations.borrow().active else { return Ok(()) };
        let room = {
            let all = &mut *self.conversations.borrow_mut();
            if let Ok(conversation) = all.get(active) {
                conversation.ids.clone_from(&cached.ids);
                conversation.copy = None;
            }
            !stretches.is_empty() && all.make_room(bytes, self.copies_budget, spared)
        };
        if !room {
            return Ok(());
        }
        match self.session.executor.set_aside(&stretches, Role::Kv).await {
            Ok(aside) => {
                if let Ok(conversation) = self.conversations.borrow_mut().get(active) {
                    conversation.copy = Some(Rc::new(Copy { cached, aside }));
                }
                Ok(())
            }
            Err(Error::Memory { .. }) => Ok(()), // it is fed again when its turn comes
            Err(e) => Err(e),
        }
    }

    /// Gives the cache to a conversation, or to a call without one, with as much of `prompt` in it as there is anywhere.
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
        let reusable = |cached: &Cached| self.session.reusable_in(cached, prompt, prompt.len());
        let here = reusable(&self.session.cached.borrow());
        if let Some(best) =
            all.copies().max_by_key(|copy| reusable(&copy.cached)).filter(|c| reusable(&c.cached) > here)
        {
            self.session.executor.put_back(&best.aside)?;
            self.session.cached.borrow_mut().clone_from(&best.cached);
        }
        all.active = id;
        if let Some(own) = id.and_then(|id| all.open.get_mut(&id)) {
            own.copy = None;
        }
        Ok(())
    }
}
