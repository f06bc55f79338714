// The page: settings, figures as they are known, the report. ?shape=NAME&device=cpu choose in advance.

import { EngineError, deviceInfo } from "../minke/index.js";
import { measure } from "./measure.js";
import { SHAPES, TINY, cacheBytes, size } from "./shapes.js";

const $ = (id) => document.getElementById(id);
const given = new URLSearchParams(location.search);
const [form, shape, device, patient, start, stop, status, error] = [
  "settings", "shape", "device", "patient", "start", "stop", "status", "error",
].map($);
const shapes = given.get("shape") === "tiny" ? { tiny: TINY, ...SHAPES } : SHAPES;

for (const [name, one] of Object.entries(shapes)) shape.add(new Option(`${name} (${gigabytes(size(one).bytes)})`, name));
const info = await deviceInfo();
if (!info.webgpu) {
  device.options[0].disabled = true;
  status.textContent = "This browser offers no GPU to the page.";
} else if (info.device === "cpu") {
  status.textContent = "The GPU that this browser offers is software, which the processor is faster without.";
}
device.value = given.get("device") ?? info.device;
shape.value = given.get("shape") in shapes ? given.get("shape") : info.device === "gpu" ? "DeepSeek-R1-Distill-Qwen-1.5B" : "Qwen2.5-0.5B";
document.body.dataset.state = "ready";

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const running = new AbortController();
  stop.onclick = () => running.abort(new DOMException("stopped", "AbortError"));
  const chosen = shapes[shape.value];
  reset();
  state("running");
  try {
    const options = { name: shape.value, shape: chosen, device: device.value, patient: patient.checked, signal: running.signal };
    const report = await measure(options, tell);
    expected(report);
    $("json").value = JSON.stringify(report, null, 2);
    $("result").hidden = false;
    status.textContent = "Done.";
    state("done");
  } catch (reason) {
    status.textContent = running.signal.aborted ? "Stopped." : "";
    if (!running.signal.aborted) {
      error.textContent = reason instanceof EngineError ? `${reason.message} (${reason.code})` : String(reason);
      error.hidden = false;
    }
    state(running.signal.aborted ? "ready" : "failed");
  }
});

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("json").value);
    $("copied").textContent = "Copied.";
  } catch {
    $("json").select();
    $("copied").textContent = "The browser does not let the page copy; the text is selected.";
  }
});

function state(now) {
  document.body.dataset.state = now;
  const busy = now === "running";
  stop.hidden = !busy;
  for (const control of [start, shape, device, patient]) control.disabled = busy;
  for (const box of document.querySelectorAll(".figures .busy")) if (!busy) box.classList.remove("busy");
}

function reset() {
  error.hidden = true;
  for (const id of ["variants", "expected", "result"]) $(id).hidden = true;
  for (const figure of document.querySelectorAll(".figure")) figure.textContent = "–";
  for (const meter of document.querySelectorAll("meter")) meter.remove();
  for (const note of document.querySelectorAll(".figures .note")) note.remove();
  $("copied").textContent = "";
}

const WORDS = {
  bandwidth: "Reading memory", selfTest: "Testing the kernels", start: "Loading the noise", prefill: "Reading prompts",
  decode128: "Writing after 128 tokens", decode4096: "Writing after 4,096 tokens", variants: "Trying the variants",
};

/** Shows a result, or that its measurement has begun. */
function tell(step, result) {
  const box = $(step === "start" ? "start-up" : step);
  if (result.stage !== undefined) {
    const what = result.stage === "compile" ? "pipelines" : "weights";
    status.textContent = `${WORDS.start}: ${Math.round((100 * result.loaded) / result.total)} % of the ${what}`;
    return;
  }
  box.classList.toggle("busy", typeof result === "string");
  if (typeof result === "string") status.textContent = `${WORDS[step]} ${result}`;
  else if (step === "variants") variants(result);
  else figure(box, step, result);
}

function figure(box, step, result) {
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const set = (value, unit) => box.querySelector(".figure").replaceChildren(value, " ", make("small", { textContent: unit }));
  const note = (text) => box.append(make("dd", { className: "fine note", textContent: text }));
  if (result.skipped !== undefined) {
    set("–", "");
    return note(`Left out: ${result.skipped}.`);
  }
  if (step === "bandwidth") return set(plain(result.gigabytesPerSecond), "GB/s");
  if (step === "start") return set(plain(result.seconds), "s");
  if (step === "selfTest") {
    set(result.passed ? "passed" : "partly", result.seconds === undefined ? "" : `${Math.round(1000 * result.seconds)} ms`);
    return result.passed || note(result.dropped.join("; "));
  }
  set(plain(result.tokensPerSecond), "tokens/s");
  if (result.shareOfBandwidth === undefined) return;
  const share = `${Math.round(100 * result.shareOfBandwidth)} % of the bandwidth`;
  const meter = make("meter", { min: 0, max: 1, value: result.shareOfBandwidth, ariaLabel: share });
  const dd = make("dd", { className: "note" });
  dd.append(meter);
  box.append(dd);
  note(share);
}

function variants(results) {
  const rows = Object.entries(results).map(([variant, { prefill, decode, failed }]) => failed === undefined
    ? row([variant, plain(prefill), plain(decode)])
    : row([variant, failed, "–"]));
  $("variants").querySelector("tbody").replaceChildren(...rows);
  $("variants").hidden = false;
}

/** Other shapes at the share of the bandwidth that this one reached. */
function expected({ bandwidth, decode, shape: measured }) {
  const share = decode[128].shareOfBandwidth;
  if (share === undefined || measured.name === "tiny") return; // a tiny model says nothing of others
  const rows = Object.entries(SHAPES).filter(([name]) => name !== measured.name).map(([name, one]) => {
    const { bytes, read } = size(one);
    return row([name, gigabytes(bytes), plain((share * bandwidth.gigabytesPerSecond * 1e9) / (read + cacheBytes(one, 128)))]);
  });
  $("expected").querySelector("tbody").replaceChildren(...rows);
  $("expected").hidden = false;
}

function row([head, ...cells]) {
  const line = document.createElement("tr");
  line.append(Object.assign(document.createElement("th"), { scope: "row", textContent: head }));
  for (const text of cells) line.append(Object.assign(document.createElement("td"), { className: "number", textContent: text }));
  return line;
}

function plain(value) {
  return value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(2)));
}

function gigabytes(bytes) {
  return `${Number((bytes / 1e9).toPrecision(2))} GB`;
}
