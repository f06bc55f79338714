// Runs the Web Platform Tests of the Prompt API on the echo model, in Chromium: node tests/clients/wpt.mjs FOLDER, a checkout of
// web-platform-tests. tests/clients/wpt.json says which do not apply, and which fail, and why.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "../browser/lib/chromium.mjs";
import { serve } from "../browser/lib/server.mjs";

const [folder] = process.argv.slice(2);
if (folder === undefined || !existsSync(join(folder, "resources/testharness.js"))) {
  console.error("usage: node tests/clients/wpt.mjs FOLDER, which has resources/testharness.js and ai/language-model");
  process.exit(2);
}
const { exempt, failing } = JSON.parse(readFileSync(new URL("wpt.json", import.meta.url), "utf8"));
const dist = fileURLToPath(new URL("../../pkg/dist", import.meta.url));

/** The answers of Chromium's model for tests: the whole conversation, and calls of tools where a text asks for them. */
const MODEL = `
import { install } from "/dist/prompt-api.js";
import { echoModel } from "/dist/testing.js";

const plain = echoModel({ contextLength: 1 << 16 });
const calls = (tools) => Object.entries(tools).map(([toolName, { description }]) => ({ toolName, input: JSON.parse(/Args: (.*)$/.exec(description)[1]) }));
async function script({ text, messages, options }) {
  const { tools = {}, responseConstraint } = options;
  const wish = /^<Generate(?:Simple|Multiple)ToolCalls>/.exec(text);
  if (wish !== null && messages.at(-1).role === "user") return { text: text.slice(wish[0].length), toolCalls: calls(tools) };
  if (responseConstraint instanceof RegExp) return responseConstraint.source.replace(/^\\^|\\.\\*$/g, "");
  if (responseConstraint !== undefined) return (await plain.generate([...messages], { responseConstraint })).text;
  return messages.map(shown).join("\\n");
}
function shown({ role, content, name, toolCallId: callID, toolCalls = [] }) {
  if (role === "tool") return "<tool-response>" + JSON.stringify({ callID, name, result: [content] }) + "</tool-response>";
  const called = toolCalls.map(({ toolCallId, toolName, input }) => "<tool-call>" + JSON.stringify({ callID: toolCallId, name: toolName, arguments: JSON.parse(input) }) + "</tool-call>");
  return content + called.join("");
}
install({ model: echoModel({ script, contextLength: 4096 }), force: true });
window.test_driver = { bless: async () => {} };
`;

/** A page that runs a file of tests, and whatever scripts it names. */
function pageOf(file) {
  const text = readFileSync(join(folder, file), "utf8");
  const scripts = [...text.matchAll(/^\/\/ META: script=(.*)$/gm)].map(([, script]) => posix.join("/", script.startsWith("/") ? "" : posix.dirname(file), script));
  return `<!doctype html><meta charset="utf-8"><body><script src="/resources/testharness.js"></script><script>setup({ explicit_done: true, output: false })</script>
<script type="module">
import "/model.js";
for (const src of ${JSON.stringify([...scripts.filter((script) => !script.includes("testdriver")), `/${file}`])}) {
  await new Promise((resolve, reject) => document.body.append(Object.assign(document.createElement("script"), { src, onload: resolve, onerror: reject })));
}
window.results = new Promise((resolve) => add_completion_callback((tests) => resolve(tests.map(({ name, status, message }) => ({ name, status, message })))));
done();
</script>`;
}

const PASS = 0;
const PRECONDITION_FAILED = 4;
const files = readdirSync(join(folder, "ai/language-model"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(?:js|html)$/.test(entry.name))
  .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)).split(sep).join("/"))
  .sort();

const server = await serve({ "/": folder, "/dist/": dist, "/model.js": { type: "text/javascript", body: MODEL } });
const browser = await launch({ args: ["--js-flags=--expose-gc"] });
const counts = { passed: 0, failed: 0, exempt: 0 };
const unexpected = [];
for (const file of files) {
  const reason = exempt.find(({ path }) => new RegExp(path).test(file));
  if (reason !== undefined) {
    counts.exempt++;
    continue;
  }
  server.mounts["/page.html"] = { type: "text/html", body: pageOf(file) };
  const page = await browser.newPage();
  await page.goto(`${server.origin}/page.html`);
  const silent = [{ name: "the file", message: "it gives no result" }];
  const begun = await page.waitForFunction(() => window.results !== undefined, undefined, { timeout: 20_000 }).catch(() => undefined);
  for (const { name, status, message } of begun === undefined ? silent : await page.evaluate(() => window.results)) {
    const expected = failing.find((entry) => file.endsWith(entry.file) && entry.test === name);
    if (status === PRECONDITION_FAILED) counts.exempt++;
    else if (status === PASS) counts.passed++;
    else counts.failed++;
    if (status !== PRECONDITION_FAILED && (status === PASS) === (expected !== undefined)) unexpected.push(`${file}: ${name}: ${message ?? "passes, and is listed as failing"}`);
  }
  await page.close();
}
await browser.close();
await server.close();
const share = counts.passed / (counts.passed + counts.failed);
console.log(`${counts.passed} of ${counts.passed + counts.failed} tests that apply pass (${(100 * share).toFixed(1)} %); ${counts.exempt} do not apply`);
for (const line of unexpected) console.log(`unexpected: ${line}`);
process.exitCode = unexpected.length === 0 && share >= 0.9 ? 0 : 1;
