// Stands where the wasm glue stands, so that everything above it can be tested without a GPU: a "model" that reads
// all its bytes and says numbers. Its traps are real ones, from a real WebAssembly instance.

// (module (func (export "trap") unreachable))
export const WASM = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11,
]);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const fail = (code, message, detail = {}) => {
  throw { code, message, retryable: false, detail };
};

export function instantiate(guard) {
  let wasm;

  class Canceller {
    state = "";
    abort() { this.state = "abort"; }
    stop() { this.state ||= "stop"; }
    free() {}
  }

  class Model {
    memoryNow = { weights: 1, kv: 2, scratch: 3 };
    constructor(id, bytes, requests) { Object.assign(this, { id, bytes, requests, log: [] }); }
    info() { return { architecture: "fake", vocabSize: 4, bytes: this.bytes, sum: this.sum }; }
    memory() { return this.memoryNow; }
    async generate(input, options, onPart, canceller) {
      if (input === "trap") wasm.trap();
      if (input === "trap later") { setTimeout(() => { try { wasm.trap(); } catch {} }); await new Promise(() => {}); }
      if (input === "refuse") fail("context-overflow", "too long", { inputTokens: 9 });
      this.log.push(`begin ${input}`);
      const count = options.maxOutputTokens ?? 5;
      let text = "";
      let finishReason = "length";
      for (let i = 0; i < count; i++) {
        await pause(2);
        if (canceller.state === "abort") fail("abort", "aborted");
        if (canceller.state === "stop") { finishReason = "abort"; break; }
        text += `${i} `;
        onPart({ type: "text-delta", text: `${i} ` });
      }
      this.log.push(`end ${input}`);
      this.memoryNow = { ...this.memoryNow, scratch: 4 };
      const usage = { outputTokens: count };
      onPart({ type: "finish", finishReason, usage });
      return { text, finishReason, usage, options, log: [...this.log] };
    }
    async forward(ids, rows) { return Float32Array.from(rows === "all" ? ids : ids.slice(-1)); }
    async score() { return []; }
    encode(text, special) { return Uint32Array.from([special ? 1 : 0, ...text].map(Number)); }
    decode(ids, skip) { return `${[...ids]} ${skip}`; }
    applyChatTemplate(messages) { return messages.map((m) => m.content).join("|"); }
    encodeMessages(messages) { return Uint32Array.of(messages.length); }
    lost() { return new Promise(() => {}); }
    unload() { this.log.push("unload"); }
    free() {}
  }

  return {
    Canceller,
    async init({ module_or_path }) {
      wasm = guard((await WebAssembly.instantiate(module_or_path)).exports);
    },
    async loadModel(source, options, onProgress, canceller) {
      const reader = source.kind === "gguf" ? source.reader : await source.open("model.bin");
      if (reader === null) fail("format", "model.bin is missing");
      const model = new Model(source.id, reader.size);
      model.sum = 0;
      const step = options.contextLength ?? 100_000; // bytes per read, here
      for (let at = 0; at < reader.size; at += step) {
        if (canceller.state === "abort") fail("abort", "aborted");
        const bytes = await reader.read(at, Math.min(reader.size, at + step));
        for (const byte of bytes) model.sum = (model.sum * 31 + byte) >>> 0;
        onProgress({ stage: "download", loaded: at + bytes.length, total: reader.size, fromCache: false });
      }
      return model;
    },
  };
}
