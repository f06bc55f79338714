import { EngineError, estimate } from "../../minke/index.js";
import { headers } from "./headers.js";

const [drop, files, error, report] = ["drop", "files", "error", "report"]
  .map((id) => document.getElementById(id));
const device = new URLSearchParams(location.search).get("device") ?? "auto";

files.addEventListener("change", () => inspect([...files.files]));
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  // Entries give access to folders; they have to be taken before the event ends.
  inspect([...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()));
});

async function inspect(given) {
  if (given.length === 0) return;
  error.hidden = true;
  report.replaceChildren();
  document.body.dataset.state = "busy";
  // What it costs here, by the engine, which checks every header; what it says about itself, by the page.
  const [cost, facts] = await Promise.allSettled([estimate({ files: given }, { device }), headers(given)]);
  if (cost.status === "rejected") {
    const { reason } = cost;
    error.textContent = reason instanceof EngineError ? `${reason.message} (${reason.code})` : String(reason);
    error.hidden = false;
  }
  if (facts.value !== undefined) {
    report.append(table("What it is", facts.value.facts), table("What it holds", facts.value.formats));
  }
  if (cost.status === "fulfilled") report.append(table("What it costs here", costs(cost.value)));
  document.body.dataset.state = cost.status === "fulfilled" ? "done" : "failed";
}

const FIT = { yes: "yes", tight: "only if other programs leave it the memory", no: "no" };

function costs({ fit, reasons, downloadBytes, gpuBytes, kvBytesPerToken, peakHostBytes, maxContextLength }) {
  return {
    "Runs here": FIT[fit],
    ...(reasons.length > 0 && { Because: reasons.map(({ message }) => message).join("; ") }),
    "Weights to read": size(downloadBytes),
    "Memory in use": size(gpuBytes),
    "A token of context": size(kvBytesPerToken),
    "Context": `${maxContextLength.toLocaleString("en")} tokens`,
    "While loading, outside the GPU": size(peakHostBytes),
  };
}

function table(title, rows) {
  const section = document.createElement("section");
  const heading = Object.assign(document.createElement("h2"), { textContent: title });
  const body = document.createElement("table");
  for (const [name, value] of Object.entries(rows)) {
    const row = body.insertRow();
    row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
    row.insertCell().textContent = value;
  }
  section.append(heading, body);
  return section;
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  const at = Math.min(3, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${Number((bytes / 1000 ** at).toPrecision(3)).toLocaleString("en")} ${units[at]}`;
}
