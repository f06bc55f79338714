// Weights in a workgroup's memory (lib/tile.wgsl) in 16 bits, in place of lib/stored.wgsl: the tiles take 6 KiB of the
// workgroup's memory in place of 10, and three quarters of what is read from it. Inputs and products stay f32: a few channels
// of many models exceed the range of f16.
alias Stored = f16;
