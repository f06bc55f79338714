import { load } from "../../minke/index.js";
const given = new URLSearchParams(location.search);
const [button, output] = document.querySelectorAll("#ask, #output");
addEventListener("unhandledrejection", ({ reason }) => { output.textContent = reason.message; });
button.addEventListener("click", async () => {
  const model = await load(given.get("model") ?? "HuggingFaceTB/SmolLM2-135M-Instruct", {
    device: given.get("device") ?? "auto",
    onProgress: ({ stage, loaded, total }) => { output.textContent = `${stage} ${loaded} of ${total}`; },
  });
  output.textContent = "";
  for await (const part of model.stream(button.textContent)) output.append(part.text ?? "");
}, { once: true });
