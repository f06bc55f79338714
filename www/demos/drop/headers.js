// Reads what GGUF and safetensors files say about themselves. The engine judges files; this only shows what well-formed ones contain.

/** Bytes of a header that are read at most; the engine refuses longer ones, too. */
const MOST = 2 ** 27;

/** `{ facts, formats }` by name, of the model among files, entries of folders or both; undefined if there is none. */
export async function headers(given) {
  const files = (await Promise.all(given.map(flat))).flat();
  const gguf = files.filter(({ name }) => /\.gguf$/i.test(name)).sort((a, b) => a.name.localeCompare(b.name));
  const tensors = files.filter(({ name }) => /\.safetensors$/i.test(name));
  if (tensors.length > 0) return fromSafetensors(tensors, files.find(({ name }) => name === "config.json"));
  if (gguf.length > 0 || files.length === 1) return fromGguf(gguf.length > 0 ? gguf : files);
}

/** The files of a dropped entry. */
async function flat(item) {
  if (item instanceof File) return [item];
  if (item.isFile) return [await new Promise((resolve, reject) => item.file(resolve, reject))];
  const reader = item.createReader();
  const files = [];
  for (let some; (some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length > 0; ) {
    for (const entry of some) files.push(...(await flat(entry)));
  }
  return files;
}

async function fromSafetensors(files, config) {
  const counts = new Map();
  for (const file of files) {
    const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
    if (length > MOST) throw new Error("the header is too long");
    const header = JSON.parse(await file.slice(8, 8 + length).text());
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (name !== "__metadata__") count(counts, dtype, shape.reduce((a, b) => a * b, 1), data_offsets[1] - data_offsets[0]);
    }
  }
  const of = config === undefined ? {} : JSON.parse(await config.text());
  return {
    facts: shown({
      Format: `safetensors, ${plural(files.length)}`, Architecture: of.architectures?.[0] ?? of.model_type, Weights: weights(counts),
      Layers: of.num_hidden_layers, Width: of.hidden_size, "Longest context": of.max_position_embeddings, Vocabulary: of.vocab_size,
    }),
    formats: formats(counts),
  };
}

/** Names of ggml's types by number; those that are not here are shown by number. */
const TYPES = {
  0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
  15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8",
  25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
};

async function fromGguf(files) {
  const counts = new Map();
  let metadata;
  for (const file of files) {
    const header = await parsed(file);
    metadata ??= header.metadata;
    const ordered = header.tensors.sort((a, b) => a.offset - b.offset);
    ordered.forEach(({ type, values, offset }, i) => {
      const next = ordered[i + 1]?.offset ?? file.size - header.end;
      count(counts, TYPES[type] ?? `type ${type}`, values, next - offset);
    });
  }
  const of = (key) => metadata.get(`${metadata.get("general.architecture")}.${key}`);
  return {
    facts: shown({
      Name: metadata.get("general.name"), Format: `GGUF, ${plural(files.length)}`,
      Architecture: metadata.get("general.architecture"), Licence: metadata.get("general.license"), Weights: weights(counts),
      Layers: of("block_count"), Width: of("embedding_length"), Experts: of("expert_count"), "Longest context": of("context_length"),
      Vocabulary: metadata.get("tokenizer.ggml.tokens")?.length,
      "Chat template": metadata.has("tokenizer.chat_template") ? "yes" : "no",
    }),
    formats: formats(counts),
  };
}

/** The header of a GGUF file: as much of the file is read as it needs. */
async function parsed(file) {
  for (let read = 2 ** 20; ; read *= 4) {
    try {
      return header(new DataView(await file.slice(0, read).arrayBuffer()));
    } catch (error) {
      if (!(error instanceof RangeError) || read >= Math.min(file.size, MOST)) throw error;
    }
  }
}

function header(view) {
  let at = 8;
  const step = (bytes) => (at += bytes) - bytes;
  const u32 = () => view.getUint32(step(4), true);
  const u64 = () => Number(view.getBigUint64(step(8), true));
  const text = () => {
    const length = u64();
    return new TextDecoder().decode(new Uint8Array(view.buffer, step(length), length));
  };
  const numbers = {
    0: [1, "getUint8"], 1: [1, "getInt8"], 2: [2, "getUint16"], 3: [2, "getInt16"], 4: [4, "getUint32"], 5: [4, "getInt32"],
    6: [4, "getFloat32"], 7: [1, "getUint8"], 10: [8, "getBigUint64"], 11: [8, "getBigInt64"], 12: [8, "getFloat64"],
  };
  const value = (type) => {
    if (type === 8) return text();
    if (type === 9) {
      const [inner, length] = [u32(), u64()];
      if (numbers[inner]) return { length, skipped: step(length * numbers[inner][0]) };
      for (let i = 0; i < length; i++) value(inner);
      return { length };
    }
    const [bytes, get] = numbers[type];
    return Number(view[get](step(bytes), true));
  };
  if (view.getUint32(0) !== 0x47475546) throw new Error("not a GGUF file");
  const [tensorCount, keyCount] = [u64(), u64()];
  const metadata = new Map();
  for (let i = 0; i < keyCount; i++) metadata.set(text(), value(u32()));
  const tensors = [];
  for (let i = 0; i < tensorCount; i++) {
    text();
    const values = Array.from({ length: u32() }, u64).reduce((a, b) => a * b, 1);
    tensors.push({ values, type: u32(), offset: u64() });
  }
  const alignment = metadata.get("general.alignment") ?? 32;
  return { metadata, tensors, end: Math.ceil(at / alignment) * alignment };
}

function count(counts, format, values, bytes) {
  const sum = counts.get(format) ?? { tensors: 0, values: 0, bytes: 0 };
  counts.set(format, { tensors: sum.tensors + 1, values: sum.values + values, bytes: sum.bytes + bytes });
}

const plural = (files) => (files === 1 ? "one file" : `${files} files`);
const millions = (n) =>
  n >= 1e9 ? `${(n / 1e9).toFixed(2)} billion` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} million` : n.toLocaleString("en");
const weights = (counts) => millions([...counts.values()].reduce((sum, { values }) => sum + values, 0));
const formats = (counts) => Object.fromEntries([...counts].sort(([, a], [, b]) => b.bytes - a.bytes)
  .map(([format, { tensors, values, bytes }]) => {
    const where = tensors === 1 ? "one tensor" : `${tensors} tensors`;
    return [format, `${millions(values)} weights in ${where}, ${((8 * bytes) / values).toFixed(2)} bits each`];
  }));
/** The facts that there are, with numbers as people read them. */
const shown = (facts) => Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)
  .map(([name, value]) => [name, typeof value === "number" ? value.toLocaleString("en") : value]));
