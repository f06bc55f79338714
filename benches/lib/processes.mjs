// Measures CPU time and memory of all descendants of this process, such as the browser's.

import { readdirSync, readFileSync } from "node:fs";

const TICKS = 100; // clock ticks per second in /proc/*/stat on Linux

/** Descendants of this process. */
function descendants() {
  const children = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const parent = stat(pid)?.[1];
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found = [];
  for (const todo = [String(process.pid)]; todo.length > 0;) {
    const next = children.get(todo.pop()) ?? [];
    found.push(...next);
    todo.push(...next);
  }
  return found;
}

/** Fields of /proc/PID/stat after the name, which may contain any character: state, parent, … */
function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined; // it ended
  }
}

function kind(pid) {
  try {
    return /--type=([a-z-]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, "utf8"))?.[1] ?? "browser";
  } catch {
    return "browser";
  }
}

/** Proportional set size in bytes: shared pages are divided among the processes. */
function proportional(pid) {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Milliseconds since 1970, as `performance.timeOrigin + performance.now()` is in a page. */
export const now = () => performance.timeOrigin + performance.now();

/** Samples CPU seconds every 100 ms and memory every two seconds until stopped. */
export class Watch {
  #samples = [];
  #pids = [];
  #timers = [];
  #kinds = new Map();
  peakBytes = 0;

  constructor() {
    this.#look();
    this.#timers = [setInterval(() => this.#sample(), 100), setInterval(() => this.#look(), 2000)];
  }

  #look() {
    this.#pids = descendants();
    this.peakBytes = Math.max(this.peakBytes, this.#pids.reduce((sum, pid) => sum + proportional(pid), 0));
    this.#sample();
  }

  #sample() {
    const byKind = {};
    let all = 0;
    for (const pid of this.#pids) {
      const fields = stat(pid);
      if (fields === undefined) continue;
      const seconds = (Number(fields[11]) + Number(fields[12])) / TICKS;
      if (!this.#kinds.has(pid)) this.#kinds.set(pid, kind(pid));
      byKind[this.#kinds.get(pid)] = (byKind[this.#kinds.get(pid)] ?? 0) + seconds;
      all += seconds;
    }
    this.#samples.push({ at: now(), all, byKind });
  }

  /** CPU seconds between two times, of all processes or of one kind ("renderer", "gpu-process"). */
  seconds(from, to, of) {
    const value = (sample) => (of === undefined ? sample.all : (sample.byKind[of] ?? 0));
    const at = (time) => {
      const i = this.#samples.findIndex((s) => s.at >= time);
      if (i <= 0) return value(this.#samples.at(i === 0 ? 0 : -1));
      const [a, b] = [this.#samples[i - 1], this.#samples[i]];
      return value(a) + ((value(b) - value(a)) * (time - a.at)) / (b.at - a.at);
    };
    return at(to) - at(from);
  }

  stop() {
    this.#timers.forEach(clearInterval);
    this.#look();
  }
}
