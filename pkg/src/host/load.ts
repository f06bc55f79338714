// Loads and estimates: the calls of a wasm instance before it has a model.

import { EngineError, failure } from "../errors.js";
import type { RequestOf } from "../protocol.js";
import { Processor, threads } from "../processor/index.js";
import { withFiles, type Files, type OnRead } from "../sources/index.js";
import { keepChoices, readChoices } from "../storage/index.js";
import type { Progress, StorageFull } from "../types.js";
import type { Canceller, EngineEstimate, Source, StartWorkers, WasmModel } from "../wasm.js";
import { compile, type Instance } from "./instance.js";
import { Meter } from "./progress.js";
import type { Task } from "./task.js";

/** What a load reports to, and asks of, the page. */
export interface Page {
  progress(progress: Progress): void;
  /** Chooses the models to delete when storage is full. */
  choose(full: StorageFull): Promise<readonly string[]>;
}

/** Codes of failures that always end a load. */
const FINAL = ["abort", "integrity", "network"];

/** What a load needs of the host. */
export interface Means {
  fetcher: typeof fetch;
  page: Page;
  /** Starts a worker that runs this package's worker script. */
  worker(): Worker;
}

type Place = (source: Source, report: (progress: Progress) => void, startWorkers: StartWorkers, canceller: Canceller) => Promise<WasmModel>;

/** Loads a model. */
export async function loadModel(request: RequestOf<"load">, instance: Instance, task: Task, means: Means): Promise<WasmModel> {
  const choices = request.tune && request.cache === "opfs" ? await readChoices() : undefined;
  const model = await place(request, instance, task, means, (source, ...rest) => instance.glue.loadModel(source, request.options, ...rest, choices), (model) => model.unload());
  if (choices && `${model.choices()}` !== `${choices}`) void keepChoices(model.choices()); // never rejects, and nobody waits for it
  return model;
}

/** Moves a model whose device was lost to the processor. */
export function moveModel(request: RequestOf<"load">, instance: Instance, task: Task, means: Means, model: WasmModel): Promise<WasmModel> {
  return place(request, instance, task, means, (source, ...rest) => model.moveToCpu(source, ...rest).then(() => model), () => {});
}

/** Reads a model's files and gives them to `place`; what it placed of files that had to be replaced is given to `discard`. */
async function place(request: RequestOf<"load">, instance: Instance, task: Task, { fetcher, page, worker }: Means, place: Place, discard: (model: WasmModel) => void): Promise<WasmModel> {
  const { glue } = instance;
  const canceller = task.begin(instance);
  const meter = new Meter(page.progress, ["download", "upload", "compile", "verify"]);
  const means = { fetch: fetcher, Hasher: glue.Hasher, signal: task.signal, choose: page.choose };
  return withFiles(request, means, async ({ source, verifier, hub, stored }: Files) => {
    const onRead = reporter(meter);
    let stage: "download" | "upload" = "download";
    // Files are checked before use if the caller passed digests, or if they belong to a pack.
    let checked = false;
    verifier.packed = async () => {
      if (checked) return;
      checked = verifier.looking = true;
      const files = await glue.estimateModel(source, request.options, 0, 1).then((known) => known.files, (error) => {
        if (FINAL.includes(failure(error).code)) throw error;
        return []; // the load reports the same fault
      });
      if (await verifier.beforehand(source, files, onRead("download"))) stage = "upload";
      verifier.looking = false;
    };
    if (verifier.digests.size > 0) await verifier.packed();
    const load = () => place(source, (p) => {
      if (stage === "download") meter.skip("upload"); // everything has been checked already
      meter.report(p.stage === "compile" ? p : { ...p, stage, fromCache: stored() });
    }, async (exact, count) => Processor.start(await compile(request.cpuWasm, fetcher), worker, exact, count), canceller);
    let model = await load();
    try {
      // The hub's digests are compared after all files have arrived, so that uploads to the GPU need not wait for the
      // last byte.
      meter.end("verify");
      if (await verifier.opened(await hub, onRead("verify"))) {
        discard(model);
        model = await load();
      }
      task.throwIfAborted();
    } catch (error) {
      discard(model);
      throw error;
    }
    return model;
  });
}

/** Estimates a model's cost; with `download`, also stores its files. */
export async function estimateModel(request: RequestOf<"estimate">, instance: Instance, task: Task, fetcher: typeof fetch, page: Page): Promise<EngineEstimate> {
  const { glue } = instance;
  task.begin(instance);
  const meter = new Meter(page.progress, ["download", "verify"]);
  const means = { fetch: fetcher, Hasher: glue.Hasher, signal: task.signal, choose: page.choose };
  const wanted = request.download ? request : { ...request, cache: "none" as const, headersOnly: true };
  return withFiles(wanted, means, async ({ source, verifier, hub, store }: Files) => {
    verifier.looking = true;
    const known = await glue.estimateModel(source, request.options, request.maxBinding, threads(request.options.threads));
    if (request.download) {
      if (store === null) throw new EngineError("storage", "this browser cannot store files: it has no private file system, or does not offer it to this thread");
      const onRead = reporter(meter, (file, size) => store.requireRoom(file, size));
      await verifier.gather(source, known.files, onRead("download"));
      meter.end("verify");
      await verifier.opened(await hub, onRead("verify"));
    }
    return known;
  });
}

/** For each stage, the callback that reports to a meter how much of the files has been read; `check` is called before. */
function reporter(meter: Meter, check?: (file: string, size: number) => Promise<void>) {
  return (stage: Progress["stage"]): OnRead => async (loaded, total, { name: file, size }, fromCache) => {
    await check?.(file, size);
    meter.report({ stage, loaded, total, file, fromCache });
  };
}
