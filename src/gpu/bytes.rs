//! Bytes on their way from a file to the GPU. What JavaScript has read goes there without passing this program's memory, where
//! nothing here has to look at it.

use super::device::Device;

/// Bytes of a file, where they arrived.
pub enum Bytes {
    /// In this program's memory.
    Here(Vec<u8>),
    /// In JavaScript's memory. Who takes them gives the memory back through the function, to be used again: garbage collectors let
    /// hundreds of megabytes gather.
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

#[cfg(target_arch = "wasm32")]
fn give_back(array: &js_sys::Uint8Array, done: Option<&js_sys::Function>) {
    if let Some(done) = done {
        let _ = done.call1(array, array); // an error of its own changes nothing here
    }
}

impl Device {
    /// Writes to a buffer, padded with zeros to whole words. `offset` is a multiple of 4, in bytes.
    pub(super) fn upload(&self, buffer: &wgpu::Buffer, offset: u64, bytes: Bytes) {
        #[cfg(target_arch = "wasm32")]
        if let Bytes::Outside(array, done) = &bytes
            && bytes.len().is_multiple_of(4)
            && let (Some(queue), Some(raw)) = (self.queue.as_webgpu(), buffer.as_webgpu())
        {
            // A write that does not fit is refused with an exception; wgpu's own would stop the program.
            let written = queue.write_buffer_with_f64_and_u8_array(raw, offset as f64, array);
            assert!(written.is_ok(), "{} bytes at {offset} lie within the buffer", array.length());
            give_back(array, done.as_ref());
            return;
        }
        let mut bytes = bytes.into_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.queue.write_buffer(buffer, offset, &bytes);
    }
}
