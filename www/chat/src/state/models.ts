// The model that answers; and the parts that find, fetch and keep models: catalogue, estimates, downloads, what is
// stored, other tabs.

import { computed, effect, signal } from "@preact/signals";
import { EngineError, load } from "minke";
import type { LoadOptions, Model, Progress, StorageFull } from "minke";
import type { EchoScript } from "minke/testing";
import type { RequestLog } from "../data/requests";
import { t } from "../i18n";
import { fetchCatalogue } from "../models/catalogue";
import type { Choice } from "../models/choice";
import { isLocal, ofId, ofText } from "../models/choice";
import { Downloads } from "../models/downloads";
import { Estimates } from "../models/estimates";
import { mayReach } from "../models/policy";
import { Rate } from "../models/rate";
import type { Speed } from "../models/rate";
import { Stored } from "../models/stored";
import { Tabs } from "../models/tabs";
import { explain } from "../ui/explain";
import type { Preferences } from "./preferences";
import type { Ui } from "./ui";

export type ModelState =
  /** `error`: why there is none any more, or none could be loaded: `choice`. */
  | { kind: "none"; error?: unknown; choice?: Choice }
  | {
      kind: "loading";
      name: string;
      choice: Choice;
      progress?: Progress;
      speed: Speed;
      began: number;
      elsewhere: boolean;
    }
  | { kind: "ready"; name: string; choice?: Choice; model: Model };

/** The preference to load the last model when the page is opened. */
export const AUTOLOAD = "autoload";
/** Milliseconds between two changes of the progress that is shown. */
const SHOWN = 100;
/** Frames that the message field may take to appear. */
const FRAMES = 60;

export class Models {
  readonly state = signal<ModelState>({ kind: "none" });
  /** Whether a model is about to be loaded, since the address names it or the user wants that. */
  readonly starting;
  /** The model, when there is one. */
  readonly model = computed(() => (this.state.value.kind === "ready" ? this.state.value.model : undefined));
  /** The catalogue, when it was read; or what is wrong with it. */
  readonly catalogue = signal<readonly Choice[] | undefined>(undefined);
  readonly catalogueError = signal<unknown>(undefined);
  /** The model that was used last. */
  readonly last = signal<Choice | undefined>(undefined);
  /** `?device=` of the address: "cpu" or "gpu". */
  readonly device: NonNullable<LoadOptions["device"]>;
  readonly stored: Stored;
  readonly estimates: Estimates;
  readonly downloads: Downloads;
  readonly #tabs: Tabs;
  readonly #query = new URLSearchParams(location.search);
  #loading: AbortController | undefined;
  #release: (() => void) | undefined;
  #reading: Promise<void> | undefined;

  constructor(
    readonly preferences: Preferences,
    readonly ui: Ui,
    readonly log: RequestLog,
  ) {
    const { model } = preferences.settings.peek();
    this.starting = signal(this.#query.has("model") || (model !== undefined && preferences.other(AUTOLOAD, false)));
    const device = this.#query.get("device");
    this.device = device === "cpu" || device === "gpu" ? device : "auto";
    const note = (choice: Choice, bytes?: number, duration?: number) => this.#note(choice, bytes, duration);
    this.stored = new Stored(() => this.#tabs);
    this.estimates = new Estimates(this.stored, { device: this.device }, note);
    this.downloads = new Downloads(
      this.stored,
      () => this.#tabs,
      (full) => this.#askFull(full, false),
      note,
    );
    addEventListener("online", () => this.estimates.retry());
    this.#tabs = new Tabs(
      () => this.#giveUp(),
      () => void (this.stored.known.peek() && this.stored.refresh()),
    );
  }

  /** Names of the models that other tabs have loaded. */
  get others() {
    return this.#tabs.others;
  }

  /**
   * Loads the model that the address names, `?model=`, on `?device=`; else the last one, if the user wants that, or
   * offers it.
   *
   * `?model=echo` answers with what it is told, without a model: for trying the interface, and for tests. `?delay=` are
   * milliseconds before each token, `?context=` tokens of context; a script of answers is taken from the global
   * `echoScript`.
   */
  async start(): Promise<void> {
    try {
      await this.#first();
    } finally {
      this.starting.value = false;
    }
    if (this.#query.get("model") === "echo") return;
    await this.stored.refresh();
    await this.downloads.restore((id) => this.resolve(id));
    const [one] = this.downloads.list.peek();
    if (one?.state !== "paused") return;
    const words = t.peek().models;
    this.ui.notify(words.incomplete(one.choice.name), {
      action: { label: words.resume, run: () => this.download(one.choice) },
    });
  }

  async #first(): Promise<void> {
    const source = this.#query.get("model");
    if (source === "echo") {
      const { echoModel } = await import("minke/testing");
      const { echoScript: script } = globalThis as { echoScript?: EchoScript };
      const [delay, contextLength] = [
        Number(this.#query.get("delay") ?? 0),
        Number(this.#query.get("context") ?? 8192),
      ];
      const model = echoModel({ delay, contextLength, ...(script && { script }) });
      this.#release = this.#tabs.holdModel("echo");
      this.state.value = { kind: "ready", name: "echo", model };
      return;
    }
    const { model: last } = this.preferences.settings.peek();
    if (source !== null) {
      try {
        await this.load(await this.resolve(source));
      } catch (error) {
        this.state.value = { kind: "none", error };
      }
    } else if (last !== undefined) {
      const choice = await this.resolve(last).catch(() => undefined);
      this.last.value = choice;
      const free = choice !== undefined && this.state.peek().kind === "none" && (await this.#tabs.look()).length === 0;
      if (free && this.preferences.other(AUTOLOAD, false)) await this.load(choice);
    }
  }

  /** Reads the catalogue, once; again after a failure. Never rejects: see `catalogueError`. */
  readCatalogue(): Promise<void> {
    return (this.#reading ??= fetchCatalogue().then(
      (all) => {
        this.catalogue.value = all;
        this.catalogueError.value = undefined;
      },
      (error: unknown) => {
        this.catalogueError.value = error;
        this.#reading = undefined;
      },
    ));
  }

  /** Reads all that the screen of models shows. */
  async browse(): Promise<void> {
    void this.#tabs.look();
    await Promise.all([this.readCatalogue(), this.stored.refresh(), this.estimates.describe()]);
  }

  /**
   * The model that a text or an id of the store means, with what the catalogue says of it. Rejects if it means none.
   */
  async resolve(text: string): Promise<Choice> {
    const choice = ofText(text);
    if (choice.url !== undefined && !mayReach(choice.url)) {
      const detail = { url: choice.url, policy: true };
      throw new EngineError("network", `${choice.url}: the page's policy does not let it reach this address`, {
        detail,
      });
    }
    await this.readCatalogue();
    return this.known(choice.id) ?? choice;
  }

  /** A model of the catalogue. */
  known(id: string): Choice | undefined {
    return this.catalogue.value?.find((choice) => choice.id === id);
  }

  /** Loads a model because the user chose it: asks about other tabs first, and goes to the conversation afterwards. */
  async use(choice: Choice, device?: LoadOptions["device"]): Promise<void> {
    if ((await this.#tabs.look()).length > 0) {
      const { askOtherTab } = await import("../models/other-tab");
      const how = await askOtherTab(this.ui, this.#tabs.others.peek());
      if (how === undefined) return;
      if (how === "free" && !(await this.#tabs.free())) this.ui.notify(t.peek().models.notFreed, { tone: "alarm" });
    }
    const model = await this.load(choice, device);
    if (model === undefined) return;
    // Whoever went elsewhere meanwhile is not called back, nor is the focus taken from what they are at.
    if (this.ui.screen.peek() === "models") {
      this.ui.go("chat", this.ui.conversation.peek());
      focusMessage();
    } else if (this.ui.screen.peek() === "chat" && document.activeElement === document.body) focusMessage();
  }

  /**
   * Loads a model in place of the present one. Resolves to it; to undefined if it failed, or was cancelled: `state`
   * says why.
   */
  async load(choice: Choice, device: LoadOptions["device"] = this.device): Promise<Model | undefined> {
    await this.unload();
    this.downloads.drop(choice.id);
    const { signal } = (this.#loading = new AbortController());
    const began = performance.now();
    const { name } = choice;
    const rate = new Rate();
    let shown = 0;
    this.state.value = { kind: "loading", name, choice, began, speed: {}, elsewhere: false };
    const release = isLocal(choice) ? () => {} : await this.#fetching(choice, signal);
    this.#note(choice);
    const onProgress = (progress: Progress) => {
      const now = performance.now();
      const speed = rate.take(progress, now);
      if (signal.aborted || (now - shown < SHOWN && progress.loaded < progress.total)) return;
      shown = now;
      this.state.value = { kind: "loading", name, choice, progress, began, speed, elsewhere: false };
    };
    try {
      const model = await load(choice.source, {
        device,
        signal,
        onProgress,
        onStorageFull: (full) => this.#askFull(full, true),
        ...(choice.integrity && { integrity: choice.integrity }),
      });
      if (signal.aborted) {
        await model.unload();
        return undefined;
      }
      this.#release = this.#tabs.holdModel(name);
      this.state.value = { kind: "ready", name, choice, model };
      if (!isLocal(choice)) {
        this.last.value = choice;
        if (this.preferences.settings.peek().model !== choice.id) this.preferences.change({ model: choice.id });
      }
      void model.lost.then((error) => this.#lost(model, choice, error));
      return model;
    } catch (error) {
      if (!signal.aborted) this.state.value = { kind: "none", error, choice };
      return undefined;
    } finally {
      release();
      if (rate.fetched > 0) this.#note(choice, rate.fetched, performance.now() - began);
      if (this.stored.known.peek()) void this.stored.refresh();
    }
  }

  /** The model, once it is loaded if it is being loaded, or about to be. */
  ready(): Promise<Model | undefined> {
    return new Promise((resolve) => {
      const end = effect(() => {
        const state = this.state.value;
        if (this.starting.value || state.kind === "loading") return;
        resolve(state.kind === "ready" ? state.model : undefined);
        queueMicrotask(() => end());
      });
    });
  }

  /** Frees the model, or ends its loading; what was downloaded stays. */
  async unload(): Promise<void> {
    this.#loading?.abort();
    this.#loading = undefined;
    const model = this.model.peek();
    this.state.value = { kind: "none" };
    this.#release?.();
    this.#release = undefined;
    await model?.unload();
  }

  /** Downloads a model without loading it, or goes on with that. */
  download(choice: Choice): void {
    this.downloads.add(choice);
  }

  /** Deletes a model from this device, after a question. */
  async remove(id: string, name: string): Promise<void> {
    const words = t.peek().models;
    if (!(await this.ui.confirm(words.deleteTitle(name), words.deleteText, t.peek().common.delete, true))) return;
    this.downloads.drop(id);
    try {
      await this.stored.remove(id);
    } catch (error) {
      this.ui.notify(explain(error).technical ?? explain(error).text, { tone: "alarm" });
    }
  }

  /**
   * Notes what the engine requests: its worker has a log of requests of its own, which the page cannot read. One entry
   * stands for all requests for a model, when they begin, and a second one for the bytes that came.
   */
  #note({ url }: Choice, bytes = 0, duration = 0): void {
    if (url === undefined) return;
    const { origin } = new URL(url);
    const time = performance.timeOrigin + performance.now() - duration;
    this.log.add([
      { url, origin, own: origin === location.origin, initiator: "engine", bytes, time, duration, refused: false },
    ]);
  }

  /**
   * Says to other tabs that a model is fetched here, and to the user if another tab does already: the engine then waits
   * for it.
   */
  async #fetching({ id }: Choice, signal: AbortSignal): Promise<() => void> {
    const elsewhere = (await this.#tabs.fetching()).includes(id);
    const state = this.state.peek();
    if (elsewhere && !signal.aborted && state.kind === "loading") this.state.value = { ...state, elsewhere };
    return this.#tabs.holdFetch(id);
  }

  #lost(model: Model, choice: Choice, error: EngineError): void {
    if (this.model.peek() !== model) return;
    this.#release?.();
    this.#release = undefined;
    this.state.value = { kind: "none", error, choice };
    const text = error.code === "device-lost" ? t.peek().models.problems.lost : explain(error).text;
    this.ui.notify(text, {
      tone: "alarm",
      action: { label: t.peek().errors.loadAgain, run: () => void this.use(choice) },
    });
  }

  /** Another tab needs the memory. */
  async #giveUp(): Promise<void> {
    const state = this.state.peek();
    if (state.kind === "none") return;
    const choice = state.choice;
    await this.unload();
    const words = t.peek();
    const action = choice && { action: { label: words.errors.loadAgain, run: () => void this.use(choice) } };
    this.ui.notify(words.models.takenOver, action);
  }

  async #askFull(full: StorageFull, loading: boolean): Promise<readonly string[]> {
    const { askFull } = await import("../models/full");
    return askFull(this.ui, full, loading, (id) => this.known(id)?.name ?? ofId(id).name);
  }
}

/** Puts the focus in the message field, once it is there. */
function focusMessage(frames = FRAMES): void {
  const field = document.querySelector<HTMLElement>("#message");
  if (field) field.focus();
  else if (frames > 0) requestAnimationFrame(() => focusMessage(frames - 1));
}
