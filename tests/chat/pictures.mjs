// Takes the pictures of docs/evidence/chat.md: `node tests/chat/pictures.mjs`, after `cargo xtask site`. The answers are scripted; the layout is what they
// are for.

import { join } from "node:path";
import { root } from "../browser/lib/app.mjs";
import { say, startApp } from "./lib/app.mjs";

const SCRIPT = `({ text }) => /two tides/.test(text)
  ? { reasoning: "The user asks about tides. The Moon pulls the near side more than the centre, and the centre more than the far side: two bulges. Say it briefly, with the formula.", text: "There are **two tides a day** because the Moon's pull is uneven:\\n\\n1. On the near side the water is pulled more than the Earth's centre.\\n2. On the far side it is pulled *less*, and stays behind.\\n\\nThe difference falls with the cube of the distance: $a \\\\approx \\\\frac{2 G M r}{d^3}$.\\n\\n| body | share |\\n|---|---|\\n| Moon | 68 % |\\n| Sun | 32 % |" }
  : { text: "Here is a function that does it:\\n\\n\`\`\`python\\ndef spring_tide(moon: float, sun: float) -> float:\\n    \\"\\"\\"The height when both pull in line.\\"\\"\\"\\n    return moon + sun  # metres\\n\`\`\`\\n\\nAt new and full moon both are in line." }`;

const app = await startApp();
const visitor = await app.visitor();
const page = await visitor.open({ script: SCRIPT });
page.on("pageerror", (error) => console.error(error));
await say(page, "Plan a week of meals without meat");
await page.keyboard.press("Control+Shift+O");
await page.waitForFunction(() => document.querySelector(".message") === null);
await say(page, "Translate my letter to the landlord");
await page.keyboard.press("Control+Shift+O");
await page.waitForFunction(() => document.querySelector(".message") === null);
await say(page, "Why are there two tides a day?");
await say(page, "How high is a spring tide? Write it in Python.");
await page.waitForSelector(".md math", { state: "attached" });
await page.waitForSelector(".hljs-keyword", { state: "attached" });
const picture = async (name) => {
  await page.waitForTimeout(300);
  await page.screenshot({ path: join(root, `docs/evidence/chat-${name}.png`) });
};
for (const [width, height] of [[360, 740], [768, 1024], [1440, 900]])
  for (const colorScheme of ["light", "dark"]) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(() => document.querySelector(".messages").scrollTo(0, 1e6));
    await picture(`${width}-${colorScheme}`);
  }
await page.evaluate(() => document.activeElement.blur());
for (const [screen, width, height, colorScheme] of [["models", 1440, 900, "light"], ["models", 360, 740, "dark"], ["settings", 768, 1024, "light"], ["presets", 1440, 900, "dark"], ["privacy", 768, 1024, "dark"]]) {
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.evaluate((screen) => (location.hash = `#/${screen}`), screen);
  await page.waitForSelector(".page h2");
  await picture(`${screen}-${width}-${colorScheme}`);
}
await app.close();
