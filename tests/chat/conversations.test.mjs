// Tests conversations in the built chat: writing, answers, versions, the list, drafts, files, context. By keyboard where a key does it.

import { after, afterEach, before, describe, test } from "node:test";
import { answered, assert, choose, looksWell, say, skip, startApp, texts } from "./lib/app.mjs";

let app, visitor, page;

before(async () => {
  if (!skip) app = await startApp();
});
after(() => app?.close());
afterEach(async () => {
  await page?.fine();
  await visitor?.close();
  page = undefined;
});

async function open(options = {}, profile = {}) {
  visitor = await app.visitor(profile);
  page = await visitor.open(options);
  return page;
}

/** Answers with the number of the call, and with thoughts. */
const counting = '({ index, text }) => ({ reasoning: "Thinking about " + text, text: "Answer " + index + " to " + text })';
/** Of all answers, also of those out of sight, which are not laid out. */
const body = (page) => page.locator(".message.assistant .md").allTextContents();

describe("answers", { skip }, () => {
  test("are written as they come, with their thoughts folded, and are there after a reload", async () => {
    await open({ script: counting });
    await page.keyboard.press("/");
    await page.keyboard.type("Why?");
    await page.keyboard.press("Enter");
    await answered(page);
    assert.deepEqual(await body(page), ["Answer 0 to Why?"]);
    assert.match(page.url(), /#\/c\//, "the address names the conversation");
    const thinking = page.locator(".thinking");
    assert.match(await thinking.innerText(), /Thought for .*3 words/s);
    await thinking.locator("summary").press("Enter");
    await page.waitForSelector(".thoughts p");
    assert.match(await thinking.innerText(), /Thinking about Why\?/);
    assert.match(await page.locator(".stats").innerText(), /tokens · .* per second/);
    await page.reload();
    await page.waitForSelector(".md p");
    assert.deepEqual(await body(page), ["Answer 0 to Why?"]);
    assert.equal(await page.title(), "Why? – Minke chat");
  });

  test("can be stopped, gone on with, and made again; both versions stay", async () => {
    await open({ query: "?model=echo&delay=5", script: '({ index, messages }) => index === 1 ? " and the rest" : "word ".repeat(200)' });
    await page.fill("#message", "Go");
    await page.press("#message", "Enter");
    await page.waitForFunction(() => document.querySelector(".message.live .md")?.textContent.length > 20);
    await page.keyboard.press("Escape");
    await answered(page);
    const begun = (await body(page))[0];
    assert.ok(begun.length < 900);
    assert.match(await page.locator(".ending").innerText(), /Stopped/);
    await page.getByRole("button", { name: "Continue" }).click();
    await answered(page);
    assert.equal((await body(page))[0], `${begun} and the rest`, "it went on where it stopped");
    await page.keyboard.press("Control+Shift+E");
    await page.waitForSelector(".message.live");
    await page.keyboard.press("Escape");
    await answered(page);
    assert.equal(await page.locator(".versions").innerText(), "2/2");
    await page.getByRole("button", { name: "Previous version" }).press("Enter");
    await page.waitForFunction(() => document.querySelector(".versions").innerText === "1/2");
    await page.waitForFunction(() => / and the rest$/.test(document.querySelector(".md")?.textContent ?? ""));
  });

  test("an edited question is sent beside the first one; the tree shows both", async () => {
    await open({ script: counting });
    await say(page, "First");
    await page.press("#message", "ArrowUp");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("Second");
    await page.keyboard.press("Control+Enter");
    await answered(page);
    assert.deepEqual(await texts(page, ".said"), ["Second"]);
    await page.getByRole("button", { name: "Branches" }).press("Enter");
    assert.deepEqual((await texts(page, ".outline-text")).map((text) => text.trim()), ["First", "Answer 0 to First", "Second", "Answer 1 to Second"]);
    await page.getByRole("button", { name: /Answer 0/ }).press("Enter");
    await page.waitForFunction(() => document.querySelector(".said").innerText === "First");
    await page.keyboard.press("Escape");
    await choose(page, page.locator(".message.user").getByRole("button", { name: "More" }), "Delete from here");
    await page.waitForFunction(() => document.querySelector(".said").innerText === "Second");
    await page.getByRole("button", { name: "Undo" }).press("Enter");
    await page.waitForFunction(() => document.querySelector(".said").innerText === "First");
  });

  test("tools run on the page, and their calls and results are folded", async () => {
    await open({ script: '({ index, messages }) => index === 0 ? { toolCalls: [{ toolName: "calculator", input: { expression: "6 * 7" } }] } : "It is " + messages.at(-1).content' });
    await page.evaluate(() => new Promise((done) => {
      // The switch is on the settings screen, which has tests of its own.
      const request = indexedDB.open("minke-chat");
      request.onsuccess = () => {
        const transaction = request.result.transaction("meta", "readwrite");
        transaction.objectStore("meta").put({ other: { tools: true } }, "settings");
        transaction.oncomplete = () => (request.result.close(), done());
      };
    }));
    await page.reload();
    await say(page, "What is 6 × 7?");
    assert.deepEqual(await body(page), ["It is 42"]);
    const call = page.locator(".call");
    assert.match(await call.innerText(), /Used calculator/);
    await call.locator("summary").press("Enter");
    await call.locator("pre").first().waitFor();
    assert.match(await call.innerText(), /6 \* 7.*42/s);
    await page.reload();
    assert.match(await page.locator(".call").textContent(), /Used calculator/);
  });

  test("an error has words, and a button that helps; the conversation stays", async () => {
    await open({ script: '({ index }) => index === 0 ? { text: "Half of", error: new Error("boom") } : " it all"' });
    await say(page, "Hello");
    assert.match(await page.locator(".ending").innerText(), /The engine failed/);
    await looksWell(page, "error");
    await page.getByRole("button", { name: "Try again" }).press("Enter");
    await answered(page);
    assert.deepEqual(await body(page), ["Half of it all"]);
  });

  test("how sure the model was is shown on demand", async () => {
    await open({ script: counting });
    await say(page, "Sure?");
    await choose(page, page.locator(".message.assistant").getByRole("button", { name: "More" }), "How sure it was");
    await page.waitForSelector(".heat-text span");
    assert.equal((await texts(page, ".heat-text")).join(""), "Answer 0 to Sure?");
    await page.focus(".heat-text");
    await page.keyboard.press("ArrowRight");
    assert.match(await page.locator(".heat .hint").innerText(), /“A”: \d+ %|“A”: \d+%/);
    await choose(page, page.locator(".message.assistant").getByRole("button", { name: "More" }), "Details");
    assert.match(await page.locator("dialog").innerText(), /Tokens read.*Tokens written.*Time to the first token/s);
    await looksWell(page, "details");
  });

  test("are read out by the sentence", async () => {
    await open({ query: "?model=echo&delay=2", script: '() => "One is said. Two is **bold**.\\n\\n```js\\nlet x;\\n```\\n\\nThree"' });
    await page.evaluate(() => {
      globalThis.heard = [];
      new MutationObserver((records) => records.forEach(({ addedNodes }) => addedNodes.forEach((node) => node.textContent && heard.push(node.textContent)))).observe(document.querySelector("[aria-live=polite]"), { childList: true, subtree: true });
    });
    await say(page, "Speak");
    await page.waitForFunction(() => heard.at(-1) === "The answer is complete.");
    assert.deepEqual(await page.evaluate(() => heard), ["The model is answering.", "One is said.", "Two is bold.", "A block of js code.", "Three", "The answer is complete."]);
  });

  test("a link is shown in full before it is followed", async () => {
    await open({ script: '() => "See [the site](https://xn--pple-43d.com/x) and [that](https://example.org/a?b=c)."' });
    await say(page, "Link?");
    await page.locator(".md a").first().press("Enter");
    assert.match(await page.locator("dialog").innerText(), /https:\/\/xn--pple-43d\.com\/x.*imitate/s);
    await looksWell(page, "link");
    await page.keyboard.press("Escape");
    assert.equal(visitor.context.pages().length, 1);
  });
});

describe("conversations", { skip }, () => {
  test("are listed, renamed, pinned, filed, found, deleted and brought back", async () => {
    await open();
    await say(page, "About whales and krill");
    await page.keyboard.press("Control+Shift+O");
    await page.waitForFunction(() => document.querySelectorAll(".message").length === 0);
    await say(page, "About birds");
    const titles = () => texts(page, ".sidebar .conversation-title");
    assert.deepEqual(await titles(), ["About birds", "About whales and krill"]);
    const row = (name) => page.getByRole("button", { name: `Actions for “${name}”` }).first();
    await choose(page, page.locator(".sidebar").getByRole("button", { name: "Actions for “About whales and krill”" }), "Rename");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("Whales");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".sidebar").innerText.includes("Whales"));
    await choose(page, row("Whales"), "Pin");
    await page.waitForFunction(() => document.querySelector(".sidebar .conversation-title").innerText === "Whales");
    await choose(page, row("Whales"), "Move to a folder");
    await page.keyboard.type("Sea");
    await page.keyboard.press("Enter");
    await choose(page, row("Whales"), "Tags");
    await page.keyboard.type("krill, blue");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".sidebar").innerText.includes("#blue"));
    await page.selectOption(".filter", "f:Sea");
    assert.deepEqual(await titles(), ["Whales"]);
    await page.selectOption(".filter", "");
    await page.keyboard.press("Control+K");
    await page.keyboard.type("bird");
    await page.waitForSelector(".snippet mark");
    assert.deepEqual(await titles(), ["About birds"]);
    await looksWell(page, "search");
    await page.press("#search", "Escape");
    await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length === 2);
    await choose(page, row("About birds"), "Delete");
    await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length === 1);
    assert.equal(await page.locator(".message").count(), 0, "what was deleted is not shown");
    await page.getByRole("button", { name: "Undo" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length === 2);
    assert.deepEqual(await texts(page, ".said"), ["About birds"]);
    await page.keyboard.press("Alt+ArrowUp");
    await page.waitForFunction(() => document.querySelector(".said").innerText === "About whales and krill");
    await looksWell(page, "list");
  });

  test("a ghost is never stored", async () => {
    await open();
    await page.keyboard.press("Control+Shift+G");
    await say(page, "A secret");
    assert.match(await page.locator(".sidebar").innerText(), /Ghosts.*A secret/s);
    const stored = await page.evaluate(async () => {
      const database = await new Promise((done) => {
        const request = indexedDB.open("minke-chat");
        request.onsuccess = () => done(request.result);
      });
      const all = [];
      for (const name of database.objectStoreNames) all.push(await new Promise((done) => (database.transaction(name).objectStore(name).getAll().onsuccess = ({ target }) => done(target.result))));
      database.close();
      return JSON.stringify(all);
    });
    assert.doesNotMatch(stored, /secret/);
    await page.reload();
    await page.waitForSelector(".empty h2");
    assert.doesNotMatch(await page.locator("body").innerText(), /A secret/);
  });

  test("what is typed and attached is there after a reload, in its own conversation", async () => {
    await open();
    await say(page, "First");
    await page.fill("#message", "A draft of the first");
    await page.keyboard.press("Control+Shift+O");
    await page.waitForFunction(() => document.querySelector("#message").value === "");
    await page.fill("#message", "Another");
    await page.setInputFiles(".composer input[type=file]", [
      { name: "notes.md", mimeType: "text/markdown", buffer: Buffer.from("# Notes\n\nKrill is small.") },
      { name: "page.html", mimeType: "text/html", buffer: Buffer.from("<title>T</title><script>alert(1)</script><img src='https://evil.example/x'><p>Hello page</p>") },
    ]);
    await page.waitForFunction(() => document.querySelectorAll(".chip").length === 2 && /tokens/.test(document.querySelector(".chip").innerText));
    await page.reload();
    await page.waitForFunction(() => document.querySelector("#message")?.value === "Another" && document.querySelectorAll(".chip").length === 2);
    await page.keyboard.press("Alt+ArrowDown");
    await page.waitForFunction(() => document.querySelector("#message").value === "A draft of the first");
    await page.goBack();
    await page.waitForFunction(() => document.querySelector("#message").value === "Another");
    await page.press("#message", "Enter");
    await answered(page);
    assert.match((await body(page))[0], /notes\.md:[^]*Krill is small\.[^]*Hello page[^]*Another/);
    assert.equal(await page.locator(".message.user .file").count(), 2);
    await page.setInputFiles(".composer input[type=file]", [{ name: "x.png", mimeType: "image/png", buffer: Buffer.from("png") }]);
    assert.match(await page.locator(".notice.alarm").innerText(), /x\.png/);
  });

  test("prompt shortcuts are typed after a slash, or put around what is selected", async () => {
    await open();
    await page.focus("#message");
    await page.keyboard.type("/tra");
    const list = page.getByRole("listbox");
    await list.waitFor();
    assert.match(await list.innerText(), /\/translate/);
    await looksWell(page, "prompts");
    await page.press("#message", "Enter");
    await page.waitForFunction(() => /translate/i.test(document.querySelector("#message").value));
    await page.fill("#message", "Bonjour tout le monde");
    await page.press("#message", "Control+A");
    await choose(page, page.getByRole("button", { name: "Prompt shortcuts" }), "translate");
    assert.match(await page.inputValue("#message"), /translate[^]*Bonjour tout le monde/i);
  });

  test("two tabs show the same", async () => {
    await open();
    await say(page, "From one tab");
    const other = await visitor.open({ hash: new URL(page.url()).hash });
    assert.deepEqual(await texts(other, ".said"), ["From one tab"]);
    await say(other, "From the other");
    await page.waitForFunction(() => document.querySelectorAll(".said").length === 2 && document.querySelectorAll(".message.assistant .md")[1]?.innerText === "From the other");
    await other.fine();
  });
});

describe("the context", { skip }, () => {
  const long = "x".repeat(600);
  const sized = "({ index, messages, text }) => /Summarise/.test(text) ? 'They said x.' : 'read ' + messages.length + (messages[0].role === 'system' ? ' ' + messages[0].content : '')";

  test("is shown; when it is full the oldest turns are dropped, and the page says so", async () => {
    await open({ query: "?model=echo&context=2000", script: sized });
    await say(page, long);
    await say(page, long);
    await page.waitForSelector(".gauge");
    await page.locator(".gauge").press("Enter");
    assert.match(await page.locator("dialog").innerText(), /of 2,000 tokens.*Drop the oldest turns/s);
    await looksWell(page, "context");
    await page.keyboard.press("Escape");
    await say(page, long);
    assert.equal((await body(page)).at(-1), "read 3", "the first question and its answer are left out");
    assert.equal(await page.locator(".divider").innerText(), "The model no longer reads what is above.");
  });

  test("or they are summarised", async () => {
    await open({ query: "?model=echo&context=2000", script: sized });
    await say(page, long);
    await page.locator(".gauge").press("Enter");
    await page.getByRole("radio", { name: /Summarise/ }).check();
    await page.keyboard.press("Escape");
    await say(page, long);
    await say(page, long);
    assert.match((await body(page)).at(-1), /^read \d What was said before, in short:\s+They said x\.$/);
    assert.match(await page.locator(".divider").innerText(), /summary/);
  });

  test("or the answer stops, and says so", async () => {
    await open({ query: "?model=echo&context=2000", script: sized });
    await say(page, long);
    await page.locator(".gauge").press("Enter");
    await page.getByRole("radio", { name: /Stop/ }).check();
    await page.keyboard.press("Escape");
    await say(page, long);
    await say(page, long);
    assert.match(await page.locator(".ending").textContent(), /longer than what the model can read.*2000/s);
  });
});

describe("for everyone", { skip }, () => {
  test("in French, with an address that asks for it", async () => {
    await open({ query: "?model=echo&lang=fr" });
    assert.equal(await page.getAttribute("html", "lang"), "fr");
    await say(page, "Bonjour");
    assert.match(await page.locator(".stats").innerText(), /jetons/);
    await looksWell(page, "french");
    await visitor.close();
    await open({}, { locale: "fr-CA" });
    assert.equal(await page.getAttribute("#message", "placeholder"), "Posez votre question", "a browser's language is heard");
  });

  test("by touch, on a phone", async () => {
    await open({}, { width: 360, height: 740, hasTouch: true, isMobile: true });
    await page.tap("#message");
    await page.keyboard.type("Touched");
    await page.tap("button[aria-label=Send]");
    await answered(page);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    await page.tap(".toggle-sidebar");
    await page.waitForSelector(".sidebar .conversation");
    await page.tap(".sidebar .icon-button[aria-haspopup=menu]");
    await page.getByRole("menuitem", { name: "Rename" }).tap();
    await page.fill("dialog input", "By finger");
    await page.getByRole("button", { name: "Save" }).tap();
    await page.tap(".conversation a");
    await page.waitForFunction(() => document.title.startsWith("By finger"));
    const small = await page.evaluate(() => [...document.querySelectorAll("button, a[href]")].filter((e) => e.checkVisibility() && !e.closest(".md") && e.getBoundingClientRect().height < 32 && !e.matches(".skip")).map((e) => e.outerHTML.slice(0, 120)));
    assert.deepEqual(small, [], "everything can be hit by a finger");
  });

  test("an empty page and a conversation have nothing that axe-core finds", async () => {
    await open({ script: '() => ({ reasoning: "hm", text: "# T\\n\\n| a | b |\\n|---|---|\\n| 1 | 2 |\\n\\n```python\\nx = 1\\n```\\n\\n$x^2$ and [a link](https://example.org)" })' });
    await looksWell(page, "empty");
    await say(page, "All kinds");
    await page.waitForSelector(".md math");
    await looksWell(page, "answer");
  });

  test("right-to-left text runs its own way", async () => {
    await open();
    await say(page, "مرحبا بالعالم");
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".message.assistant .md p")).direction), "rtl");
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".said")).direction), "rtl");
  });
});
