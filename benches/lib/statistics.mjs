// Summary statistics: median, range, significant figures.

/** The middle value, or the mean of the two in the middle. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Minimum, median and maximum; undefined for no values. */
export function spread(values) {
  const known = values.filter((v) => Number.isFinite(v));
  if (known.length === 0) return undefined;
  return { min: Math.min(...known), median: median(known), max: Math.max(...known), runs: known.length };
}

/** Formats a number with three significant figures. */
export const figures = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3).replace(/e\+?(-?\d+)$/, "e$1"));
