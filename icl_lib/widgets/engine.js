/* The browser's engine: a module Web Worker that runs the graphs exported by icl_lib/browser.py with onnxruntime-web.

   It lies beside its graphs (live/engine.js, live/manifest.json, live/ort/), so that every address is relative to this
   file and the site may live below any path. One thread: more would need cross-origin isolation, which a plain host of
   static files does not offer.

   Requests  {kind: 'curve', id, model, bayes, weight, doubt, prior, xs, ys, queries}
             {kind: 'band', id, model, bayes, right, doubt, prior, xs, ys, queries}
             {kind: 'attention', id, model, xs, ys, queries}
             {kind: 'prefixes', id, model, bayes, weight, prompts, xs, ys}
             {kind: 'pretrain', id, run, size, seed, total, until, weights, milliseconds, whole}    steps of a run, for about so long
   Answers   {kind: 'progress', what, loaded, total}     bytes of one file, as they are once unpacked
             {kind: 'curve', id, transformer, mixture, oracle, probability, milliseconds}
             {kind: 'band', id, transformer, mixture, right, probability, milliseconds}
             {kind: 'attention', id, mean, attention, shape, milliseconds}     of the first query; shape: layers and heads
             {kind: 'prefixes', id, transformer, dense, sparse, mixture, probability, milliseconds}
             {kind: 'pretrain', id, step, errors, curves, floor, bayes, params, milliseconds}    after those steps; params if `whole`
             {kind: 'failed', id, message, script}       in words for the reader; `script` is the address of one that would
                                                         not load, of which the page finds out why

   A `prior`, the weights of the classes that the page pretrains on, takes the place of that of `bayes`; null if there is none.

   All numbers travel as Float64Arrays. What a request needs is fetched when it first needs it. A widget has one request
   under way at most and then sends its newest (shared.js), so no queue of stale slider positions builds up here. */

const RUNTIME = 'ort/ort.wasm.bundle.min.js';
const BINARY = { path: 'ort/ort-wasm-simd-threaded.wasm', bytes: 14239897 };

/** What the graph of a shape calls the file of a model's weights, as in browser.py. */
const WEIGHTS = 'weights';

const here = (path) => new URL(path, import.meta.url).href;

/** One promise per key: whoever asks again shares the first one's work. A failure is forgotten, so that a retry is one. */
const started = new Map();
function once(key, start) {
  if (!started.has(key)) {
    const work = start();
    started.set(key, work);
    work.catch(() => started.delete(key));
  }
  return started.get(key);
}

/** What is told to the reader as it stands. */
class Told extends Error {
  constructor(message, more) {
    super(message);
    Object.assign(this, more);
  }
}

/** Browsers, and parts of the runtime, say in different ways that there is no more memory; its C++ may throw a bare number. */
const wantsMemory = (error) => typeof error === 'number' || error instanceof RangeError || /memory|alloc|OOM/i.test(error?.message ?? '');
function failure(what, error) {
  if (error instanceof Told) return error;
  if (wantsMemory(error)) {
    return new Told(`This device has too little free memory for the ${what}. Close other tabs or programs, or choose a smaller model.`);
  }
  return new Told(`The ${what} could not be run: ${error?.message ?? error}.`);
}

/** Fetch a file of `size` bytes into memory and report its progress. */
async function download(path, what, size) {
  const broken = (how) => new Told(`The ${what} could not be fetched: the connection ${how} (${path}).`);
  let response;
  try {
    response = await fetch(here(path));
  } catch {
    throw broken('failed');
  }
  if (!response.ok) {
    throw new Told(`The ${what} is missing: the server answered ${response.status} for ${path}.`, { status: response.status });
  }
  const parts = [];
  let loaded = 0;
  const report = () => postMessage({ kind: 'progress', what, loaded, total: size });
  report();
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read().catch((error) => {
      throw wantsMemory(error) ? error : broken('broke off');
    });
    if (done) break;
    parts.push(value);
    loaded += value.length;
    report();
  }
  const bytes = new Uint8Array(loaded);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

async function listModels(cache) {
  const response = await fetch(here('manifest.json'), { cache }).catch(() => null);
  if (!response?.ok) throw new Told(`The list of models (live/manifest.json) could not be read: ${response ? `the server answered ${response.status}` : 'the connection failed'}.`);
  return response.json();
}
const manifest = () => once('manifest', () => listModels('no-cache'));

const runtime = () =>
  once('runtime', async () => {
    let ort;
    try {
      ort = await import(here(RUNTIME));
    } catch {
      throw new Told('The runtime could not be loaded', { script: here(RUNTIME) });
    }
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = 'error';
    // Fetched here rather than by the runtime: to show how far it has come, and to need no type of the server's.
    ort.env.wasm.wasmBinary = await download(BINARY.path, 'runtime', BINARY.bytes);
    return ort;
  });

/** The entry of the manifest, which names a file. */
async function entryOf(group, name) {
  const entry = (await manifest())[group]?.[name];
  if (!entry) throw new Told(`This page was built without the model “${name}”.`);
  return entry;
}

/** The file of an entry. The site may have been built anew since the list was read: then the list has other names now. */
async function fetchEntry(group, name, what) {
  const entry = await entryOf(group, name);
  return download(entry.file, what, entry.bytes).catch(async (error) => {
    if (error.status !== 404) throw error;
    started.set('manifest', listModels('reload'));
    started.get('manifest').catch(() => started.delete('manifest'));
    const newer = await entryOf(group, name);
    if (newer.file === entry.file) throw error;
    return download(newer.file, what, newer.bytes);
  });
}

/** A safetensors file without its header: the graphs of shapes count from there. */
function withoutHeader(bytes) {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  return bytes.subarray(8 + length);
}

/** The runtime has one place for external data, and clears it after each session that it has made: one after the other. */
let making = Promise.resolve();
function inTurn(make) {
  const made = making.then(make);
  making = made.catch(() => {});
  return made;
}

/** The reader's own model, which own.js has kept in this browser under this name: {bytes, shape, name}. A page that has seen
    several tells them apart by what follows a colon. */
const OWN = 'yours';
async function kept(name) {
  const asked = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const request = indexedDB.open('beyond-the-mixture', 1);
  request.onupgradeneeded = () => request.result.createObjectStore('models');
  const database = await asked(request);
  const found = await asked(database.transaction('models').objectStore('models').get(name));
  database.close();
  if (!found) throw new Told('No model of yours is kept in this browser: pretrain one, or open a file with one.');
  return found;
}

/** A posterior is a graph. A model is the graph of its shape, and its weights, in the file that the library loads too. */
const graph = (group, name) =>
  once(`${group}/${name}`, async () => {
    const what = { models: `model ${name}`, linear: `best linear predictor (${name})`, pretraining: `graph of pretraining (${name})` }[group] ?? `Bayes predictor (${name})`;
    const parts = async () => {
      if (group !== 'models') return [await fetchEntry(group, name, what), []];
      const own = name.startsWith(OWN) ? await kept(name.split(':')[0]) : null;
      const { shape } = own ?? (await entryOf(group, name));
      const [bytes, weights] = await Promise.all([
        once(`shape ${shape}`, () => fetchEntry('shapes', shape, `graph of ${name}`)),
        own ? own.bytes : fetchEntry(group, name, what),
      ]);
      return [bytes, [{ path: WEIGHTS, data: withoutHeader(weights) }]];
    };
    try {
      const [ort, [bytes, externalData]] = await Promise.all([runtime(), parts()]);
      return await inTurn(() => ort.InferenceSession.create(bytes, { executionProviders: ['wasm'], externalData, logSeverityLevel: 3 }));
    } catch (error) {
      throw failure(what, error);
    }
  });

/** The runtime and the sessions of [group, name] pairs. Those of the last request that needed others stay open too, for who
    goes to and fro; all older ones are released, so that memory does not grow with every model looked at. */
let [current, last] = [[], []];
async function open(...pairs) {
  const keys = pairs.map((pair) => pair.join('/'));
  if (keys.join() !== current.join()) {
    [current, last] = [keys, current];
    for (const [key, session] of started) {
      if (!key.includes('/') || current.includes(key) || last.includes(key)) continue;
      started.delete(key);
      (await session.catch(() => null))?.release();
    }
  }
  return Promise.all([runtime(), ...pairs.map((pair) => graph(...pair))]);
}

/** One prompt and its queries as a graph's inputs, in single precision for a model and in double for a posterior. */
const prompt = (ort, { xs, ys, queries }, type, array) => ({
  xs: new ort.Tensor(type, array.from(xs), [1, xs.length, 1]),
  ys: new ort.Tensor(type, array.from(ys), [1, ys.length]),
  queries: new ort.Tensor(type, array.from(queries), [1, queries.length, 1]),
});

/** A graph's outputs as arrays of numbers. */
const plain = (tensors) => Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, Float64Array.from(tensor.data)]));

const scalar = (ort, number) => new ort.Tensor('float64', Float64Array.of(number), []);

/* What a doubter allows for besides the classes: its graph is fetched when there is a doubt, and then feeds that of any prior. */
const SMOOTH = ['bayes', 'smooth'];
async function doubting(ort, smooth, exact, doubt) {
  const { mean, evidence } = smooth
    ? await smooth.run(exact)
    : { mean: new ort.Tensor('float64', new Float64Array(exact.queries.dims[1]), [1, exact.queries.dims[1]]), evidence: new ort.Tensor('float64', Float64Array.of(0), [1, 1]) };
  return { doubt: scalar(ort, doubt), smooth: mean, smooth_evidence: evidence };
}

/* What the page pretrains on, in any mixture: its weights are an input of these graphs. */
const MIXED = 'mixed';
const weighted = (ort, prior) => (prior ? { prior: new ort.Tensor('float64', Float64Array.from(prior), [prior.length]) } : {});

async function curve({ id, model, bayes, weight, doubt, prior, ...asked }) {
  const [ort, transformer, posterior, linear, ...more] = await open(['models', model], ['bayes', bayes], ['linear', prior ? MIXED : bayes], ...(prior ? [['bands', MIXED]] : []), ...(doubt ? [SMOOTH] : []));
  const mixed = prior ? more.shift() : null;
  const [smooth] = more;
  const start = performance.now();
  const { mean } = await transformer.run(prompt(ort, asked, 'float32', Float32Array), ['mean']);
  const examples = prompt(ort, asked, 'float64', Float64Array);
  const other = await doubting(ort, smooth, examples, doubt);
  const exact = await posterior.run({ ...examples, weight: scalar(ort, weight), ...other });
  const own = mixed ? await mixed.run({ ...examples, ...other, ...weighted(ort, prior) }) : { mean: exact.mixture, probability: exact.probability };
  const best = await linear.run({ ...examples, ...weighted(ort, prior) });
  const found = { transformer: mean, mixture: own.mean, linear: best.mean, oracle: exact.oracle, probability: own.probability };
  return { kind: 'curve', id, ...plain(found), milliseconds: performance.now() - start };
}

/** The same prompt for a model, for the prior that it was pretrained with and, without a doubt, for one of the right band. */
async function band({ id, model, bayes, right, doubt, prior, ...asked }) {
  const whose = prior ? MIXED : bayes;
  const [ort, transformer, trained, wide, linear, smooth] = await open(['models', model], ['bands', whose], ['bands', right], ['linear', whose], ...(doubt ? [SMOOTH] : []));
  const start = performance.now();
  const { mean } = await transformer.run(prompt(ort, asked, 'float32', Float32Array), ['mean']);
  const exact = prompt(ort, asked, 'float64', Float64Array);
  const own = await trained.run({ ...exact, ...(await doubting(ort, smooth, exact, doubt)), ...weighted(ort, prior) });
  const best = await wide.run({ ...exact, ...(await doubting(ort, null, exact, 0)) });
  const found = { transformer: mean, mixture: own.mean, linear: (await linear.run({ ...exact, ...weighted(ort, prior) })).mean, right: best.mean, probability: own.probability };
  return { kind: 'band', id, ...plain(found), milliseconds: performance.now() - start };
}

/** A curve, and how the first of its queries attends in each head: to x_1, y_1, ..., and to itself. */
async function attention({ id, model, ...asked }) {
  const [ort, transformer] = await open(['models', model]);
  const start = performance.now();
  const { mean, attention: all } = await transformer.run(prompt(ort, asked, 'float32', Float32Array));
  const [, layers, heads, queries, seen] = all.dims;
  const first = Float64Array.from({ length: layers * heads * seen }, (_, i) => all.data[Math.floor(i / seen) * queries * seen + (i % seen)]);
  return { kind: 'attention', id, ...plain({ mean }), attention: first, shape: Float64Array.of(layers, heads), milliseconds: performance.now() - start };
}

/** Every prefix of a batch of prompts: xs holds prompts × points × dimensions numbers, ys and the answers prompts × points. */
async function prefixes({ id, model, bayes, weight, prompts, xs, ys }) {
  const [ort, transformer, posterior] = await open(['models', model], ['bayes', bayes]);
  const start = performance.now();
  const points = ys.length / prompts;
  const batch = (type, array) => ({
    xs: new ort.Tensor(type, array.from(xs), [prompts, points, xs.length / ys.length]),
    ys: new ort.Tensor(type, array.from(ys), [prompts, points]),
  });
  const { mean } = await transformer.run(batch('float32', Float32Array));
  const exact = await posterior.run({
    ...batch('float64', Float64Array),
    weight: scalar(ort, weight),
  });
  return { kind: 'prefixes', id, ...plain({ transformer: mean, ...exact }), milliseconds: performance.now() - start };
}

/* The run that is under way: what it is, how many steps it has taken, and its numbers by the names that the graphs give them. */
let run = null;

const partsOf = (size) => [`initial-${size}`, 'prompts', `step-${size}`, `look-${size}`].map((part) => ['pretraining', part]);
const integer = (ort, number) => new ort.Tensor('int64', BigInt64Array.of(BigInt(number)), []);
/** Seeds of training begin where those of evaluation end: training_seed in samplers.py. */
const trainingSeed = (ort, seed) => integer(ort, seed + 2 ** 32);

/** The first `prompts` prompts of a batch, each with its first `points` points. */
function cut(ort, tensor, prompts, points) {
  const [, whole] = tensor.dims;
  const data = new Float32Array(prompts * points);
  for (let b = 0; b < prompts; b++) data.set(tensor.data.subarray(b * whole, b * whole + points), b * points);
  return new ort.Tensor('float32', data, [prompts, points, ...tensor.dims.slice(2)]);
}

/** Pretraining: the steps of pretraining.py, for a while; then how the model does. A run that is not the last one begins anew. */
async function pretrain({ id, milliseconds, whole, ...asked }) {
  const [ort, initial, prompts, step, look] = await open(...partsOf(asked.size));
  const { phases } = await entryOf('pretraining', 'prompts');
  const start = performance.now();
  const seed = trainingSeed(ort, asked.seed);
  if (run?.name !== asked.run) run = { name: asked.run, step: 0, state: await initial.run({ seed }) };
  const weights = new ort.Tensor('float64', Float64Array.from(asked.weights), [asked.weights.length]);
  const total = integer(ort, asked.total);
  while (run.step < asked.until && performance.now() - start < milliseconds) {
    const at = integer(ort, run.step);
    const [, points, count] = phases.find(([until]) => run.step < until * asked.total) ?? phases.at(-1);
    const drawn = await prompts.run({ seed, step: at, weights });
    const moved = await step.run({ ...run.state, xs: cut(ort, drawn.xs, count, points), ys: cut(ort, drawn.ys, count, points), step: at, total });
    for (const name in run.state) run.state[name] = moved[`next.${name}`];
    run.step += 1;
  }
  const learnt = Object.fromEntries(Object.entries(run.state).filter(([name]) => name.startsWith('params')));
  const seen = plain(await look.run({ ...learnt, weights }));
  const params = Float64Array.from(whole ? Object.keys(learnt).flatMap((name) => Array.from(learnt[name].data)) : []);
  return { kind: 'pretrain', id, step: Float64Array.of(run.step), ...seen, params, milliseconds: performance.now() - start };
}

const ANSWERS = { curve, band, attention, prefixes, pretrain };
let queue = Promise.resolve(); // sessions are not re-entrant: one request after the other
onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      postMessage(await ANSWERS[data.kind](data));
    } catch (error) {
      const { message, script } = failure(data.kind === 'pretrain' ? 'pretraining' : `model ${data.model}`, error);
      postMessage({ kind: 'failed', id: data.id, message, script });
    }
  });
};
