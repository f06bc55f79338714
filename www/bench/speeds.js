// How fast a loaded model reads prompts and writes answers.

/** Three significant digits: more would be noise. */
export const rounded = (value) => Number(value.toPrecision(3));
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const ROUNDS = 3;

export class Speeds {
  #model;
  #signal;
  /** Makes each prompt differ from its first token on, so that nothing of it is known yet. */
  #salt = 0;

  constructor(model, signal) {
    this.#model = model;
    this.#signal = signal;
  }

  /** Sets up whatever a first run still has to. */
  async warmUp() {
    await this.#run(ids(16, 0), 2);
  }

  /** Tokens of a prompt a second; prompts are of 512 tokens, if one takes less than some seconds, else of 64. */
  async prefill(patience) {
    const tokens = 512 / (await this.#reads(64)) < patience ? 512 : 64;
    const rates = [];
    while (rates.length < ROUNDS) rates.push(await this.#reads(tokens));
    return { tokens, tokensPerSecond: rounded(median(rates)) };
  }

  /** Tokens of an answer a second after a context of so many, in rounds of about a second. */
  async decode(context) {
    const input = ids(context, 0);
    const tokens = Math.max(4, Math.min(128, Math.round(await this.#writes(input, 4))));
    const rates = [];
    while (rates.length < ROUNDS) rates.push(await this.#writes(input, tokens));
    const [slowest, fastest] = [Math.min(...rates), Math.max(...rates)].map(rounded);
    return { tokensPerSecond: rounded(median(rates)), slowest, fastest, tokens };
  }

  async #reads(tokens) {
    const { inputTokens, cachedTokens, prefillMs } = await this.#run(ids(tokens, ++this.#salt), 1);
    return ((inputTokens - cachedTokens) / prefillMs) * 1000;
  }

  async #writes(input, tokens) {
    const { outputTokens, decodeMs } = await this.#run(input, tokens + 1); // the first comes from the prompt
    return ((outputTokens - 1) / decodeMs) * 1000;
  }

  async #run(input, maxOutputTokens) {
    return (await this.#model.generate(input, { temperature: 0, maxOutputTokens, signal: this.#signal })).usage;
  }
}

const ids = (count, salt) => Uint32Array.from({ length: count }, (_, i) => (i * 37 + salt * 101) % 251);
