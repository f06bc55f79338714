// Loads a demo's model when the visitor asks for it. The page's address may name another: ?model=…&device=cpu

import { EngineError, load } from "../minke/index.js";

const given = new URLSearchParams(location.search);
const [box, button, name, status] = ["load", "load-button", "model-name", "load-status"]
  .map((id) => document.getElementById(id));
const progress = box.querySelector("progress");

/** Waits for the button and resolves to the model: `standard`, unless the address names another. */
export async function chosen(standard) {
  const source = given.get("model") ?? standard;
  if (source !== standard) {
    name.parentElement.replaceChildren(name); // the size beside it is the standard one's
    name.textContent = source;
  }
  for (;;) {
    await new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
    button.hidden = true;
    progress.hidden = false;
    try {
      const model = await load(source, { device: given.get("device") ?? "auto", onProgress });
      const { architecture, quantization, device } = model.info;
      progress.hidden = true;
      const on = device.kind === "gpu" ? `the GPU${device.name && ` (${device.name})`}` : device.name;
      status.textContent = `Ready: ${architecture}, ${quantization}, on ${on}.`;
      document.body.dataset.state = "ready";
      return model;
    } catch (error) {
      progress.hidden = true;
      button.hidden = false;
      status.textContent = told(error);
    }
  }
}

/** The words for an error. */
export function told(error) {
  return error instanceof EngineError ? `${error.message} (${error.code})` : String(error);
}

const STAGES = { download: "Reading", upload: "Filling the GPU", compile: "Compiling", verify: "Checking" };

function onProgress({ stage, loaded, total }) {
  progress.value = loaded / total;
  const count = (n) => (stage === "compile" ? n : `${Math.round(n / 1e6)} MB`);
  status.textContent = `${STAGES[stage]}: ${count(loaded)} of ${count(total)}`;
}
