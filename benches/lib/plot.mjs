// Draws charts as SVG, for light and dark pages.

const STYLE = `<style>text{font:12px system-ui,sans-serif;fill:#333}.axis{stroke:#999;stroke-width:1}.grid{stroke:#9994;stroke-width:1}.title{font-weight:600;font-size:13px}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>`;
const COLOURS = ["#2f6fdb", "#d9822b", "#3a9a5b", "#9b59b6", "#c0392b", "#7f8c8d", "#16a2b8"];

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const short = (value) => (value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3))));
const svg = (width, height, body) => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">${STYLE}${body}</svg>\n`;

/** Bars from the left on a logarithmic scale: `{ label, min, median, max }`; the line on a bar is its range. */
export function bars(title, unit, rows) {
  const [left, width, line] = [240, 460, 26];
  const values = rows.flatMap((r) => [r.min, r.max]);
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...values) * 1.01));
  const x = (value) => left + (width * Math.log(value / low)) / Math.log(high / low);
  const height = 40 + rows.length * line + 24;
  let body = `<text class="title" x="10" y="20">${escaped(title)}</text>`;
  for (let tick = low; tick <= high * 1.001; tick *= 10) {
    body += `<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="34" y2="${height - 22}"/><text x="${x(tick)}" y="${height - 8}" text-anchor="middle">${short(tick)}${tick === low ? ` ${escaped(unit)}` : ""}</text>`;
  }
  rows.forEach(({ label, min, median, max }, i) => {
    const y = 40 + i * line;
    body += `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${escaped(label)}</text><rect x="${left}" y="${y + 3}" width="${(x(median) - left).toFixed(1)}" height="${line - 9}" fill="${COLOURS[i % COLOURS.length]}"/><line class="axis" x1="${x(min).toFixed(1)}" x2="${x(max).toFixed(1)}" y1="${y + 11.5}" y2="${y + 11.5}"/><text x="${(x(Math.max(median, max)) + 6).toFixed(1)}" y="${y + 14}">${short(median)}</text>`;
  });
  return svg(left + width + 60, height, body);
}

/** Lines from zero: `{ label, points: [[x, y], …] }`. */
export function lines(title, xUnit, yUnit, series) {
  const [left, top, width, height] = [70, 36, 520, 240];
  const all = series.flatMap((s) => s.points);
  const [right, most] = [Math.max(...all.map((p) => p[0])), Math.max(...all.map((p) => p[1])) * 1.08];
  const x = (v) => left + (width * v) / right;
  const y = (v) => top + height - (height * v) / most;
  let body = `<text class="title" x="10" y="20">${escaped(title)}</text><line class="axis" x1="${left}" x2="${left + width}" y1="${top + height}" y2="${top + height}"/><text x="${left + width}" y="${top + height + 32}" text-anchor="end">${escaped(xUnit)}</text><text x="10" y="${top + 4}">${escaped(yUnit)}</text>`;
  for (let i = 0; i <= 4; i++) {
    body += `<line class="grid" x1="${left}" x2="${left + width}" y1="${y((most * i) / 4)}" y2="${y((most * i) / 4)}"/><text x="${left - 6}" y="${y((most * i) / 4) + 4}" text-anchor="end">${short((most * i) / 4)}</text><text x="${x((right * i) / 4)}" y="${top + height + 16}" text-anchor="middle">${short((right * i) / 4)}</text>`;
  }
  series.forEach(({ label, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    body += `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ")}"/>`;
    for (const [a, b] of points) body += `<circle cx="${x(a).toFixed(1)}" cy="${y(b).toFixed(1)}" r="3" fill="${colour}"/>`;
    body += `<rect x="${left + width + 16}" y="${top + i * 20}" width="12" height="12" fill="${colour}"/><text x="${left + width + 34}" y="${top + 11 + i * 20}">${escaped(label)}</text>`;
  });
  return svg(left + width + 250, top + height + 44, body);
}
