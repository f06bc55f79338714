//! Work on all threads: natively those of rayon, in wasm the only one. Each item is made by one thread, so that results do not
//! depend on their number.

/// What `make` makes of `0..count`.
pub fn all<T: Send>(count: usize, make: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    #[cfg(not(target_arch = "wasm32"))]
    {
        use rayon::prelude::*;
        (0..count).into_par_iter().map(make).collect()
    }
    #[cfg(target_arch = "wasm32")]
    (0..count).map(make).collect()
}

/// Calls `make` for every `width` values, with their number.
pub fn each_chunk(values: &mut [f32], width: usize, make: impl Fn(usize, &mut [f32]) + Send + Sync) {
    #[cfg(not(target_arch = "wasm32"))]
    {
        use rayon::prelude::*;
        values.par_chunks_exact_mut(width).with_min_len(64).enumerate().for_each(|(i, values)| make(i, values));
    }
    #[cfg(target_arch = "wasm32")]
    values.chunks_exact_mut(width).enumerate().for_each(|(i, values)| make(i, values));
}
