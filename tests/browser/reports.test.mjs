// Reproduces public bug reports in Chromium: the models and tokenizers of `MINKE_REPORTS` (a folder like
// `../shared/data/reports`; tests/reports.rs runs the same rows natively, and those of templates). Without the variable
// a subset of them is run, because each costs a load.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { absent, installApp, root } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";
import { open } from "./lib/store.mjs";
import { folder } from "./lib/tiny.mjs";

const reports = resolve(process.env.MINKE_REPORTS ?? join(root, "../shared/data/reports"));
const missing = absent(reports) && `${absent(reports)} (MINKE_REPORTS may name another folder)`;
const skip = chromiumPath ? missing : "Chromium: it is not installed";
const all = ["MINKE_REPORTS", "MINKE_ALL"].some((name) => process.env[name] !== undefined);
const read = (name) => readFileSync(join(reports, name), "utf8");

describe("public bug reports", { skip }, () => {
  let server, browser, page;
  const told = [];
  before(async () => {
    server = await serve({ "/app/": installApp("reports-app"), "/reports/": reports });
    browser = await launch();
    page = await open(await browser.newContext(), server);
    page.on("console", (message) => told.push(message.text()));
    await page.evaluate(() => {
      window.loaded = async (source, contextLength, internal) => minke.load(source, { worker: false, cache: "none", contextLength, internal: { withoutSelfTest: true, ...internal } });
    });
  }, { timeout: 120_000 });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("models", { timeout: 300_000 }, async () => {
    const rows = read("models.jsonl").trim().split("\n").map((line) => JSON.parse(line)).filter((_, i) => all || i % 5 === 0);
    assert.ok(rows.length > 0);
    const wrong = [];
    for (const row of rows) {
      told.length = 0;
      const found = await page.evaluate(async (row) => {
        let model;
        try {
          model = await loaded(`/reports/${row.path}`, 128, { f32: row.logits?.f32 === true });
          const { generate, prompt_ids: prompt, logits, prompt_has_no: hasNo } = row;
          const hi = [{ role: "user", content: "hi" }];
          const generated = generate && (await model.generate(generate.messages, { temperature: generate.temperature, maxOutputTokens: generate.max_output_tokens }));
          return {
            warnings: model.info.warnings,
            generated: generated && { text: generated.text, reasoning: generated.reasoning, finish: generated.finishReason },
            ids: prompt && [...(await model.tokenizer.encodeMessages(prompt.messages, { addGenerationPrompt: true }))],
            logits: logits && [...(await model.forward(Uint32Array.from(logits.ids), { rows: "all" }))],
            prompt: hasNo && (await model.tokenizer.applyChatTemplate(hi, { addGenerationPrompt: true })),
          };
        } catch (e) {
          return { error: e.message, code: e.code };
        } finally {
          await model?.unload();
        }
      }, row);
      const expect = (good, what) => good || wrong.push(`${row.name}: ${what}; ${JSON.stringify({ ...found, logits: undefined })}`);
      if (row.refused) {
        for (const word of row.refused.mentions) expect(found.error?.includes(word), `the refusal does not say ${word}`);
        continue;
      }
      expect(found.error === undefined, "it does not load");
      if (found.error !== undefined) continue;
      if (row.warns) expect(found.warnings.length > 0 && told.some((text) => text.includes(found.warnings[0].message)), "it does not warn");
      for (const [key, value] of Object.entries(row.generate?.expect ?? {})) expect(found.generated[key] === value, `${key} is not ${value}`);
      if (row.prompt_ids?.first !== undefined) expect(found.ids[0] === row.prompt_ids.first, `the first id is not ${row.prompt_ids.first}`);
      for (const [id, times] of Object.entries(row.prompt_ids?.count ?? {})) expect(found.ids.filter((got) => got === Number(id)).length === times, `${id} occurs not ${times} times`);
      if (row.prompt_has_no) expect(!found.prompt.includes(row.prompt_has_no), `it has ${row.prompt_has_no}`);
      if (row.logits) {
        const bytes = readFileSync(join(reports, row.path, row.logits.file));
        const want = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
        const worst = want.reduce((most, value, i) => Math.max(most, Math.abs(value - found.logits[i])), 0);
        expect(found.logits.length === want.length && worst <= row.logits.tolerance, `logits differ by up to ${worst}`);
      }
    }
    assert.equal(wrong.length, 0, `${wrong.length} of ${rows.length} rows are not right:\n${wrong.join("\n")}`);
  });

  test("tokenizers", { timeout: 300_000 }, async () => {
    const rows = JSON.parse(read("tokenizers.json")).filter((_, i) => all || i % 15 === 0);
    assert.ok(rows.length > 0);
    const wrong = [];
    for (const row of rows) {
      const tokenizer = read(row.file);
      const { model, added_tokens: added } = JSON.parse(tokenizer);
      const ids = [...Object.values(model.vocab), ...(added ?? []).map(({ id }) => id)];
      const files = Object.entries({ ...folder({ vocab_size: Math.max(257, ...ids) + 1 }), "tokenizer.json": tokenizer });
      server.mounts["/row/"] = new Map(files.map(([name, content]) => [name, { size: Buffer.from(content).length, read: (start, end) => Buffer.from(content).subarray(start, end) }]));
      const found = await page.evaluate(async ({ texts, special, expected }) => {
        let model;
        try {
          model = await loaded("/row/", 64);
          const all = [];
          for (const [i, text] of texts.entries()) {
            const ids = [...(await model.tokenizer.encode(text, { addSpecialTokens: special }))];
            const wanted = expected[i]?.ids ?? ids;
            all.push({ ids, decode: await model.tokenizer.decode(wanted), skip: await model.tokenizer.decode(wanted, { skipSpecialTokens: true }) });
          }
          return all;
        } catch (e) {
          return { error: e.message };
        } finally {
          await model?.unload();
        }
      }, row);
      if (typeof row.expected === "string") {
        if (found.error === undefined) wrong.push(`${row.name}: it loads; the reference says ${row.expected}`);
        continue;
      }
      if (found.error !== undefined) wrong.push(`${row.name}: ${found.error}`);
      else row.expected.forEach((want, i) => JSON.stringify(want) === JSON.stringify(found[i]) || wrong.push(`${row.name}: ${JSON.stringify(row.texts[i])} is ${JSON.stringify(found[i])}, not ${JSON.stringify(want)}`));
    }
    assert.equal(wrong.length, 0, `${wrong.length} faults in ${rows.length} rows:\n${wrong.join("\n")}`);
  });
});
