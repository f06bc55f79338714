// Words for what goes wrong. Functions get the facts.

export const errors = {
  title: "Something went wrong",
  full: (used: number, limit: number) =>
    `The conversation has ${used} tokens, and the model reads ${limit}, its answer included.`,
  chatQuota: "The storage is full: the conversation was not stored. Free some space, or export it.",
  notStored: (why: string) => `The conversation was not stored: ${why}`,
  manageStorage: "Manage storage",
  chooseAnother: "Choose another model",
  loadAgain: "Load the model again",
  newChat: "New chat",
  withoutStoring: "Go on without storing",
  tryAgain: "Try again",
  contextSettings: "Choose what happens",
  technical: "What the engine said",
  /** By the code of an engine's error. */
  engine: {
    "no-webgpu":
      "This browser offers no WebGPU. Chrome and Edge from 113, Safari from 26 and Firefox from 141 have it; on Linux it may have to be switched on. Models can run on the processor, which is slower.",
    "buffer-limit": "The model needs larger buffers than this GPU has. A smaller one, or one in fewer bits, will do.",
    memory: "The memory is not enough for this model. Close other tabs, or choose a smaller model.",
    storage: "The storage of this browser is not enough for the model.",
    architecture: "The model is of a kind that is not supported.",
    dtype: "The model’s weights are in a number format that is not supported.",
    feature: "The model needs something that is not supported.",
    network: "The connection failed. What has arrived is kept, and the download continues from there.",
    integrity: "The file is not what its publisher says: it was damaged on the way, or changed.",
    format: "The file is not a model that can be read.",
    "context-overflow": "The conversation is longer than what the model can read.",
    "device-lost": "The browser took the GPU away, after too much load or a sleep. The conversation is kept.",
    template: "The model’s chat template failed on this conversation.",
    constraint: "The answer cannot be bound as asked.",
    "non-finite": "The model computed numbers that are none: the file may be damaged, or the GPU’s driver faulty.",
    "invalid-argument": "The model cannot do what was asked.",
    internal: "The engine failed. Load the model again.",
  } as Record<string, string>,
  noModel: "No model is loaded. Choose one, then try again.",
  /** By the code of an error of the stored data. */
  data: {
    unavailable: (d: { reason: string }) =>
      `This browser does not let the page store anything (${d.reason}): a private window, or a setting. Conversations are not kept.`,
    quota: "The storage is full.",
    newer: "The conversations were stored by a newer version of this page. Reload it.",
    blocked: "Another tab has an older version of this page open. Close it, then reload.",
    closed: "A newer version of this page took over in another tab. Reload this one.",
    locked: "The conversations are locked.",
    passphrase: "That is not the passphrase.",
    damaged: "Something that was stored is damaged and cannot be decrypted.",
    busy: "Another tab is changing the encryption. Wait until it is done.",
    missing: "It is not there any more.",
    format: (d: { where: string; expected: string }) =>
      `The file cannot be imported: expected ${d.expected}${d.where && ` at ${d.where}`}.`,
    kind: (d: { name: string }) => `${d.name}: files of this kind have no text that could be read.`,
    size: (d: { name: string; limit: number }) => `${d.name} is too large: at most ${d.limit.toLocaleString("en")} are read.`,
    encoding: (d: { name: string }) => `${d.name} is in an unknown encoding: save it as UTF-8.`,
    unreadable: (d: { name: string; reason: "damaged" | "password" | "empty" | "binary" }) =>
      `${d.name}: ${{ damaged: "the file is damaged", password: "it needs a password", empty: "there is no text in it", binary: "it is not text" }[d.reason]}.`,
  },
};
