// Draws lines over time as SVG.

const COLOURS = ["#2b6cb0", "#c05621", "#2f855a", "#805ad5"];

/** A round step that divides a range into about five parts. */
function step(range) {
  const power = 10 ** Math.floor(Math.log10(range / 5));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => range / n <= 6);
}

/** `series`: `[{ name, points: [[x, y], …] }]`. Axes begin at 0; values of y in `limits` get a dashed line. */
export function plot(title, xName, yName, series, { size: [width, height] = [720, 300], limits = [] } = {}) {
  const [left, top, right, bottom] = [56, 30, 16, 40];
  const most = (axis) => Math.max(1e-9, ...series.flatMap((s) => s.points.map((p) => p[axis])));
  const [xs, ys] = [most(0), Math.max(most(1), ...limits) * 1.05];
  const x = (v) => left + (v / xs) * (width - left - right);
  const y = (v) => height - bottom - (v / ys) * (height - top - bottom);
  const out = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`, `<rect width="100%" height="100%" fill="white"/>`, `<text x="${left}" y="16" font-size="13">${title}</text>`];
  for (let v = 0; v <= ys; v += step(ys)) out.push(`<path d="M${left} ${y(v).toFixed(1)}H${width - right}" stroke="#ddd"/><text x="${left - 6}" y="${(y(v) + 4).toFixed(1)}" text-anchor="end">${v}</text>`);
  for (let v = 0; v <= xs; v += step(xs)) out.push(`<text x="${x(v).toFixed(1)}" y="${height - bottom + 16}" text-anchor="middle">${v}</text>`);
  out.push(`<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${xName}</text>`, `<text transform="translate(14 ${(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">${yName}</text>`);
  for (const v of limits) out.push(`<path d="M${left} ${y(v).toFixed(1)}H${width - right}" stroke="#c53030" stroke-dasharray="6 4"/><text x="${width - right}" y="${(y(v) - 4).toFixed(1)}" text-anchor="end" fill="#c53030">${v.toFixed(0)}</text>`);
  series.forEach(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    out.push(`<path fill="none" stroke="${colour}" stroke-width="1.5" d="M${points.map(([a, b]) => `${x(a).toFixed(1)} ${y(Math.max(0, b)).toFixed(1)}`).join("L")}"/>`);
    out.push(`<text x="${left + 170 + i * 170}" y="${top + 4}" fill="${colour}">${name}</text>`);
  });
  return `${out.join("\n")}\n</svg>\n`;
}
