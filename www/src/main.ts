// The page: lets the visitor choose a model, shows the load's progress, and opens the chat.

import { deviceInfo, load, type Model, type ModelSource, type Progress } from "minke";
import * as chat from "./chat.js";
import { bytes, element } from "./dom.js";

type Dropped = File | FileSystemEntry;

const sections = ["start", "loading", "chat"] as const;
const status = element("status");
const notice = element("notice");
const progress = element<HTMLProgressElement>("progress");
const progressText = element("progress-text");

let model: Model | undefined;
let loading: AbortController | undefined;

function show(section: (typeof sections)[number]): void {
  for (const name of sections) element(name).hidden = name !== section;
  element("change").hidden = element("fresh").hidden = section !== "chat";
  document.body.dataset.state = { start: "start", loading: "loading", chat: "ready" }[section];
}

function tell(message: string): void {
  notice.textContent = message;
  notice.hidden = message === "";
}

async function start(source: ModelSource, name: string): Promise<void> {
  tell("");
  element("loading-title").textContent = name;
  progress.removeAttribute("value");
  progressText.textContent = "opening";
  show("loading");
  element("cancel").focus();
  loading = new AbortController();
  const { signal } = loading;
  try {
    model = await load(source, { signal, onProgress: watch(), fallback: true });
    const { architecture, quantization, contextLength, device } = model.info;
    status.textContent = `${name} · ${architecture} ${quantization} · ${bytes(model.memory().weights)} · ${contextLength} tokens of context${device.kind === "cpu" ? ` · ${device.name}` : ""}`;
    void model.lost.then((error) => leave(chat.explain(error)));
    show("chat");
    chat.open(model);
  } catch (error) {
    show("start");
    if (!signal.aborted) tell(chat.explain(error));
  }
}

const STAGES: Record<Progress["stage"], string> = { download: "reading", verify: "checking", upload: "to the graphics card", compile: "compiling" };

function watch(): (progress: Progress) => void {
  const began = performance.now();
  return ({ stage, loaded, total }) => {
    if (total > 0) progress.value = loaded / total;
    const seconds = (performance.now() - began) / 1000;
    const counted = stage === "compile" ? `${loaded} of ${total} programs` : `${bytes(loaded)} of ${bytes(total)}`;
    const rate = stage !== "compile" && seconds > 1 ? ` · ${bytes(loaded / seconds)} per second` : "";
    progressText.textContent = `${STAGES[stage]} · ${counted}${rate}`;
  };
}

async function leave(message = ""): Promise<void> {
  chat.open(undefined);
  status.textContent = "";
  show("start");
  tell(message);
  const gone = model;
  model = undefined;
  await gone?.unload();
}

element("cancel").addEventListener("click", () => loading?.abort());
element("change").addEventListener("click", () => void leave());
element("fresh").addEventListener("click", () => chat.clear());

element("address").addEventListener("submit", (event) => {
  event.preventDefault();
  const source = element<HTMLInputElement>("source").value.trim();
  if (source !== "") void start(source, source.split("/").at(-1) || source);
});

const picker = element<HTMLInputElement>("files");
picker.addEventListener("change", () => take([...(picker.files ?? [])]));
const drop = element("drop");
for (const type of ["dragover", "dragleave", "drop"] as const) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", type === "dragover");
    if (type === "drop" && !element("start").hidden) take(dropped(event.dataTransfer));
  });
}

function take(files: Dropped[]): void {
  if (files.length > 0) void start({ files }, files.length === 1 ? files[0]!.name : `${files.length} files`);
  picker.value = "";
}

/** The dropped files and folders; the package reads folders itself. */
function dropped(data: DataTransfer | null): Dropped[] {
  const entries = [...(data?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  return entries.length > 0 ? entries : [...(data?.files ?? [])];
}

/** Offers the demo model if this page's server has it. */
async function offerDemo(): Promise<void> {
  const answer = await fetch("demo.json").catch(() => undefined);
  if (!answer?.ok || !answer.headers.get("content-type")?.includes("json")) return;
  const { name, file, bytes: size } = (await answer.json()) as { name: string; file: string; bytes: number };
  const button = element<HTMLButtonElement>("demo");
  element("demo-name").textContent = name;
  element("demo-note").textContent = `A small model, ${bytes(size)}. It answers fast and is often wrong.`;
  button.addEventListener("click", () => void start(new URL(file, document.baseURI), name));
  button.hidden = false;
}

async function describeDevice(): Promise<void> {
  const info = await deviceInfo();
  if (info.device === "gpu") {
    const name = [info.vendor, info.architecture].filter(Boolean).join(" ");
    element("device").textContent = `WebGPU${name === "" ? "" : ` on ${name}`}${info.shaderF16 ? ", 16-bit arithmetic" : ""}, buffers of up to ${bytes(info.maxBufferSize)}.`;
    return;
  }
  element("device").textContent = `Models run on the processor, on ${info.threads === 1 ? "one thread" : `${info.threads} threads`}: choose a small one.`;
  if (!info.webgpu) tell(
    !isSecureContext ? "WebGPU is only offered to pages from https:// or localhost. Models run on the processor, which is slower."
    : navigator.gpu === undefined ? `This browser has no WebGPU: models run on the processor, which is slower.\n${chat.NO_WEBGPU}`
    : `This browser has WebGPU but offers no graphics card for it: models run on the processor, which is slower.\n${chat.NO_WEBGPU}`,
  );
}

show("start");
void offerDemo().then(describeDevice);
