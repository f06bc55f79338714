// How many workers suit this device.

/** Threads by default, at most. */
const MOST = 8;

/**
 * How many workers run: as many as are wanted, or as suit this device. Several need memory that they share, which browsers give to isolated pages only: they meet some
 * hundred times per token, and a message takes longer than the work between two meetings.
 */
export function threads(wanted?: number): number {
  if (globalThis.crossOriginIsolated !== true) return 1;
  if (wanted !== undefined) return wanted;
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  // From 8 on they are mostly pairs that share a core, and products wait for memory; one of a few is left to the page.
  return Math.min(MOST, cores <= 2 ? cores : cores < 8 ? cores - 1 : Math.ceil(cores / 2));
}
