// An inverted index in memory: from words to the titles and messages that have them. It knows no database and no encryption.

import { words } from "./fold";

/** A conversation that has all words of a query. */
export interface Match {
  conversation: string;
  /** The message with the most of the words; absent: the title has them. */
  message?: string;
  score: number;
}

/** What a word in a title counts, and one of which the query has the beginning only, beside a whole word in a message. */
const TITLE = 4;
const PREFIX = 0.6;
/** New words that are looked through one by one before they are sorted in. */
const UNSORTED = 2000;
/** Words of a query that count. */
const MOST_WORDS = 12;

export class SearchIndex {
  /** Numbers of documents by word, each once, rising. A document is a title or a message. */
  readonly #postings = new Map<string, number[]>();
  #sorted: string[] = [];
  #unsorted: string[] = [];
  /** Of each document: the number of its conversation, or -1 if it is gone; and the message's id. */
  readonly #conversationOf: number[] = [];
  readonly #messageOf: (string | undefined)[] = [];
  readonly #conversations: string[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #titles = new Map<string, number>();
  readonly #messages = new Map<string, number>();
  /** Documents that are gone, but whose numbers are still in the postings. */
  dead = 0;

  /** Documents that can be found. */
  get size(): number {
    return this.#conversationOf.length - this.dead;
  }

  has(message: string): boolean {
    return this.#messages.has(message);
  }

  putTitle(conversation: string, title: string): void {
    this.#kill(this.#titles.get(conversation));
    this.#titles.set(conversation, this.#add(conversation, undefined, title));
  }

  putMessage(conversation: string, message: string, text: string): void {
    this.#kill(this.#messages.get(message));
    this.#messages.set(message, this.#add(conversation, message, text));
  }

  removeMessage(message: string): void {
    this.#kill(this.#messages.get(message));
    this.#messages.delete(message);
  }

  removeConversation(conversation: string): void {
    const number = this.#numbers.get(conversation);
    if (number === undefined) return;
    for (let document = 0; document < this.#conversationOf.length; document++) {
      if (this.#conversationOf[document] !== number) continue;
      const message = this.#messageOf[document];
      if (message !== undefined) this.#messages.delete(message);
      this.#kill(document);
    }
    this.#titles.delete(conversation);
  }

  /** Conversations that have every word of the query, or one that begins with it; the best first. */
  search(query: string): Match[] {
    const asked = [...new Set(words(query))].slice(0, MOST_WORDS);
    if (asked.length === 0) return [];
    // Local names: this runs over every document for every word.
    const conversationOf = this.#conversationOf;
    const messageOf = this.#messageOf;
    const count = conversationOf.length;
    const total = new Float32Array(count);
    const scores = new Float64Array(this.#conversations.length);
    const having = new Uint8Array(this.#conversations.length);
    for (const [place, word] of asked.entries()) {
      const { weights, found } = this.#weights(word);
      const rarity = Math.log(1 + count / (1 + found));
      const best = new Float32Array(this.#conversations.length);
      for (let document = 0; document < count; document++) {
        const weight = weights[document]!;
        if (weight === 0) continue;
        const conversation = conversationOf[document]!;
        const value = weight * rarity * (messageOf[document] === undefined ? TITLE : 1);
        total[document]! += value;
        // Each further message counts for little: a long conversation is not better because it is long.
        best[conversation] = Math.max(best[conversation]!, value) + 0.02 * value;
        if (having[conversation] === place) having[conversation] = place + 1;
      }
      for (let i = 0; i < best.length; i++) scores[i]! += best[i]!;
    }
    return this.#matches(asked.length, total, scores, having);
  }

  #matches(all: number, total: Float32Array, scores: Float64Array, having: Uint8Array): Match[] {
    const conversationOf = this.#conversationOf;
    const messageOf = this.#messageOf;
    const bestMessage = new Int32Array(this.#conversations.length).fill(-1);
    for (let document = 0; document < total.length; document++) {
      if (total[document] === 0 || messageOf[document] === undefined) continue;
      const conversation = conversationOf[document]!;
      const old = bestMessage[conversation]!;
      if (old === -1 || total[document]! > total[old]!) bestMessage[conversation] = document;
    }
    const matches: Match[] = [];
    for (let i = 0; i < having.length; i++) {
      if (having[i] !== all) continue;
      const best = bestMessage[i]!;
      // Words that stand together in one message count more than the same ones far apart.
      const score = scores[i]! + (best === -1 ? 0 : total[best]!);
      matches.push({ conversation: this.#conversations[i]!, score, ...(best !== -1 && { message: messageOf[best]! }) });
    }
    return matches.sort((a, b) => b.score - a.score);
  }

  /** For each document how well it has a word: 0, PREFIX or 1; and how many have it. */
  #weights(word: string): { weights: Float32Array; found: number } {
    const conversationOf = this.#conversationOf;
    const weights = new Float32Array(conversationOf.length);
    for (const term of this.#termsWith(word)) {
      const weight = term === word ? 1 : PREFIX;
      const postings = this.#postings.get(term)!;
      for (let i = 0; i < postings.length; i++) if (weights[postings[i]!]! < weight) weights[postings[i]!] = weight;
    }
    let found = 0;
    for (let document = 0; document < weights.length; document++) {
      if (conversationOf[document] === -1) weights[document] = 0;
      else if (weights[document] !== 0) found++;
    }
    return { weights, found };
  }

  *#termsWith(prefix: string): Generator<string> {
    if (this.#unsorted.length > UNSORTED) {
      this.#sorted = this.#sorted.concat(this.#unsorted).sort();
      this.#unsorted = [];
    }
    for (const term of this.#unsorted) if (term.startsWith(prefix)) yield term;
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]! < prefix) low = middle + 1;
      else high = middle;
    }
    for (let at = low; at < this.#sorted.length && this.#sorted[at]!.startsWith(prefix); at++) yield this.#sorted[at]!;
  }

  #add(conversation: string, message: string | undefined, text: string): number {
    let number = this.#numbers.get(conversation);
    if (number === undefined) {
      number = this.#conversations.push(conversation) - 1;
      this.#numbers.set(conversation, number);
    }
    const document = this.#conversationOf.push(number) - 1;
    this.#messageOf.push(message);
    for (const word of new Set(words(text))) {
      const list = this.#postings.get(word);
      if (list !== undefined) list.push(document);
      else {
        this.#postings.set(word, [document]);
        this.#unsorted.push(word);
      }
    }
    return document;
  }

  #kill(document: number | undefined): void {
    if (document === undefined || this.#conversationOf[document] === -1) return;
    this.#conversationOf[document] = -1;
    this.dead++;
  }
}
