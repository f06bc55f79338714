// The conversation that is shown, and the answers that are being written, in it and in others.

import { batch, computed, signal } from "@preact/signals";
import { EngineError } from "minke";
import type { GenerateOptions, InputMessage, Model } from "minke";
import { isDataError } from "../data/errors";
import type { Store } from "../data/store";
import {
  activePath,
  add,
  applyChange,
  continueAnswer,
  deleteBranch,
  editAndResend,
  editInPlace,
  fork,
  inverse,
  newMessage,
  regenerate,
  siblingsAlong,
  summary,
  walkTo,
} from "../data/tree";
import type { Change, Tree } from "../data/tree";
import type { Attachment, Conversation, Message, Stats } from "../data/types";
import { t } from "../i18n";
import { TOOLS } from "../tools";
import { Context } from "./context";
import type { Library } from "./library";
import { Live } from "./live";
import type { Models } from "./models";
import type { Preferences } from "./preferences";
import type { Presets } from "./presets";
import { firstThatFits, optionsOf, promptOf, reserved, summaryRequest, tokensOf } from "./prompt";
import type { Ui } from "./ui";

/** Characters of a title that is made from the first message. */
const TITLE = 60;
/** How often a model is run for one answer with tools. */
const STEPS = 6;
/** Milliseconds that deleting a conversation waits for its answer to end. */
const PATIENCE = 3_000;
/** Likeliest tokens that are kept with each one, if they are. */
const ALTERNATIVES = 5;

/** What could not be stored of a conversation. */
interface Missed {
  conversation: Conversation;
  change: Change;
}

export class Chat {
  readonly conversation;
  readonly tree = signal<Tree>(new Map());
  readonly path = computed(() => activePath(this.tree.value, this.conversation.value.leaf));
  readonly siblings = computed(() => siblingsAlong(this.tree.value, this.path.value));
  /** Answers that are being written, by their conversation. */
  readonly lives = signal<ReadonlyMap<string, Live>>(new Map());
  readonly live = computed(() => this.lives.value.get(this.conversation.value.id));
  /** The system prompt of the conversation, or of its preset. */
  readonly system = computed(
    () =>
      this.conversation.value.system ??
      this.presets.of(this.conversation.value, this.preferences.settings.value).system,
  );
  readonly context: Context;
  /** What could not be stored, by conversation; it is stored with the next change that can be. */
  readonly missed = signal<ReadonlyMap<string, Missed>>(new Map());
  /** Whether changes of the conversation that is shown could not be stored. */
  readonly unsaved = computed(() => this.missed.value.has(this.conversation.value.id));
  /** Texts of messages that are being edited, by message, so that nothing typed is lost when the editor goes. */
  readonly edits = new Map<string, string>();
  /** Conversations that another tab changed while they were answered here. */
  readonly #stale = new Set<string>();
  /** The first message of the conversation that the model read for its latest answer, if not all. */
  readonly readFrom = signal<string | undefined>(undefined);
  readonly opening = signal(false);

  constructor(
    readonly store: Store,
    readonly ui: Ui,
    readonly preferences: Preferences,
    readonly presets: Presets,
    readonly library: Library,
    readonly models: Models,
  ) {
    this.conversation = signal(this.#create());
    this.context = new Context(
      () => models.model.value,
      () => this.path.value,
      () => this.system.value,
      () => this.live.value !== undefined,
    );
    store.subscribe((event) => {
      const { id } = this.conversation.peek();
      if (event.kind === "protection" && store.locked) {
        this.missed.value = new Map();
        this.edits.clear();
        this.#show(this.#create());
      }
      if (!event.remote) return;
      const changed =
        event.kind === "messages" ? [event.conversation] : event.kind === "conversations" ? event.ids : [];
      for (const one of changed) if (this.lives.peek().has(one)) this.#stale.add(one);
      if (changed.includes(id) && !this.lives.peek().has(id)) void this.open(id, true);
    });
    addEventListener("beforeunload", (event) => this.missed.peek().size > 0 && event.preventDefault());
  }

  #create(ghost = this.preferences.settings.peek().ghostByDefault): Conversation {
    return this.store.create(ghost ? { ghost: true } : {});
  }

  /** Shows an empty conversation. */
  begin(ghost?: boolean): void {
    this.#show(this.#create(ghost));
    this.ui.go("chat");
  }

  /** Shows a stored conversation. One that is not there any more leaves an empty one. `again`: it changed elsewhere. */
  async open(id: string, again = false): Promise<void> {
    if (!again && id === this.conversation.peek().id) return;
    this.opening.value = !again;
    try {
      const { conversation, tree } = await this.store.open(id);
      if (this.ui.conversation.peek() !== id) return;
      const missed = this.missed.peek().get(id);
      if (missed === undefined) this.#show(conversation, tree);
      else this.#show({ ...missed.conversation, leaf: missed.change.leaf }, applyChange(tree, missed.change));
    } catch (error) {
      if (this.store.locked) return;
      if (!isDataError(error, "missing")) this.ui.fail(error);
      // What is shown is what the address names, or nothing.
      if (this.ui.conversation.peek() === id && (!again || isDataError(error, "missing"))) this.begin();
    } finally {
      this.opening.value = false;
    }
  }

  #show(conversation: Conversation, tree: Tree = new Map()): void {
    if (conversation.id !== this.conversation.peek().id) this.readFrom.value = undefined;
    batch(() => {
      this.conversation.value = conversation;
      this.tree.value = tree;
    });
  }

  /** Facts of the conversation that is shown, whether it is stored yet or not. */
  async update({ system, preset }: { system: string | null; preset: string }): Promise<void> {
    const { system: _, ...rest } = this.conversation.peek();
    this.conversation.value = { ...rest, preset, ...(system !== null && { system }) };
    if (this.tree.peek().size > 0) await this.library.update(rest.id, { system, preset });
  }

  /** Sends a message and lets the model answer it. */
  async send(text: string, attachments: Attachment[]): Promise<void> {
    const { conversation, tree } = this.#here();
    const title = conversation.title || summary(text || (attachments[0]?.title ?? ""), TITLE);
    const change = add(conversation, { role: "user", text, ...(attachments.length > 0 && { attachments }) });
    await this.#answerTo({ ...conversation, title }, tree, change);
  }

  /** Lets the model answer a message of the user's. */
  async answer(parent: string): Promise<void> {
    const { conversation, tree } = this.#here();
    await this.#answerTo(conversation, tree, { put: [], remove: [], leaf: parent });
  }

  async regenerate(id: string): Promise<void> {
    const { conversation, tree } = this.#here();
    const change = regenerate(tree, id);
    await this.#run(conversation, tree, change, change.put[0]!);
  }

  /** Goes on with an answer that was cut; one that had only begun to reason is begun again. */
  async goOn(id: string): Promise<void> {
    const { conversation, tree } = this.#here();
    const change = continueAnswer(tree, id);
    const { reasoning: _, reasoningMs: __, calls: ___, ...rest } = change.put[0]!;
    if (rest.text === "") change.put = [rest];
    await this.#run(conversation, tree, change, change.put[0]!);
  }

  /** Sends a message of the user's again with another text, beside the first. */
  async resend(id: string, text: string, attachments?: Attachment[]): Promise<void> {
    const { conversation, tree } = this.#here();
    await this.#answerTo(conversation, tree, editAndResend(tree, id, text, attachments));
  }

  async correct(id: string, text: string): Promise<void> {
    const { conversation, tree } = this.#here();
    await this.#apply(conversation, tree, editInPlace(tree, conversation.leaf, id, text));
  }

  /** Shows the branch of a message. */
  async walk(id: string): Promise<void> {
    const { conversation, tree } = this.#here();
    await this.#apply(conversation, tree, { put: [], remove: [], leaf: walkTo(tree, id) });
  }

  /** Deletes a message with everything below it; the returned function takes it back. */
  async deleteBranch(id: string): Promise<() => Promise<void>> {
    const { conversation, tree } = this.#here();
    const change = deleteBranch(tree, conversation.leaf, id);
    const back = inverse(tree, conversation.leaf, change);
    await this.#apply(conversation, tree, change);
    return async () => {
      const now = this.#here();
      if (now.conversation.id === conversation.id) await this.#apply(now.conversation, now.tree, back);
      else await this.store.apply(conversation, back);
    };
  }

  /** Makes a conversation of its own from the branch up to a message. */
  async fork(leaf: string): Promise<void> {
    const { conversation } = this.#here();
    const made = fork(this.now(), conversation, leaf);
    const change = { put: made.messages, remove: [], leaf: made.conversation.leaf };
    const next = await this.store.apply(this.store.create(made.conversation), change);
    if (next.ghost) this.library.keepGhost(next);
    this.ui.go("chat", next.id);
  }

  stop(): void {
    this.live.peek()?.stop();
  }

  /** Stops the answer of a conversation. Resolves when it is stored, or does not end. */
  async end(id: string): Promise<void> {
    const live = this.lives.peek().get(id);
    if (live === undefined) return;
    live.stop();
    await Promise.race([live.done, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  }

  /** The messages of the conversation that is shown, with what the model wrote up to now. */
  now(): Tree {
    const [tree, live] = [this.tree.peek(), this.live.peek()];
    if (live === undefined) return tree;
    return applyChange(tree, { put: [{ ...live.now(), finish: "abort" }], remove: [], leaf: live.message.id });
  }

  /** Tries to store what could not be stored of the conversation that is shown. */
  async storeAgain(): Promise<void> {
    const { conversation, tree } = this.#here();
    await this.#apply(conversation, tree, { put: [], remove: [], leaf: conversation.leaf });
  }

  #here(): { conversation: Conversation; tree: Tree } {
    return { conversation: this.conversation.peek(), tree: this.tree.peek() };
  }

  /** Shows a change at once, and stores it. What cannot be stored stays on the page, and the user is told. */
  async #apply(conversation: Conversation, tree: Tree, change: Change): Promise<Conversation> {
    const shown = () => this.conversation.peek().id === conversation.id;
    const now = { ...conversation, leaf: change.leaf };
    if (shown()) this.#show(now, applyChange(tree, change));
    try {
      const missed = this.missed.peek().get(conversation.id);
      const whole = missed ? joined(missed.change, change) : change;
      const next = await this.store.apply(conversation, whole);
      if (missed && this.missed.peek().get(conversation.id) === missed) this.#keepMissed(conversation.id, undefined);
      if (next.ghost) this.library.keepGhost(next);
      // More may have happened meanwhile.
      if (shown()) this.conversation.value = { ...next, leaf: this.conversation.peek().leaf };
      return next;
    } catch (error) {
      this.#miss(now, change);
      this.#tellUnsaved(error);
      return now;
    }
  }

  /** Keeps what could not be stored. */
  #miss(conversation: Conversation, change: Change): void {
    const before = this.missed.peek().get(conversation.id);
    this.#keepMissed(conversation.id, { conversation, change: before ? joined(before.change, change) : change });
  }

  #keepMissed(id: string, missed: Missed | undefined): void {
    const all = new Map(this.missed.peek());
    if (missed) all.set(id, missed);
    else all.delete(id);
    this.missed.value = all;
  }

  #tellUnsaved(error: unknown): void {
    const words = t.peek().errors;
    const text = isDataError(error, "quota")
      ? words.chatQuota
      : words.notStored(error instanceof Error ? error.message : String(error));
    this.ui.notify(text, { tone: "alarm", action: { label: words.manageStorage, run: () => this.ui.go("models") } });
  }

  /** A change that ends with a message of the user's, and an answer to it. */
  async #answerTo(conversation: Conversation, tree: Tree, change: Change): Promise<void> {
    const message = newMessage(conversation, change.leaf, { role: "assistant", text: "", finish: "streaming" });
    await this.#run(conversation, tree, { ...change, put: [...change.put, message], leaf: message.id }, message);
  }

  /** Applies a change, and lets the model write a message of it. A conversation has one answer at a time. */
  async #run(conversation: Conversation, tree: Tree, change: Change, message: Message): Promise<void> {
    const { id } = conversation;
    if (this.lives.peek().has(id)) return;
    const live = new Live(message);
    // At once, so that nothing else begins while the change is stored.
    this.lives.value = new Map(this.lives.peek()).set(id, live);
    const first = tree.size === 0;
    const applied = this.#apply(conversation, tree, change);
    if (first) this.ui.stay(id);
    const next = await applied;
    const writer = this.store.writer(message);
    let last: Message;
    try {
      last = await this.#generate(next, applyChange(tree, change), live, () => writer.update(live.now()));
    } catch (error) {
      live.end();
      last = { ...live.now(), ...failureOf(error) };
    }
    try {
      await writer.finish(last);
      // Its first part was not: the newest text is to follow it.
      if (this.missed.peek().has(id)) this.#miss(next, { put: [last], remove: [], leaf: last.id });
    } catch (error) {
      // One that was deleted meanwhile, here or in another tab, needs no answer.
      if (!isDataError(error, "missing") || this.missed.peek().has(id)) {
        const shown = this.conversation.peek();
        this.#miss(next, { put: [last], remove: [], leaf: shown.id === id ? shown.leaf : next.leaf });
        if (!isDataError(error, "missing")) this.#tellUnsaved(error);
      }
    }
    // An answer is complete when it is stored: the page may be closed then.
    live.close();
    batch(() => {
      const { conversation: shown, tree } = this.#here();
      if (shown.id === id) this.tree.value = applyChange(tree, { put: [last], remove: [], leaf: shown.leaf });
      const lives = new Map(this.lives.peek());
      lives.delete(id);
      this.lives.value = lives;
    });
    if (this.#stale.delete(id) && this.conversation.peek().id === id) await this.open(id, true);
  }

  async #generate(conversation: Conversation, tree: Tree, live: Live, changed: () => void): Promise<Message> {
    const model = await Promise.race([this.models.ready(), live.halted]);
    if (live.stopped) return { ...live.now(), finish: "abort" };
    if (model === undefined)
      throw new EngineError("invalid-argument", "no model is loaded", { detail: { argument: "model" } });
    const settings = this.preferences.settings.peek();
    const preset = this.presets.of(conversation, settings);
    const tools = this.preferences.other("tools", false) ? TOOLS : undefined;
    const options: GenerateOptions = {
      ...optionsOf(preset),
      ...(settings.logprobs && { logprobs: ALTERNATIVES }),
      ...(tools && { tools, maxSteps: STEPS }),
    };
    const path = activePath(tree, live.message.parent);
    const messages = await this.#fit(model, conversation, path, live, tools);
    if (live.text !== "")
      messages.push({
        role: "assistant",
        content: live.text,
        ...(live.reasoning !== "" && { reasoning: live.reasoning }),
        prefix: true,
      });
    if (live.stopped) return { ...live.now(), finish: "abort" };
    const generation = (live.generation = model.stream(messages, options));
    if (live.stopped) generation.stop();
    for await (const part of generation) {
      live.take(part);
      if (part.type !== "prefill" && part.type !== "finish") changed();
    }
    live.end();
    const { finishReason, usage } = await generation.result;
    const stats: Stats = {
      promptTokens: usage.inputTokens,
      cachedTokens: usage.cachedTokens,
      tokens: usage.outputTokens,
      reasoningTokens: usage.reasoningTokens,
      firstTokenMs: usage.timeToFirstTokenMs,
      tokensPerSecond: usage.tokensPerSecond,
    };
    const { state } = this.models;
    const name = state.peek().kind === "ready" ? (state.peek() as { name: string }).name : model.id;
    return { ...live.now(), finish: finishReason, stats, model: name };
  }

  /** The messages for the model. If they do not fit, what the user chose happens. */
  async #fit(
    model: Model,
    conversation: Conversation,
    path: readonly Message[],
    live: Live,
    tools: GenerateOptions["tools"],
  ): Promise<InputMessage[]> {
    const system = conversation.system ?? this.presets.of(conversation, this.preferences.settings.peek()).system;
    const limit = model.info.contextLength;
    const room = limit - reserved(limit);
    const count = (messages: readonly Message[]) => tokensOf(model, promptOf(system, messages), tools);
    const shown = () => this.conversation.peek().id === conversation.id;
    if (shown()) this.readFrom.value = undefined;
    const used = await count(path);
    if (used <= room) return promptOf(system, path);
    const how = this.preferences.overflow;
    if (how === "stop")
      throw new EngineError("context-overflow", t.peek().errors.full(used, limit), {
        detail: { tokens: used, contextLength: limit },
      });
    // A summary leaves room for the turns to come; what is dropped is dropped again when it has to be.
    const from = await firstThatFits(path, how === "summarise" ? Math.floor(room / 2) : room, count);
    if (from === 0) return promptOf(system, path); // one message that does not fit: the engine says so
    const kept = path.slice(from);
    if (how === "drop") {
      if (shown()) this.readFrom.value = kept[0]!.id;
      return promptOf(system, kept);
    }
    live.phase.value = "summarising";
    const written = await this.#summarise(model, path.slice(0, from), room, live);
    const marked = { ...kept[0]!, summary: written };
    if (!live.stopped) {
      const change = { put: [marked], remove: [], leaf: this.conversation.peek().leaf };
      if (shown()) this.tree.value = applyChange(this.tree.peek(), change);
      await this.store
        .apply(conversation, { ...change, leaf: live.message.id })
        .catch((error) => this.#tellUnsaved(error));
    }
    live.phase.value = "waiting";
    return promptOf(system, [marked, ...kept.slice(1)]);
  }

  /** A summary of messages, of the last ones that fit if they are too many. */
  async #summarise(model: Model, messages: readonly Message[], room: number, live: Live): Promise<string> {
    const request = (path: readonly Message[]) => summaryRequest(promptOf("", path));
    const from = await firstThatFits(messages, room, (path) => tokensOf(model, request(path), undefined));
    const generation = (live.generation = model.stream(request(messages.slice(from)), {
      maxOutputTokens: reserved(model.info.contextLength),
      temperature: 0,
      reasoning: "none",
    }));
    const { text } = await generation.result;
    return text.trim();
  }
}

/** Two changes as one. */
function joined(first: Change, second: Change): Change {
  const put = new Map([...first.put, ...second.put].map((message) => [message.id, message]));
  for (const id of second.remove) put.delete(id);
  const again = new Set(second.put.map(({ id }) => id));
  return {
    put: [...put.values()],
    remove: [...first.remove.filter((id) => !again.has(id)), ...second.remove],
    leaf: second.leaf,
  };
}

/** What a message keeps of an error: its code, where it has one, and what it says. */
function failureOf(error: unknown): Pick<Message, "finish" | "error"> {
  const text =
    error instanceof EngineError
      ? `${error.code}: ${error.message}`
      : error instanceof Error
        ? error.message
        : String(error);
  return { finish: "error", error: text };
}
