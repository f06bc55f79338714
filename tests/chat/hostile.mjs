// Answers of a model that attacks the page that shows it. `pwned()` is what scripts would call; `evil.example` is what nothing may be requested of.

const JS = "pwned()";
const EVIL = "https://evil.example";

const scripts = [
  `<script>${JS}</script>`, `<script src="${EVIL}/x.js"></script>`, `<SCRIPT>${JS}</SCRIPT >`, `<script\n>${JS}</script\n>`, `<scr<script>ipt>${JS}</scr</script>ipt>`,
  `<script type="module">import "${EVIL}/x.js"</script>`, `<script>/*\n\n*/${JS}</script>`, `text <script>${JS}</script> text`, `<script x="</script>">${JS}</script>`,
  `<noscript><p title="</noscript><img src=x onerror=${JS}>"></noscript>`, `<template><script>${JS}</script></template>`, `<script>\n${JS}`, `<<script>${JS}//<</script>`,
];
const handlers = [
  `<img src=x onerror=${JS}>`, `<img src="x" onerror="${JS}" />`, `<body onload=${JS}>`, `<svg onload=${JS}>`, `<details open ontoggle=${JS}>x</details>`,
  `<input autofocus onfocus=${JS}>`, `<b onmouseover=${JS}>x</b>`, `<marquee onstart=${JS}>x</marquee>`, `<video><source onerror=${JS}></video>`, `<a href="x" onclick=${JS}>x</a>`,
  `<p style="animation:x" onanimationstart=${JS}>x</p>`, `<b/onclick=${JS}>x</b>`, `<b\tonclick=${JS}>x</b>`, `<br onerror=${JS}>`, `<table background="${EVIL}/b"><tr><td>x</table>`,
  `<img src=x:x onerror\n=\n${JS}>`, `<xss id=x tabindex=1 onfocus=${JS}></xss>`, `<select onfocus=${JS} autofocus><option>x</select>`, `<video src=x onerror=${JS}>`, `<iframe onload=${JS}>`,
];
const loads = [
  `<img src="${EVIL}/p.png">`, `![](${EVIL}/p.png)`, `![alt](${EVIL}/p.png "title")`, `![a][r]\n\n[r]: ${EVIL}/p.png`, `<img srcset="${EVIL}/p 1x">`, `<picture><source srcset="${EVIL}/p"></picture>`,
  `<video poster="${EVIL}/p" src="${EVIL}/v">`, `<audio src="${EVIL}/a" autoplay>`, `<iframe src="${EVIL}"></iframe>`, `<iframe srcdoc="<script>parent.${JS}</script>"></iframe>`, `<object data="${EVIL}">`,
  `<embed src="${EVIL}">`, `<link rel="stylesheet" href="${EVIL}/c.css">`, `<link rel=prefetch href="${EVIL}">`, `<link rel="dns-prefetch" href="//evil.example">`, `<meta http-equiv="refresh" content="0;url=${EVIL}">`,
  `<base href="${EVIL}/">`, `<frameset><frame src="${EVIL}"></frameset>`, `<input type="image" src="${EVIL}/p">`, `<track src="${EVIL}">`, `<applet code="x" codebase="${EVIL}">`, `<bgsound src="${EVIL}">`,
  `![x](//evil.example/p.png)`, `![x](data:image/svg+xml,<svg/onload=${JS}>)`, `[![x](${EVIL}/p.png)](${EVIL})`, `![${"a".repeat(300)}](${EVIL}/${"b".repeat(300)})`, `| ![x](${EVIL}/p) |\n|---|\n| ![y](${EVIL}/q) |`,
  `- ![x](${EVIL}/p)\n  - ![y](${EVIL}/q)`, `> ![x](${EVIL}/p)`, `# ![x](${EVIL}/p)`, `<portal src="${EVIL}">`, `<fencedframe src="${EVIL}">`, `![x](<${EVIL}/a b.png>)`, `<a ping="${EVIL}" href="${EVIL}">x</a>`,
];
const svg = [
  `<svg><script>${JS}</script></svg>`, `<svg><image href="${EVIL}/p"></svg>`, `<svg><use href="data:image/svg+xml,<svg id=x><script>${JS}</script></svg>#x"></svg>`, `<svg><a xlink:href="javascript:${JS}"><text>x</text></a></svg>`,
  `<svg><animate onbegin=${JS} attributeName=x dur=1s>`, `<svg><set attributeName=href to="javascript:${JS}"></svg>`, `<svg><foreignObject><img src=x onerror=${JS}></foreignObject></svg>`, `<svg><style>*{background:url(${EVIL})}</style></svg>`,
  `<svg><title><style><img src=x onerror=${JS}></style></title></svg>`, `<svg><desc><template><img src=x onerror=${JS}></template></desc></svg>`, `<svg xmlns="http://www.w3.org/2000/svg" onload="${JS}"/>`,
];
const css = [
  `<style>body{background:url(${EVIL})}</style>`, `<style>@import "${EVIL}/c.css";</style>`, `<p style="background:url(${EVIL})">x</p>`, `<p style="position:fixed;inset:0">x</p>`, `<b style=color:red>x</b>`,
  `<div class="md-code"><button class="md-button" data-action="copy">x</button></div>`, `<span class="md-host"> (good.example)</span>`, `<style>a{}</style\n>`, `<p class="x" id="app" name="y">x</p>`, `<font face="x" color="red">x</font>`,
  `<style><img src=x onerror=${JS}></style>`, `<p style="width:expression(${JS})">x</p>`,
];
const links = [
  `[x](javascript:${JS})`, `[x](JaVaScRiPt:${JS})`, `[x](java\nscript:${JS})`, `[x](java&#10;script:${JS})`, `[x](&#106;avascript:${JS})`, `[x](javascript&colon;${JS})`, `[x](%6aavascript:${JS})`, `[x](\x01javascript:${JS})`,
  `[x]( javascript:${JS})`, `[x](<javascript:${JS}>)`, `<javascript:${JS}>`, `[x](vbscript:${JS})`, `[x](data:text/html,<script>${JS}</script>)`, `[x](data:text/html;base64,PHNjcmlwdD5wd25lZCgpPC9zY3JpcHQ+)`, `[x](blob:${EVIL}/1)`,
  `[x](file:///etc/passwd)`, `[x](filesystem:${EVIL}/x)`, `[x](about:blank)`, `[x](view-source:${EVIL})`, `[x](chrome://settings)`, `[x](ftp://evil.example)`, `[x](/settings?delete=all)`, `[x](#fragment)`, `[x](?q=1)`, `[x](//evil.example)`,
  `[x](\\\\evil.example)`, `[x](https:evil.example)`, `[x](https:/\\evil.example)`, `[x](http://)`, `[x](https://)`, `[https://good.example](${EVIL})`, `[good.example](${EVIL}/good.example)`, `[x](https://good.example@evil.example)`,
  `[x](https://good.example:pass@evil.example/)`, `[x](https://аррӏе.com)`, `[x](https://xn--80ak6aa92e.com)`, `[x](https://gооgle.com)`, `[x](https://127.0.0.1:8080)`, `[x](https://[::1]/)`, `[x](https://0x7f000001)`, `[x](https://evil.example:81)`,
  `[\u202emoc.doog//:sptth](${EVIL})`, `[x\u2066\u202e](${EVIL}/\u202egpj.exe)`, `\u202e[x](${EVIL})\u202c`, `\u2067https://evil.example/\u2069`, `<a href="javascript:${JS}">x</a>`, `<a href="${EVIL}" target="_self">x</a>`,
  `[x](mailto:a@b.example?subject=x&body=secret)`, `[x](mailto:a@b.example,c@d.example)`, `[x](mailto:?to=a@b.example)`, `[x](tel:+1)`, `[x](sms:+1)`, `[x](intent://x#Intent;end)`, `[x](ms-settings:x)`, `[x](steam://x)`, `[a](${EVIL} "t\\"onmouseover=${JS}")`,
  `[x][j]\n\n[j]: javascript:${JS}`, `[j]: javascript:${JS}\n\n[j]`, `www.evil.example`, `${EVIL}/?q=secret`, `<${EVIL}>`, `<a@b.example>`, `[x](${EVIL}/${"q".repeat(2500)})`, `[[x](${EVIL})](javascript:${JS})`, `[x](https://evil.example\u0000.good.example)`,
  `[x](http://evil。example)`, `[x](https://ⓔⓥⓘⓛ.example)`, `[<img src=x onerror=${JS}>](${EVIL})`, `[x](${EVIL}" onclick="${JS})`, `[x](${EVIL}'onclick='${JS})`, `http://evil.example"onclick=${JS}`,
];
const mutation = [
  `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=${JS}&gt;">`, `<form><math><mtext></form><form><mglyph><style></math><img src onerror=${JS}>`,
  `<svg></p><style><a id="</style><img src=1 onerror=${JS}>">`, `<math><annotation-xml encoding="text/html"><p><img src=x onerror=${JS}></annotation-xml></math>`, `<noembed><img title="</noembed><img src=x onerror=${JS}>"></noembed>`,
  `<xmp><p title="</xmp><img src=x onerror=${JS}>"></xmp>`, `<title><img title="</title><img src=x onerror=${JS}>"></title>`, `<textarea><p title="</textarea><img src=x onerror=${JS}>"></textarea>`, `<plaintext><script>${JS}</script>`,
  `<select><template><style><!--</style><a rel="--></style></template></select><img src=x onerror=${JS}>">`, `<table><td><a><table><img src=x onerror=${JS}></table></a>`, `<p><table><p><svg><p><style><img src=x onerror=${JS}>`,
  `<!--><img src=x onerror=${JS}>-->`, `<!-- --!><img src=x onerror=${JS}>`, `<![CDATA[><img src=x onerror=${JS}>]]>`, `<?xml ><img src=x onerror=${JS}>?>`, `<!DOCTYPE x [<!ENTITY e "<script>${JS}</script>">]>&e;`, `<a><b><a><b><table><a>x`,
  `<b><p></b></p><li><ul></li>`, `</p></div></main></body><script>${JS}</script>`, `</li></ul></code></pre>`, `<table><tr><td></table></table></td>`, `<h1><table><h1>`, `<details><summary><details><summary>x`, `<ul><table><li><b></ul>`,
  `<p id=a><p name=body><p id=getElementById>`, `<form id=x><input name=attributes>`, `<b>`.repeat(60), `</b>`.repeat(60), `<table>`.repeat(30), `<span data-md="0:0"></span>`, `<span data-md=":0">\`\`\`x\`\`\`</span>`,
];
const maths = [
  `$\\href{javascript:${JS}}{x}$`, `$\\href{${EVIL}}{x}$`, `$\\url{${EVIL}}$`, `$\\includegraphics{${EVIL}/p.png}$`, `$\\class{md-button}{x}$`, `$\\style{position:fixed}{x}$`, `$\\id{app}{x}$`, `$\\data{action=copy}{x}$`, `$\\htmlStyle{color:red}{x}$`,
  `$\\htmlClass{x}{y}$`, `$\\htmlId{x}{y}$`, `$\\htmlData{x=y}{z}$`, `$\\def\\a{\\a\\a}\\a$`, `$\\newcommand{\\x}{\\x\\x}\\x$`, `$\\text{<img src=x onerror=${JS}>}$`, `$\\text{</mtext></math><script>${JS}</script>}$`, `$\\color{red;background:url(${EVIL})}x$`,
  `$\\textcolor{url(${EVIL})}{x}$`, `$\\colorbox{red}{x}$`, `$\\fcolorbox{red}{blue}{x}$`, `$\\rule{1000em}{1000em}$`, `$\\hspace{-9999em}x$`, `$\\kern-999em x$`, `$\\raise999em{x}$`, `$\\Huge x$`, `$\\tag{<b>}$`, `$$\\begin{array}{c}${"x\\\\".repeat(50)}\\end{array}$$`,
  `$${"{".repeat(200)}x${"}".repeat(200)}$`, `$${"\\sqrt{".repeat(150)}x${"}".repeat(150)}$`, `$$\\unicode{x202e}$$`, `$\\char"202E x$`, `$x^{$`, `$$\\frac{a}{b}$$`, `$$\n# x\n$$`, `$$\n- a\n\n- b\n$$`, `\\[\n> x\n\\]`, `\\(<b>x</b>\\)`, `\\[ \\boxed{x}`, `$$`, `$$$$`, `$`,
  `$$x$$ $$y`, `\\( \\( x \\)`, `It costs $5 and then $6, or <b>$7</b>`, `$\`$\`$`, `<math><mi href="javascript:${JS}">x</mi></math>`, `<math href="javascript:${JS}">x</math>`, `<math><maction actiontype="statusline" xlink:href="javascript:${JS}">x</maction></math>`,
  `<math><semantics><annotation-xml encoding="application/xhtml+xml"><script>${JS}</script></annotation-xml></semantics></math>`, `<math><mstyle mathbackground="red" style="x:y">x</mstyle></math>`, `$\\begin{CD}A@>a>>B\\end{CD}$`, `$\\ce{H2O}$`, `$\\bbox[url(${EVIL})]{x}$`, `$\\mathtip{a}{b}$`,
];
const fences = [
  "```html\n<script>pwned()</script>\n```", "```html\n<img src=x onerror=pwned()>", "```\"><img src=x onerror=pwned()>\nx\n```", "```js onclick=pwned()\nx\n```", "~~~\n```\n<script>pwned()</script>\n~~~", "````\n```\n<b>\n```\n````", "`<img src=x onerror=pwned()>`",
  "``<script>``", "```", "``` \n", "```\n```\n```", "- a\n  ```\n  <script>pwned()</script>\n\n  x\n  ```\n- b", "> ```\n> <script>pwned()</script>\n\nx", "    <script>pwned()</script>\n\n    <img src=x onerror=pwned()>", "```svg\n<svg onload=pwned()></svg>\n```",
  "```math\n\\href{javascript:pwned()}{x}\n```", "```mermaid\nclick A call pwned()\n```", "```\u202e\nif (x) \u2066// \u2069\n```", "   ```py\n   x = 1\n   ```", "```json\n{\"a\": \"</code></pre><script>pwned()</script>\"}\n```", "``` a`b\nx\n```", "~~~ a`b\nx\n~~~~\ny",
  "x\n```\ny\n```\nz", "```js\nconst a = `</script><script>pwned()</script>`;\n```", "```__proto__\nx\n```", "```constructor\nx\n```", "```\r\nx\r\n```\r\n", "```py\nx\r\ny\r```",
];
const shapes = [
  `${"> ".repeat(300)}x`, `${"- ".repeat(300)}x`, `${"1. ".repeat(200)}x`, `${"*".repeat(400)}x${"*".repeat(400)}`, `${"[".repeat(400)}x${"](y)".repeat(100)}`, `${"![".repeat(200)}x`, `${"`".repeat(300)}x`, `${"<b>".repeat(200)}x`, `${"\\".repeat(300)}`, `${"&amp;".repeat(100)}`,
  `${"_a_ ".repeat(200)}`, `${"**a ".repeat(200)}`, `${"~~a".repeat(150)}`, `| a |\n|---|\n${"| <b>x |\n".repeat(60)}`, `|${"a|".repeat(200)}\n|${"-|".repeat(200)}\n|x|`, `# ${"#".repeat(100)} x`, `${"\n".repeat(300)}x`, `${"a\n===\n".repeat(40)}`, `a\n--\nb\n-\nc`, `a\n#\n#x`,
  `* a\n\n* b\n\n\n* c\n\n    d\n\ne`, `1. a\n2. b\n\n3) c\n- d\n+ e`, `[x]: ${EVIL}\n\n[x]\n\n[x][x]`, `[^1]\n\n[^1]: <script>pwned()</script>`, `- [ ] <input>\n- [x] b`, `a  \nb\\\nc<br>d`, `&lt;script&gt;pwned()&lt;/script&gt;`, `&#60;img src=x onerror=pwned()&#62;`, `&#x3c;script>pwned()</script>`,
  `\ud800 lone \udfff surrogates \ud83d`, `👩‍👩‍👧‍👦 **עברית** \u200f <b>العربية</b>`, `\u0000\u0001\u001b[31mx\u007f`, `{{constructor.constructor('pwned()')()}}`, `\${pwned()}`, `<%= pwned() %>`, `javascript:pwned()`, `<a@b.example>onclick`, `<http://a b>`, `a | b\n--|--\nc | <script>pwned()</script>\n\n| d`,
  `---\n---\n***\n___`, `<b\n\n>x</b\n\n>`, `<!--\n\n${"x ".repeat(20)}`, `> a\n\n> b\nc\n\n    d`, `\tx\n\n\ty\n- \tz`, `Setext\n======\nx\n---`, `1986\\. A`, `- a\n - b\n  - c\n   - d\n    - e`, `**a\n\nb**`, `<details>\n<summary>x</summary>\n\n**y**\n\n</details>`, `H<sub>2</sub>O <kbd>x</kbd>`,
];

/** All of them. */
export const HOSTILE = [...scripts, ...handlers, ...loads, ...svg, ...css, ...links, ...mutation, ...maths, ...fences, ...shapes];

/** Where an answer is split: everywhere, or in a long one at most at so many places, of which more are where a token would end. */
export function splits(text, most) {
  const all = Array.from({ length: text.length - 1 }, (_, i) => i + 1);
  if (all.length <= most) return all;
  const step = all.length / most;
  return [...new Set(Array.from({ length: most }, (_, i) => all[Math.floor(i * step)]))];
}
