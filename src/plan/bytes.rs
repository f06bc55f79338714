//! Bytes on their way from a file to a buffer. Bytes that JavaScript has read stay in its memory unless something here has to
//! look at them.

use std::ops::Range;

/// Bytes that belong to somebody else.
pub enum BytesRef<'a> {
    /// In this program's memory.
    Here(&'a [u8]),
    /// In JavaScript's memory; the lifetime is that of the [`Bytes`].
    #[cfg(target_arch = "wasm32")]
    Outside(js_sys::Uint8Array),
}

impl BytesRef<'_> {
    /// A copy.
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Here(bytes) => bytes.to_vec(),
            #[cfg(target_arch = "wasm32")]
            Self::Outside(bytes) => bytes.to_vec(),
        }
    }
}

/// Bytes of a file, where they arrived.
pub enum Bytes {
    /// In this program's memory.
    Here(Vec<u8>),
    /// In JavaScript's memory. Whoever has used them calls [`give_back`] with both, so that the memory is used again:
    /// garbage collectors let hundreds of megabytes accumulate.
    #[cfg(target_arch = "wasm32")]
    Outside(js_sys::Uint8Array, Option<js_sys::Function>),
}

impl Bytes {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            #[cfg(target_arch = "wasm32")]
            Self::Outside(bytes, _) => bytes.length() as usize,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the bytes, where they are.
    pub fn range(&self, range: Range<usize>) -> BytesRef<'_> {
        match self {
            Self::Here(bytes) => BytesRef::Here(&bytes[range]),
            #[cfg(target_arch = "wasm32")]
            Self::Outside(bytes, _) => BytesRef::Outside(bytes.subarray(range.start as u32, range.end as u32)),
        }
    }

    /// Gives the memory back to whoever read the bytes.
    pub fn done(self) {
        match self {
            Self::Here(_) => {}
            #[cfg(target_arch = "wasm32")]
            Self::Outside(bytes, done) => give_back(&bytes, done.as_ref()),
        }
    }

    /// The bytes in this program's memory, copied there where they are not.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Here(bytes) => bytes,
            #[cfg(target_arch = "wasm32")]
            Self::Outside(bytes, done) => {
                let taken = bytes.to_vec();
                give_back(&bytes, done.as_ref());
                taken
            }
        }
    }
}

/// Gives JavaScript's memory back to whoever read the bytes.
#[cfg(target_arch = "wasm32")]
pub fn give_back(array: &js_sys::Uint8Array, done: Option<&js_sys::Function>) {
    if let Some(done) = done {
        let _ = done.call1(array, array); // nothing here depends on its result
    }
}
