// Tests what comes in the middle: other conversations, tabs and failures while an answer is written, and where the focus goes.

import { after, afterEach, before, describe, test } from "node:test";
import { answered, assert, choose, say, skip, startApp, texts } from "./lib/app.mjs";

let app, visitor, page;

before(async () => {
  if (!skip) app = await startApp();
});
after(() => app?.close());
afterEach(async () => {
  const last = page;
  page = undefined;
  try {
    await last?.fine();
  } finally {
    await visitor?.close();
  }
});

async function open(options = {}, profile = {}) {
  visitor = await app.visitor(profile);
  page = await visitor.open(options);
  await page.evaluate(() => addEventListener("unhandledrejection", ({ reason }) => console.error(`unhandled: ${reason}`)));
  return page;
}

/** Long answers, a word at a time. */
const slow = { query: "?model=echo&delay=5", script: '({ index }) => ("w" + index + " ").repeat(400)' };
/** Not `innerText`, which is empty in the frame in which something is shown first (`content-visibility`). */
const body = async (page) => (await page.locator(".message.assistant .md").allTextContents()).map((text) => text.trim());
const titles = (page) => texts(page, ".sidebar .conversation-title");
const begin = async (page, text) => {
  await page.fill("#message", text);
  await page.press("#message", "Enter");
  await page.waitForFunction(() => document.querySelector(".message.live .md")?.textContent.length > 60);
};
const value = (page, expected) => page.waitForFunction((text) => document.querySelector("#message").value === text, expected, { timeout: 3000 });
const row = (page, name) => page.locator(".sidebar").getByRole("button", { name: `Actions for “${name}”` });
const focused = (page, selector) => page.waitForFunction((selector) => document.activeElement?.matches(selector), selector, { timeout: 3000 });

describe("what is typed", { skip }, () => {
  test("at once after going to another conversation is in that one's field", async () => {
    await open();
    await say(page, "First");
    await page.fill("#message", "Of the first");
    await page.keyboard.press("Control+Shift+O");
    await page.keyboard.type("Of the new one");
    await page.waitForTimeout(600);
    await value(page, "Of the new one");
    await page.keyboard.press("Alt+ArrowDown");
    await value(page, "Of the first");
  });

  test("in a ghost chat is kept while the page is open, and not stored", async () => {
    await open();
    await page.keyboard.press("Control+Shift+G");
    await say(page, "A secret");
    await page.fill("#message", "Half of a secret");
    await page.keyboard.press("Control+Shift+O");
    await value(page, "");
    await page.locator(".sidebar .conversation a").click();
    await value(page, "Half of a secret");
    const drafts = await page.evaluate(() => new Promise((done) => {
      const request = indexedDB.open("minke-chat");
      request.onsuccess = () => (request.result.transaction("drafts").objectStore("drafts").getAll().onsuccess = ({ target }) => (request.result.close(), done(JSON.stringify(target.result))));
    }));
    assert.doesNotMatch(drafts, /secret/);
  });

  test("or pasted is attached if it is long, and put into the field on demand", async () => {
    await open();
    await page.evaluate(() => navigator.clipboard.writeText("lorem ipsum dolor ".repeat(30_000)));
    await page.focus("#message");
    await page.keyboard.press("Control+V");
    await page.waitForSelector(".chip");
    assert.match(await page.locator(".chip").innerText(), /Pasted text\.txt/);
    const began = Date.now();
    await page.keyboard.type("What is this?");
    assert.ok(Date.now() - began < 2000, "the field stays quick");
    await page.getByRole("button", { name: "Remove Pasted text.txt" }).click();
    await page.evaluate(() => navigator.clipboard.writeText("word ".repeat(2_000)));
    await page.focus("#message");
    await page.keyboard.press("Control+V");
    await page.waitForSelector(".chip");
    await page.getByRole("button", { name: "Put it into the message" }).last().click();
    await page.waitForFunction(() => document.querySelector("#message").value.length > 9_000 && document.querySelector(".chip") === null);
  });

  test("into a message that is edited is kept when something else comes between", async () => {
    await open(slow);
    await begin(page, "One");
    await page.keyboard.press("Escape");
    await answered(page);
    await page.locator(".message.user .edit").click();
    await page.keyboard.type(" and more");
    await page.fill("#message", "Two");
    await page.press("#message", "Enter");
    await page.waitForSelector(".message.live");
    await page.press(".editor textarea", "Control+Enter");
    assert.equal(await page.inputValue(".editor textarea"), "One and more", "an answer is being written: it cannot be sent yet");
    assert.match(await page.locator(".notices").innerText(), /answer/);
    await page.press(".editor textarea", "Escape");
    await page.press("#message", "Escape");
    await answered(page);
    await page.locator(".message.user .edit").first().click();
    assert.equal(await page.inputValue(".editor textarea"), "One and more");
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator(".message.user .edit").first().click();
    assert.equal(await page.inputValue(".editor textarea"), "One", "what was cancelled is gone");
  });
});

describe("while an answer is written", { skip }, () => {
  test("it may begin before its model does", async () => {
    visitor = await app.visitor();
    await visitor.context.route("**/testing*.js", async (route) => {
      await new Promise((done) => setTimeout(done, 1500));
      await route.continue();
    });
    page = await visitor.open();
    await page.fill("#message", "At once");
    await page.press("#message", "Enter");
    await page.waitForSelector(".message.live", { timeout: 1000 });
    await answered(page);
    assert.deepEqual(await body(page), ["At once"]);
  });

  test("its conversation is deleted and brought back, with what was written", async () => {
    await open(slow);
    await begin(page, "Delete me");
    await choose(page, row(page, "Delete me"), "Delete");
    await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length === 0);
    await page.waitForTimeout(700);
    assert.doesNotMatch(await page.locator(".notices").innerText(), /not stored/);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.waitForSelector(".message.assistant .md p");
    assert.match((await body(page))[0], /^w0 w0 w0 w0/);
    assert.match(await page.locator(".ending").innerText(), /Stopped/);
  });

  test("a fork has what was written so far", async () => {
    await open(slow);
    await begin(page, "Fork me");
    await choose(page, page.locator(".chat-tools").getByRole("button", { name: /Actions/ }), "New conversation from here");
    await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length === 2 && document.querySelector(".message.live") === null);
    assert.match((await body(page))[0], /^w0 w0 w0/);
    assert.match(await page.locator(".ending").innerText(), /Stopped/);
  });

  test("another tab writes into the conversation: both see everything", async () => {
    await open(slow);
    await begin(page, "From one");
    const other = await visitor.open({ hash: new URL(page.url()).hash, query: "?model=echo" });
    await other.waitForSelector(".said");
    await other.fill("#message", "From the other");
    await other.press("#message", "Enter");
    await other.waitForFunction(() => document.querySelectorAll(".said").length === 2);
    await page.press("#message", "Escape");
    await page.waitForFunction(() => document.querySelectorAll(".said").length === 2 && document.querySelector(".live") === null, null, { timeout: 5000 });
    await other.fine();
  });

  test("going elsewhere and back says nothing that is not so", async () => {
    await open(slow);
    await say(page, "First");
    await page.keyboard.press("Control+Shift+O");
    await begin(page, "Second");
    await page.keyboard.press("Alt+ArrowDown");
    await page.waitForFunction(() => document.querySelector(".said")?.innerText === "First");
    await page.waitForTimeout(300);
    assert.doesNotMatch(await page.locator("[aria-live=polite]").first().innerText(), /complete/);
    await page.keyboard.press("Alt+ArrowUp");
    await answered(page);
    assert.equal((await body(page))[0].length, (await page.evaluate(() => "w1 ".repeat(400).trim().length)));
  });

  test("it is stopped even before its model is there", async () => {
    visitor = await app.visitor();
    await visitor.context.route("**/never.gguf", () => {});
    page = await visitor.open({ query: "?model=../never.gguf&device=cpu" });
    await page.fill("#message", "Hello");
    await page.press("#message", "Enter");
    await page.waitForSelector(".message.live");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelector(".ending")?.innerText.includes("Stopped"), null, { timeout: 4000 });
  });
});

describe("what cannot be stored", { skip }, () => {
  test("is stored with what comes next, once there is room", async () => {
    await open({ query: "?model=echo" });
    await page.evaluate(() => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (...args) {
        if (globalThis.full && this.name !== "meta") throw new DOMException("no room", "QuotaExceededError");
        return put.apply(this, args);
      };
      globalThis.full = true;
    });
    await say(page, "Into a full store");
    assert.match(await page.locator(".unsaved").innerText(), /Not stored/);
    assert.match(await page.locator(".notices").innerText(), /full/);
    await page.keyboard.press("Control+Shift+O");
    await page.waitForSelector(".empty");
    await page.goBack();
    await page.waitForFunction(() => document.querySelectorAll(".message").length === 2 && document.querySelector(".unsaved"));
    await page.evaluate(() => (globalThis.full = false));
    await say(page, "Now there is room");
    await page.waitForFunction(() => document.querySelector(".unsaved") === null);
    await page.reload();
    await page.waitForSelector(".message");
    assert.deepEqual(await texts(page, ".said"), ["Into a full store", "Now there is room"]);
    assert.deepEqual(await body(page), ["Into a full store", "Now there is room"]);
  });

  test("what cannot be read or changed is said", async () => {
    await open();
    await say(page, "First");
    await page.keyboard.press("Control+Shift+O");
    await page.waitForSelector(".empty");
    await page.evaluate(() => {
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.transaction = function (...args) {
        if (globalThis.broken) throw new DOMException("the disk is gone", "UnknownError");
        return transaction.apply(this, args);
      };
      globalThis.broken = true;
    });
    await page.locator(".sidebar .conversation a").click();
    await page.waitForSelector(".notice.alarm");
    await page.getByRole("button", { name: "Dismiss" }).click();
    await choose(page, row(page, "First"), "Pin");
    await page.waitForSelector(".notice.alarm");
    await page.evaluate(() => (globalThis.broken = false));
  });

  test("a ghost that was deleted is gone", async () => {
    await open();
    await page.keyboard.press("Control+Shift+G");
    await say(page, "A secret");
    await choose(page, row(page, "A secret"), "Delete");
    await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length === 0);
    assert.equal(await page.getByRole("button", { name: "Undo" }).count(), 0, "nothing brings it back, and nothing says so");
  });
});

describe("the focus", { skip }, () => {
  test("goes to what comes next when a button is gone", async () => {
    await open({ query: "?model=echo", script: '({ index }) => "Answer " + index' });
    await page.fill("#message", "Hello");
    await page.getByRole("button", { name: "Send" }).press("Enter");
    await answered(page);
    await focused(page, "#message");
    await page.locator(".message.assistant").getByRole("button", { name: "Regenerate" }).press("Enter");
    await page.waitForFunction(() => document.querySelector(".versions")?.innerText === "2/2");
    await focused(page, "#message");
    await page.getByRole("button", { name: "Previous version" }).press("Enter");
    await page.waitForFunction(() => document.querySelector(".versions").innerText === "1/2");
    await focused(page, "[aria-label='Next version']");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".versions").innerText === "2/2");
    await focused(page, "[aria-label='Previous version']");
    await choose(page, page.locator(".message.assistant").getByRole("button", { name: "More" }), "Delete from here");
    await page.waitForFunction(() => document.querySelector(".versions") === null);
    await focused(page, "#message");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.type("!");
    await page.keyboard.press("Control+Enter");
    await page.waitForFunction(() => document.querySelector(".said").innerText === "Hello!");
    await answered(page);
    await focused(page, "#message");
    await choose(page, row(page, "Hello"), "Delete");
    await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length === 0);
    await focused(page, "#message");
  });

  test("is given back by a menu, and a second click on what sends stops nothing", async () => {
    await open(slow);
    await page.fill("#message", "Twice");
    await page.getByRole("button", { name: "Send" }).dblclick();
    await page.waitForFunction(() => document.querySelector(".message.live .md")?.textContent.length > 200);
    await page.locator(".chat-tools [aria-haspopup=menu]").press("Enter");
    await focused(page, "[role=menuitem]");
    await page.keyboard.press("Escape");
    await focused(page, ".chat-tools [aria-haspopup=menu]");
    assert.equal(await page.locator(".message.live").count(), 1, "Escape closed the menu only");
    await page.getByRole("button", { name: "Stop" }).click();
    await answered(page);
    assert.deepEqual(await texts(page, ".said"), ["Twice"]);
  });

  test("goes into the drawer of a phone, and back", async () => {
    await open({ query: "?model=echo" }, { width: 360, height: 740 });
    await say(page, "Hello");
    await page.locator(".toggle-sidebar").press("Enter");
    await page.waitForFunction(() => document.activeElement.closest(".sidebar"));
    await page.keyboard.press("Escape");
    await focused(page, ".toggle-sidebar");
    await page.keyboard.press("Enter");
    await page.locator(".sidebar .conversation a").press("Enter");
    await page.waitForFunction(() => document.activeElement.closest("main"), null, { timeout: 3000 });
    await page.keyboard.press("Control+K");
    await focused(page, "#search");
  });
});
