// Makes prompts of exact lengths from a text that every checkout has. Each starts at another position, so that no
// engine can reuse the prefix of another; their ids survive decoding and encoding, so that engines that take text get
// the same ids.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./site.mjs";

/** The short prompt, for which the output of transformers in f32 is recorded and no engine ends early. */
export const SHORT = "Once upon a time, in a small village by the sea,";

/** `count` prompts of each size: `{ 128: [{ text, ids }, …], … }`, made by a page that has a tokenizer. */
export async function prompts(page, sizes, count) {
  const words = readFileSync(join(root, "LICENSE-APACHE"), "utf8").split(/\s+/).filter((word) => word !== "");
  return page.evaluate(async ([words, sizes, count]) => {
    const { encode, decode } = window.bench.tokenizer;
    const made = {};
    let start = 0;
    for (const size of sizes) {
      made[size] = [];
      for (let tries = 0; made[size].length < count; tries++) {
        if (tries > 200) throw new Error(`no ${count} prompts of ${size} tokens`);
        start = (start + 7) % 400;
        const ids = (await encode([...words, ...words].slice(start).join(" "))).slice(0, size);
        const text = await decode(ids);
        if ((await encode(text)).join() === ids.join()) made[size].push({ text, ids });
      }
    }
    return made;
  }, [words, sizes, count]);
}

/** The short prompt, with its ids. */
export const short = (page) => page.evaluate(async (text) => ({ text, ids: await window.bench.tokenizer.encode(text) }), SHORT);
