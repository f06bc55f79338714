//! Saves a conversation's tokens with their keys and values, and restores it later without prefilling it again.
//!
//! The file consists of [`MAGIC`], the header's length in 8 bytes, a JSON header, the used part of each KV-cache
//! buffer, and the SHA-256 of everything before it. A model restores only its own files: the header contains a digest
//! of its weights.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Engine;
use super::cached::Cached;
use crate::plan::BufferId;
use crate::weights::ByteSource;
use crate::{Cancel, Error, FormatKind, Result};

const MAGIC: &[u8; 8] = b"minke kv";
/// Bytes that are held in host memory at once.
const PIECE: u64 = 4 << 20;
/// Maximum bytes of a header.
const MAX_HEADER: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    version: u32,
    /// [`Engine::digest`] of the model, and its name for error messages.
    model: String,
    name: String,
    /// The buffers of the model's KV cache.
    buffers: Vec<Stored>,
    ids: Vec<u32>,
    written: usize,
    /// Whether the keys are rotated for a sequence beyond LongRoPE's original length.
    #[serde(default)]
    long: bool,
    /// The caller's note.
    note: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Stored {
    /// Tokens that the buffer holds.
    tokens: usize,
    /// Bytes per token.
    token_bytes: u64,
}

impl Engine {
    /// Writes a conversation to `sink`, some MiB at a time, with a note of the caller's. Tokens that are no longer in
    /// the cache or in a snapshot are prefilled again first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such conversation, [`Error::Memory`], [`Error::DeviceLost`],
    /// [`Error::Aborted`].
    pub async fn save_conversation(
        &self,
        id: u32,
        note: &str,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        cancel.check()?;
        let _taken = self.take()?;
        self.ready().await?;
        let ids = self.conversation_tokens(id)?;
        self.take_turn(Some(id), &ids).await?;
        self.runner().prefill(&ids, cancel, &mut |_| {}).await?;
        let cached = self.runner().cached.borrow().clone();
        let stored = |b: &crate::model::KvBuffer| Stored { tokens: b.tokens, token_bytes: b.token_bytes };
        let header = Header {
            version: 1,
            model: self.digest().await?,
            name: self.id.clone(),
            buffers: self.runner().kv.iter().map(stored).collect(),
            ids: cached.ids.clone(),
            written: cached.written,
            long: cached.long,
            note: note.to_owned(),
        };
        let header = serde_json::to_vec(&header).expect("our own types are JSON");
        let mut digest = Sha256::new();
        let mut put = |bytes: &[u8]| {
            digest.update(bytes);
            sink(bytes);
        };
        put(MAGIC);
        put(&(header.len() as u64).to_le_bytes());
        put(&header);
        for (buffer, bytes) in pieces(&cached.ranges(&self.runner().kv)) {
            cancel.check()?;
            put(&self.runner().executor.read(&[(buffer, bytes)]).await?);
        }
        sink(&digest.finalize());
        Ok(())
    }

    /// Opens a conversation from a saved one and returns its id and the note.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not such a file or belongs to another model, [`Error::Integrity`] if its bytes were
    /// changed, [`Error::ContextOverflow`] where the context is too short for it, [`Error::Aborted`],
    /// [`Error::DeviceLost`].
    pub async fn restore_conversation(&self, from: &dyn ByteSource, cancel: &Cancel) -> Result<(u32, String)> {
        cancel.check()?;
        let _taken = self.take()?;
        let bad = |kind, message: &str| Error::format(kind, from.name(), message);
        if from.len() < 48 {
            return Err(bad(FormatKind::Truncated, "the file is too short for a saved conversation"));
        }
        let front = from.read(0..16).await?;
        if front[..8] != MAGIC[..] {
            return Err(bad(FormatKind::BadMagic, "this is not a saved conversation"));
        }
        let length = u64::from_le_bytes(front[8..].try_into().expect("eight bytes"));
        if length > MAX_HEADER {
            return Err(bad(FormatKind::LimitExceeded, "its header is too long"));
        }
        if length > from.len() - 48 {
            return Err(bad(FormatKind::Truncated, "its header is cut short"));
        }
        let json = from.read(16..16 + length).await?;
        let header: Header =
            serde_json::from_slice(&json).map_err(|e| bad(FormatKind::BadJson, &format!("its header: {e}")))?;
        self.ready().await?;
        let cached = self.accept_saved(&header, from).await?;
        let ranges = cached.ranges(&self.runner().kv);
        let payload: u64 = ranges.iter().map(|(_, bytes)| bytes.end).sum();
        if from.len() != 48 + length + payload {
            let message = format!("it has {} bytes; expected {}", from.len(), 48 + length + payload);
            return Err(bad(FormatKind::SizeMismatch, &message));
        }

        let id = self.open_conversation();
        let filled = async {
            self.take_turn(Some(id), &[]).await?;
            self.runner().forget(); // until all of it is restored and verified
            let mut digest = Sha256::new().chain_update(&front).chain_update(&json);
            let mut at = 16 + length;
            for (buffer, bytes) in pieces(&ranges) {
                cancel.check()?;
                let size = bytes.end - bytes.start;
                let piece = from.read(at..at + size).await?;
                digest.update(&piece);
                self.runner().executor.write(buffer, bytes.start, &piece);
                at += size;
            }
            let [found, expected] = [digest.finalize().to_vec(), from.read(at..at + 32).await?].map(hex);
            if found != expected {
                return Err(Error::Integrity { file: from.name().to_owned(), expected, found });
            }
            cancel.check()
        };
        if let Err(e) = filled.await {
            self.close_conversation(id);
            return Err(e);
        }
        self.runner().cached.replace(cached);
        Ok((id, header.note))
    }

    /// The cache state that a header describes, if this model can continue from it.
    async fn accept_saved(&self, header: &Header, from: &dyn ByteSource) -> Result<Cached> {
        let bad = |kind, message: String| Err(Error::format(kind, from.name(), message));
        if header.version != 1 {
            return bad(
                FormatKind::UnsupportedVersion,
                format!("file format version {} is not supported", header.version),
            );
        }
        let kv = &self.runner().kv;
        let same = |(b, s): (&crate::model::KvBuffer, &Stored)| b.token_bytes == s.token_bytes;
        if header.model != self.digest().await?
            || header.buffers.len() != kv.len()
            || !kv.iter().zip(&header.buffers).all(same)
        {
            let message = format!(
                "it was saved by {:?}; this is {:?}, or the same model loaded with other options",
                header.name, self.id
            );
            return bad(FormatKind::BadValue, message);
        }
        let (tokens, context_length) = (header.ids.len(), self.runner().context_length);
        if tokens > context_length || header.written > context_length {
            return Err(Error::ContextOverflow { input_tokens: tokens.max(header.written), context_length });
        }
        if header.written < tokens || header.ids.iter().any(|&id| id as usize >= self.info.vocab_size) {
            return bad(FormatKind::BadValue, "its tokens cannot be those of this model".into());
        }
        // A ring buffer that has wrapped around can only be continued with the same number of slots.
        let fits = |(b, s): (&crate::model::KvBuffer, &Stored)| {
            b.tokens == s.tokens || header.written <= b.tokens.min(s.tokens)
        };
        if !kv.iter().zip(&header.buffers).all(fits) {
            return bad(FormatKind::BadValue, "the sizes of its KV-cache buffers do not match".into());
        }
        Ok(Cached { ids: header.ids.clone(), written: header.written, long: header.long })
    }

    /// A digest that identifies this model: its architecture, and the first bytes of all its weights and tables on the
    /// device.
    async fn digest(&self) -> Result<String> {
        if let Some(known) = self.digest.borrow().as_ref() {
            return Ok(known.clone());
        }
        let mut digest = Sha256::new();
        digest.update(format!("{} {} ", self.info.architecture, self.info.vocab_size));
        digest.update(self.runner().executor.read(&self.runner().samples).await?);
        self.runner().long_rope.iter().for_each(|rope| digest.update(Sha256::digest(&rope.long)));
        let digest = hex(digest.finalize().to_vec());
        *self.digest.borrow_mut() = Some(digest.clone());
        Ok(digest)
    }
}

/// Splits ranges of buffers into pieces of at most [`PIECE`] bytes.
fn pieces(ranges: &[(BufferId, Range<u64>)]) -> impl Iterator<Item = (BufferId, Range<u64>)> + '_ {
    ranges.iter().flat_map(|(buffer, bytes)| {
        (bytes.start..bytes.end).step_by(PIECE as usize).map(|at| (*buffer, at..bytes.end.min(at + PIECE)))
    })
}

fn hex(bytes: Vec<u8>) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
