// What weights are in the workgroup's memory (lib/tile.wgsl).
alias Stored = f32;
