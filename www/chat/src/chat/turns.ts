// Work for many messages at once, done the newest first and with turns for the page in between.

/** Milliseconds of work before the page gets a turn. */
const SLICE = 12;

let waiting: (() => void)[] = [];
let scheduled = false;

/** Runs `job` when what is being drawn is complete, after those that were given later. Returns what calls it off. */
export function inTurn(job: () => void): () => void {
  waiting.push(job);
  if (!scheduled) {
    scheduled = true;
    queueMicrotask(work);
  }
  return () => (waiting = waiting.filter((other) => other !== job));
}

function work(): void {
  const began = performance.now();
  try {
    while (waiting.length > 0 && performance.now() - began < SLICE) waiting.pop()!();
  } finally {
    scheduled = waiting.length > 0;
    if (scheduled) setTimeout(work);
  }
}
