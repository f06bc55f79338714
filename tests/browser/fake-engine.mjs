// A fake of the wasm glue, to test everything above it without a GPU: a "model" that reads
// all its bytes and generates numbers. Its traps are real, from a real WebAssembly instance.

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
    conversations = new Set();
    last = 0;
    constructor(id, bytes, requests) { Object.assign(this, { id, bytes, requests, log: [] }); }
    setGrammars() {}
    info() { return { architecture: "fake", vocabSize: 4, contextLength: 30, bytes: this.bytes, sum: this.sum }; }
    memory() { return this.memoryNow; }
    // Conversations: one token per message, and one per character of it.
    count(input) { return typeof input === "string" || input instanceof Uint32Array ? input.length : input.reduce((sum, m) => sum + 1 + m.content.length, 0); }
    fit(input) { if (this.count(input) > 30) fail("context-overflow", "too long", { inputTokens: this.count(input), contextLength: 30 }); }
    known(conversation) { if (!this.conversations.has(conversation)) fail("invalid-argument", "it has been destroyed", { argument: "session" }); }
    openConversation() { this.conversations.add(++this.last); return this.last; }
    closeConversation(conversation) { this.conversations.delete(conversation); }
    async cloneConversation(conversation) { await pause(1); this.known(conversation); return this.openConversation(); }
    async append(input, options, conversation, canceller) {
      await pause(2);
      if (canceller.state === "abort") fail("abort", "aborted");
      this.known(conversation);
      if (input[0]?.content === "unshown") fail("template", "it wants a question");
      this.fit(input);
      return this.count(input);
    }
    async saveConversation(conversation, note) { await pause(1); this.known(conversation); return [new TextEncoder().encode("state "), new TextEncoder().encode(note)]; }
    async restoreConversation(reader) {
      const text = new TextDecoder().decode(await reader.read(0, reader.size));
      if (!text.startsWith("state ")) fail("format", "this is not a saved conversation");
      return { conversation: this.openConversation(), note: text.slice(6) };
    }
    async generate(input, options, conversation, onPart, canceller) {
      if (conversation !== undefined) { this.known(conversation); this.fit(input); }
      if (input === "trap") wasm.trap();
      if (input === "trap later") { setTimeout(() => { try { wasm.trap(); } catch {} }); await new Promise(() => {}); }
      if (input === "refuse") fail("context-overflow", "too long", { inputTokens: 9 });
      if (options.tools !== undefined) return this.callTools(input, options, onPart, canceller);
      this.log.push(`begin ${typeof input === "string" ? input : this.count(input)}`);
      const count = options.maxOutputTokens ?? 5;
      let text = "";
      let finishReason = "length";
      let i = 0;
      for (; i < count; i++) {
        await pause(2);
        if (canceller.state === "abort") fail("abort", "aborted");
        if (canceller.state === "stop") { finishReason = "abort"; break; }
        text += `${i} `;
        onPart?.({ type: "text-delta", text: `${i} ` });
      }
      this.log.push(`end ${typeof input === "string" ? input : this.count(input)}`);
      this.memoryNow = { ...this.memoryNow, scratch: 4 };
      // The header of an answer takes a token, which belongs to no message.
      const usage = { inputTokens: this.count(input) + (Array.isArray(input) ? 1 : 0), outputTokens: i, reasoningTokens: options.reasoning?.maxTokens ?? 0 };
      onPart?.({ type: "finish", finishReason, usage });
      const messages = Array.isArray(input) ? [...input, { role: "assistant", content: text }] : [];
      return { text, finishReason, usage, options, messages, conversation, parts: onPart !== undefined, ids: Uint32Array.from({ length: i }, (_, i) => i), log: [...this.log] };
    }
    // With tools: the calls that the last user's turn names ("look 1, ping 2"), or an answer that repeats the results.
    async callTools(input, options, onPart, canceller) {
      await pause(2);
      if (canceller.state === "abort") fail("abort", "aborted");
      const given = typeof input === "string" ? [{ role: "user", content: input }] : input;
      const results = given.slice(given.findLastIndex((m) => m.role !== "tool") + 1);
      const asked = results.length > 0 ? [] : given.at(-1).content.split(", ").filter((word) => /^\w+ \d+$/.test(word));
      const toolCalls = asked.map((word, i) => {
        const [toolName, n] = word.split(" ");
        return { toolCallId: `call_${given.length}${i}`, toolName, input: `{"n":${n}}` };
      });
      const text = toolCalls.length > 0 ? "" : `so: ${results.map((m) => m.content)}`;
      if (text) onPart?.({ type: "text-delta", text });
      for (const call of toolCalls) {
        onPart?.({ type: "tool-input-delta", toolCallId: call.toolCallId, toolName: call.toolName, delta: call.input });
        onPart?.({ type: "tool-call", ...call });
      }
      const finishReason = toolCalls.length > 0 ? "tool-calls" : "stop";
      const usage = { inputTokens: 10, cachedTokens: 1, outputTokens: 2, reasoningTokens: 0, prefillMs: 3, decodeMs: 4, timeToFirstTokenMs: 3, tokensPerSecond: 500 };
      onPart?.({ type: "finish", finishReason, usage });
      const messages = [...given, { role: "assistant", content: text, ...(toolCalls.length > 0 && { toolCalls }) }];
      return { text, reasoning: "", toolCalls, finishReason, usage, messages, options, ids: Uint32Array.of(given.length, 7) };
    }
    async forward(ids, rows) { return Float32Array.from(rows === "all" ? ids : ids.slice(-1)); }
    async score() { return []; }
    encode(text, special) { return Uint32Array.from([special ? 1 : 0, ...text].map(Number)); }
    decode(ids, skip) { return `${[...ids]} ${skip}`; }
    applyChatTemplate(messages) { return messages.map((m) => m.content).join("|"); }
    encodeMessages(messages, options) { this.log.push("encode"); return new Uint32Array(this.count(messages) + (options.addGenerationPrompt ? 1 : 0)); }
    choices() { return new Uint32Array(0); }
    lost() { return new Promise(() => {}); }
    unload() { this.log.push("unload"); }
    free() {}
  }

  return {
    Canceller,
    async init({ module_or_path }) {
      wasm = guard((await WebAssembly.instantiate(module_or_path)).exports);
    },
    async estimateModel(source) {
      const reader = source.kind === "gguf" ? source.reader : await source.open("model.bin");
      if (reader === null) fail("format", "model.bin is missing");
      return { files: [], downloadBytes: reader.size, gpuBytes: 0, kvBytesPerToken: 1, peakHostBytes: 0, maxContextLength: 30, fit: "yes", reasons: [] };
    },
    async loadModel(source, options, onProgress, canceller) {
      const reader = source.kind === "gguf" ? source.reader : await source.open("model.bin");
      if (reader === null) fail("format", "model.bin is missing");
      const model = new Model(source.id, reader.size);
      model.sum = 0;
      const step = options.contextLength ?? 100_000; // bytes per read, in this fake
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
