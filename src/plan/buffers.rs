//! The buffers of a model, declared before any is allocated.

use super::share::DividedRows;

/// What a buffer is for: the rows of `Model.memory()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Model weights and constant tables.
    Weights,
    /// The KV cache.
    Kv,
    /// Activations, state, parameters, staging.
    Scratch,
}

/// A buffer of a [`Buffers`] table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// What a buffer is.
#[derive(Debug, Clone)]
pub struct BufferSpec {
    /// Name in error messages and GPU debuggers.
    pub label: String,
    /// Size in bytes, a multiple of 4.
    pub bytes: u64,
    /// Ledger row.
    pub role: Role,
    /// Which part of a matrix it belongs to; 0 for buffers that are not divided.
    pub part: usize,
    /// The rows that workers may divide.
    pub rows: Option<DividedRows>,
}

/// Every buffer of a model, before any is allocated.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Vec<BufferSpec>);

impl Buffers {
    /// Adds a buffer of `bytes` (rounded up to whole words, at least 16).
    pub fn add(&mut self, label: impl Into<String>, bytes: u64, role: Role) -> BufferId {
        self.add_part(label, 0, bytes, role)
    }

    /// As [`Self::add`], for the matrix part `part`.
    pub fn add_part(&mut self, label: impl Into<String>, part: usize, bytes: u64, role: Role) -> BufferId {
        let id = BufferId(u32::try_from(self.0.len()).expect("fewer than 2^32 buffers"));
        self.0.push(BufferSpec {
            label: label.into(),
            // Attention reads caches by pairs of words.
            bytes: bytes.next_multiple_of(if role == Role::Kv { 8 } else { 4 }).max(16),
            role,
            part,
            rows: None,
        });
        id
    }

    /// Lets workers divide the buffer's rows.
    pub fn divide(&mut self, id: BufferId, rows: DividedRows) {
        self.0[id.0 as usize].rows = Some(rows);
    }

    /// The buffer's description.
    pub fn get(&self, id: BufferId) -> &BufferSpec {
        &self.0[id.0 as usize]
    }

    /// All buffers, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &BufferSpec> {
        self.0.iter()
    }
}
