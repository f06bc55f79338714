// The text renderer in Chromium, under the application's policy: what it renders, what hostile answers can do, how fast it is.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { chromiumPath, launch } from "../browser/lib/chromium.mjs";
import { HOSTILE, splits } from "./hostile.mjs";
import { openPage, servePage, sources } from "./lib/page.mjs";

const ENTRY = `
import { createTextRenderer } from "./text/render";
import { readSentences } from "./text/sentences";
import { parseLink } from "./text/links";
import { formulas, highlighter } from "./text/jobs";
const strings = { copy: "Copy", copied: "Copied", wrap: "Wrap", unwrap: "No wrap", code: "Code", image: "Image:" };
const log = { links: [], violations: [], pwned: 0 };
globalThis.pwned = () => { log.pwned++; };
addEventListener("securitypolicyviolation", (event) => log.violations.push(event.violatedDirective + " " + event.blockedURI));
function make(options = {}) {
  const element = document.createElement("div");
  document.querySelector("main").append(element);
  return { element, renderer: createTextRenderer(element, { strings, onLink: (link) => log.links.push(link), ...options }) };
}
async function whole(text) {
  const { element, renderer } = make();
  renderer.set(text);
  await renderer.finish();
  renderer.dispose();
  element.remove();
  return element.innerHTML;
}
Object.assign(window, { make, whole, log, parseLink, readSentences, loaded: Promise.all([formulas.get(), highlighter.get()]) });
`;

const ALLOWED = new Set(
  (
    "div span button pre code bdi a p br hr h1 h2 h3 h4 h5 h6 strong b em i u s del ins mark sub sup kbd small q blockquote ul ol li table thead tbody tr th td " +
    "details summary dl dt dd math mrow mi mo mn ms mtext mspace mfrac msqrt mroot mstyle mpadded mphantom menclose merror msub msup msubsup munder mover munderover " +
    "mmultiscripts mprescripts mtable mtr mtd"
  ).split(" "),
);
const ATTRIBUTES =
  /^(class|dir|tabindex|type|data-action|href|rel|target|title|start|display|displaystyle|scriptlevel|mathvariant|stretchy|symmetric|largeop|movablelimits|fence|form|separator|accent|accentunder|lspace|rspace|minsize|maxsize|width|height|depth|voffset|linethickness|notation|columnalign|rowspacing|columnspacing|columnlines|rowlines|columnspan|rowspan)$/;

describe("the text renderer", { skip: chromiumPath ? false : "Chromium: it is not installed" }, () => {
  let server, browser, page;
  const requests = [];

  before(async () => {
    server = await servePage("text", ENTRY, { css: readFileSync(join(sources, "text/text.css"), "utf8") });
    browser = await launch();
    page = await openPage(await browser.newContext(), `${server.origin}/`);
    page.on("request", (request) => requests.push(request.url()));
    await page.evaluate(() => loaded.then(() => undefined));
  });
  after(async () => {
    page?.check();
    await browser?.close();
    await server?.close();
  });

  const render = (text) => page.evaluate((text) => whole(text), text);

  test("Markdown becomes semantic elements", async () => {
    const html = await render(
      "# Title\n\nA **b** _c_ ~~d~~ `e`\n\n- x\n- [x] done\n\n3. y\n\n> z\n\n| a | b |\n|:-|-:|\n| 1 | 2 |\n\n---",
    );
    for (const part of [
      '<h1 dir="auto">Title</h1>',
      "<strong>b</strong>",
      "<em>c</em>",
      "<del>d</del>",
      "<code>e</code>",
      '<ol start="3" dir="auto">',
      '<blockquote dir="auto">',
      '<th dir="auto" class="md-right">b</th>',
      "☑ done",
      "<hr>",
    ]) {
      assert.ok(html.includes(part), `${part} in ${html}`);
    }
  });

  test("code has a label and buttons and is highlighted by classes", async () => {
    const html = await render("```python\ndef f():\n    return 1\n```");
    assert.match(html, /<span class="md-code-language">python<\/span>/);
    assert.match(html, /<span class="hljs-keyword">def<\/span>/);
    const copied = await page.evaluate(async () => {
      let copied;
      const { element, renderer } = make({
        onCopy: (text) => {
          copied = text;
        },
      });
      renderer.append("```js\nlet a = 1;\n\nlet b;\n```\nafter");
      await renderer.finish();
      element.querySelector("[data-action=copy]").click();
      element.querySelector("[data-action=wrap]").click();
      return {
        copied,
        wrapped: element.querySelector(".md-code").classList.contains("md-wrap"),
        label: element.querySelector("[data-action=wrap]").textContent,
      };
    });
    assert.deepEqual(copied, { copied: "let a = 1;\n\nlet b;", wrapped: true, label: "No wrap" });
  });

  test("formulas become MathML, and prices stay", async () => {
    for (const source of ["$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "$$\nx^2\n$$", "- a\n  \\[\n  x^2\n  \\]"]) {
      assert.match(
        await render(`A ${source}`.replace(/^A (?=[$\\-][$[ ])/, "")),
        /<msup><mi>x<\/mi><mn[^>]*>2<\/mn><\/msup>/,
        source,
      );
    }
    for (const source of [
      "It is $5 or $6.",
      "$20 (20$)",
      "US$5 to US$7",
      "a $ b $ c",
      "$5-$10",
      "`$x$`",
      "between $5, and 6$",
    ]) {
      assert.doesNotMatch(await render(source), /<math/, source);
    }
    assert.match(await render("for $5 you get $n$ of $2n + 1$"), /\$5.*<math.*<math/);
  });

  test("links are shown with their hosts and ask before they open", async () => {
    const before = page.url();
    const links = await page.evaluate(async () => {
      const { element, renderer } = make();
      renderer.set(
        "[here](https://example.org/a) https://example.org/b [аpple.com](https://xn--pple-43d.com/) [good.example](https://evil.example) ![cat](https://example.org/cat.png)",
      );
      await renderer.finish();
      log.links.length = 0;
      for (const link of element.querySelectorAll("a")) {
        link.click();
        link.dispatchEvent(new MouseEvent("auxclick", { button: 1, bubbles: true, cancelable: true }));
      }
      return {
        texts: [...element.querySelectorAll("a")].map((link) => `${link.textContent} ${link.rel}`),
        clicked: log.links.map((link) => [link.host, ...link.warnings]),
      };
    });
    assert.deepEqual(links.texts, [
      "here (example.org) noreferrer noopener",
      "https://example.org/b noreferrer noopener",
      "аpple.com (xn--pple-43d.com) noreferrer noopener",
      "good.example (evil.example) noreferrer noopener",
      "Image: cat (example.org) noreferrer noopener",
    ]);
    assert.deepEqual(
      links.clicked.filter((_, i) => i % 2 === 0),
      [["example.org"], ["example.org"], ["xn--pple-43d.com", "homograph"], ["evil.example", "text"], ["example.org"]],
    );
    assert.equal(links.clicked.length, 10);
    assert.equal(page.url(), before);
  });

  test("hosts are decoded and judged", async () => {
    const judge = (href, text) => page.evaluate(([href, text]) => parseLink(href, text), [href, text]);
    assert.equal((await judge("https://münchen.example/")).unicodeHost, "münchen.example");
    assert.deepEqual((await judge("https://münchen.example/")).warnings, []);
    assert.deepEqual((await judge("https://日本語.example/")).warnings, []);
    assert.deepEqual((await judge("https://раураl.com/")).warnings, ["homograph"]);
    assert.deepEqual((await judge("http://user@127.0.0.1:8080/")).warnings, ["credentials", "ip", "insecure", "port"]);
    assert.deepEqual((await judge("https://e.example", "⟨U+202E⟩x")).warnings, ["bidi"]);
    assert.deepEqual((await judge("https://www.e.example", "e.example/page")).warnings, []);
    for (const href of ["javascript:1", "/x", "x", "data:,x", "https:x", "mailto:x"])
      assert.equal(await judge(href), undefined, href);
  });

  test("finished blocks keep their elements, and a selection in them", async () => {
    const kept = await page.evaluate(async () => {
      const { element, renderer } = make();
      renderer.append("First.\n\nSecond");
      renderer.flush();
      const [first] = element.children;
      for (const piece of [
        " goes on.\n\n",
        "```js\n",
        "let a;\n",
        "```\n",
        "- a\n- b\n",
        "\n| a |\n|-|\n| b |\n\nEnd",
      ]) {
        renderer.append(piece);
        renderer.flush();
      }
      const code = element.querySelector(".md-code");
      await renderer.finish();
      return element.children[0] === first && element.querySelector(".md-code") === code;
    });
    assert.ok(kept);
  });

  test("sentences are read as they are finished", async () => {
    const read = (pieces) =>
      page.evaluate((pieces) => {
        const reader = readSentences({ code: (language) => `code ${language}`, formula: "formula", table: "table" });
        return [...pieces.map((piece) => reader.push(piece)), reader.finish()];
      }, pieces);
    assert.deepEqual(await read(["Hello **wor", "ld**. How", " are you? I", "t is e.g. fine"]), [
      [],
      ["Hello world."],
      ["How are you?"],
      [],
      ["It is e.g. fine"],
    ]);
    const text =
      "# Title\n\nOne [link](https://e.example). Two `x`!\n\n- a\n- b $x^2$\n\n```js\nlet a.\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nEnd";
    const expected = ["Title", "One link.", "Two x!", "a", "b formula", "code js", "table", "End"];
    assert.deepEqual((await read([text])).flat(), expected);
    assert.deepEqual((await read([...text])).flat(), expected);
  });

  test("appending to long answers has no long tasks", { timeout: 120_000 }, async (t) => {
    const paragraph =
      "Some **words** of an answer with `code`, and more words that make it long enough to wrap a few times over. ".repeat(
        3,
      );
    const kinds = {
      prose: (i) => `${paragraph}\n\n`,
      code: (i) => (i === 0 ? "```js\n" : `const value${i} = compute(${i}, "text"); // a comment\n`),
      table: (i) => (i === 0 ? "| a | b | c |\n|---|---|---|\n" : `| ${i} | some **text** | more text |\n`),
      list: (i) => `- item ${i} with some text\n  - nested\n`,
      line: (i) => "word ".repeat(40),
      minified: (i) => (i === 0 ? "```js\n" : "a=b(c);".repeat(20)),
    };
    for (const [kind, make] of Object.entries(kinds)) {
      let text = "";
      for (let i = 0; text.length < 300_000; i++) text += make(i);
      const took = await page.evaluate(async (text) => {
        const tasks = [];
        const long = [0];
        const observer = new PerformanceObserver((list) =>
          long.push(...list.getEntries().map((entry) => entry.duration)),
        );
        observer.observe({ type: "longtask" });
        const all = make();
        all.renderer.set(text);
        await all.renderer.finish();
        await new Promise((resolve) => setTimeout(resolve, 100));
        const whole = Math.max(...long);
        observer.disconnect();
        all.renderer.dispose();
        all.element.remove();
        const { element, renderer } = make();
        renderer.append(text.slice(0, 298_000));
        renderer.flush();
        element.getBoundingClientRect();
        for (let i = 298_000; i < 300_000; i += 20) {
          const began = performance.now();
          renderer.append(text.slice(i, i + 20));
          renderer.flush();
          element.getBoundingClientRect();
          tasks.push(performance.now() - began);
        }
        renderer.dispose();
        element.remove();
        tasks.sort((a, b) => a - b);
        return {
          whole: Math.round(whole),
          median: Math.round(tasks[50]),
          most: Math.round(tasks.at(-1)),
          usual: tasks[75],
        };
      }, text);
      t.diagnostic(
        `${kind}, 300,000 characters: longest task of rendering them ${took.whole} ms; an addition ${took.median} ms, at most ${took.most} ms`,
      );
      // Not the longest: on a busy machine, that one waited for other processes.
      assert.ok(took.usual <= 100, `${kind}: additions of ${took.usual} ms`);
    }
  });

  test("hostile answers do nothing, however they arrive", { timeout: 300_000 }, async (t) => {
    const most = process.env.MINKE_ALL ? 100_000 : 30;
    assert.ok(HOSTILE.length >= 200, `${HOSTILE.length} answers`);
    requests.length = 0;
    const before = page.url();
    let count = 0;
    const cases = HOSTILE.map((text) => ({ text, at: splits(text, most) }));
    for (let i = 0; i < cases.length; i += 20) {
      const batch = cases.slice(i, i + 20);
      count += batch.reduce((sum, one) => sum + one.at.length, 0);
      const bad = await page.evaluate(
        async ({ batch, allowed, attributes }) => {
          const tags = new Set(allowed);
          const names = new RegExp(attributes);
          const bad = [];
          const audit = (element, text) => {
            for (const one of element.querySelectorAll("*")) {
              if (!tags.has(one.localName)) bad.push([text, `element ${one.localName}`]);
              for (const { name, value } of one.attributes) {
                if (!names.test(name)) bad.push([text, `attribute ${name}`]);
                if (name === "href" && !/^(https?:\/\/|mailto:)/.test(value)) bad.push([text, `href ${value}`]);
                if (name === "href" && (one.localName !== "a" || one.rel !== "noreferrer noopener"))
                  bad.push([text, "rel"]);
              }
            }
            if (/[\u202a-\u202e\u2066-\u2069]/.test(element.textContent)) bad.push([text, "controls"]);
          };
          for (const { text, at } of batch) {
            const expected = await whole(text);
            for (const split of at) {
              const { element, renderer } = make();
              renderer.append(text.slice(0, split));
              renderer.flush();
              audit(element, text);
              renderer.append(text.slice(split));
              renderer.flush();
              audit(element, text);
              await renderer.finish();
              audit(element, text);
              if (element.innerHTML !== expected) bad.push([text, `split at ${split}`, element.innerHTML, expected]);
              renderer.dispose();
              element.remove();
              if (bad.length > 3) return bad;
            }
            // And character by character, as tokens come.
            const { element, renderer } = make();
            for (let i = 0; i < text.length; i += Math.ceil(text.length / 60)) {
              renderer.append(text.slice(i, i + Math.ceil(text.length / 60)));
              renderer.flush();
            }
            await renderer.finish();
            if (element.innerHTML !== expected) bad.push([text, "in pieces", element.innerHTML, expected]);
            // What is shown is clicked, too.
            for (const one of element.querySelectorAll("a, summary")) one.click();
            renderer.dispose();
            element.remove();
          }
          return bad;
        },
        { batch, allowed: [...ALLOWED], attributes: ATTRIBUTES.source },
      );
      assert.deepEqual(bad, []);
    }
    t.diagnostic(`${HOSTILE.length} answers, ${count} splits`);
    assert.equal(await page.evaluate(() => log.pwned), 0);
    assert.deepEqual(await page.evaluate(() => log.violations), []);
    assert.deepEqual(requests, []);
    assert.equal(page.url(), before);
    assert.equal(page.context().pages().length, 1);
  });
});
