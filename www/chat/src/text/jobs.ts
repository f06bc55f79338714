// Work that waits for code to be loaded, done piece by piece so that the page stays responsive.

/** Milliseconds of work before the page gets a turn. */
const SLICE = 12;

/** Loads a module when it is first needed, and has it at hand afterwards. */
export class Lazy<T> {
  loaded: T | undefined;
  #loading: Promise<T> | undefined;

  constructor(readonly load: () => Promise<T>) {}

  get(): Promise<T> {
    this.#loading ??= this.load().then(
      (module) => (this.loaded = module),
      (error: unknown) => {
        // The next use tries again.
        this.#loading = undefined;
        throw error;
      },
    );
    return this.#loading;
  }
}

export const highlighter = new Lazy(() => import("./highlight"));
export const formulas = new Lazy(() => import("./math"));

let queue: Promise<void> = Promise.resolve();
let began = 0;

/** Runs `job` after all that were given before. What fails is left undone: the text is there without it. */
export function enqueue(job: () => void | Promise<void>): Promise<void> {
  queue = queue
    .then(async () => {
      if (performance.now() - began > SLICE) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        began = performance.now();
      }
      await job();
    })
    .catch(() => {});
  return queue;
}
