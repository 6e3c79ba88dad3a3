/* The browser's engine: a module Web Worker that runs the graphs exported by icl_lib/browser.py with onnxruntime-web.

   It lies beside its graphs (live/engine.mjs, live/manifest.json, live/ort/), so that every address is relative to this
   file and the site may live below any path. One thread: more would need cross-origin isolation, which a plain host of
   static files does not offer.

   Requests  {kind: 'curve', id, model, bayes, weight, xs, ys, queries}
             {kind: 'band', id, model, bayes, right, xs, ys, queries}
             {kind: 'prefixes', id, model, bayes, weight, prompts, xs, ys}
   Answers   {kind: 'progress', what, loaded, total}     bytes of one file; total is 0 where unknown
             {kind: 'curve', id, transformer, mixture, oracle, probability, milliseconds}
             {kind: 'band', id, transformer, mixture, right, probability, milliseconds}
             {kind: 'prefixes', id, transformer, dense, sparse, mixture, probability, milliseconds}
             {kind: 'failed', id, message}               in words for the reader

   All numbers travel as Float64Arrays. What a request needs is fetched when it first needs it. A widget has one request
   under way at most and then sends its newest (shared.js), so no queue of stale slider positions builds up here. */

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

/** Fetch a file into memory and report its progress; `size` is its length where the server does not tell. */
async function download(path, what, size) {
  let response;
  try {
    response = await fetch(here(path));
  } catch {
    throw new Error(`The ${what} could not be fetched: the connection failed (${path}).`);
  }
  if (!response.ok) throw new Error(`The ${what} is missing: the server answered ${response.status} for ${path}.`);
  // A compressed transfer's Content-Length counts other bytes than those that arrive here.
  const length = response.headers.get('content-encoding') ? 0 : Number(response.headers.get('content-length'));
  const total = size || length || 0;
  const parts = [];
  let loaded = 0;
  try {
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      loaded += value.length;
      postMessage({ kind: 'progress', what, loaded, total });
    }
  } catch {
    throw new Error(`The ${what} could not be fetched: the connection broke off (${path}).`);
  }
  const bytes = new Uint8Array(loaded);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

const manifest = () =>
  once('manifest', async () => JSON.parse(new TextDecoder().decode(await download('manifest.json', 'list of models'))));

const runtime = () =>
  once('runtime', async () => {
    if (typeof WebAssembly !== 'object') throw new Error('This browser has no WebAssembly, which the models need to run.');
    let ort;
    try {
      ort = await import(here('ort/ort.wasm.min.mjs'));
    } catch {
      throw new Error('The runtime is missing or could not be fetched (ort/ort.wasm.min.mjs).');
    }
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = here('ort/');
    ort.env.logLevel = 'error';
    // Fetched here rather than by the runtime, to be able to show how far it has come.
    ort.env.wasm.wasmBinary = await download('ort/ort-wasm-simd-threaded.wasm', 'runtime');
    return ort;
  });

const graph = (group, name) =>
  once(`${group}/${name}`, async () => {
    const entry = (await manifest())[group]?.[name];
    if (!entry) throw new Error(`This page was built without the model “${name}”.`);
    const what = group === 'models' ? `model ${name}` : `Bayes predictor (${name})`;
    const [ort, bytes] = await Promise.all([runtime(), download(entry.file, what, entry.bytes)]);
    try {
      return await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
    } catch (error) {
      throw new Error(`The ${what} could not be started: ${error.message}`);
    }
  });

/** One prompt and its queries as a graph's inputs, in single precision for a model and in double for a posterior. */
const prompt = (ort, { xs, ys, queries }, type, array) => ({
  xs: new ort.Tensor(type, array.from(xs), [1, xs.length, 1]),
  ys: new ort.Tensor(type, array.from(ys), [1, ys.length]),
  queries: new ort.Tensor(type, array.from(queries), [1, queries.length, 1]),
});

async function curve({ id, model, bayes, weight, ...asked }) {
  const [ort, transformer, posterior] = await Promise.all([runtime(), graph('models', model), graph('bayes', bayes)]);
  const start = performance.now();
  const { mean } = await transformer.run(prompt(ort, asked, 'float32', Float32Array));
  const exact = await posterior.run({
    ...prompt(ort, asked, 'float64', Float64Array),
    weight: new ort.Tensor('float64', Float64Array.of(weight), []),
  });
  const [mixture, oracle, probability] = [exact.mixture, exact.oracle, exact.probability].map((t) => Float64Array.from(t.data));
  const milliseconds = performance.now() - start;
  return { kind: 'curve', id, transformer: Float64Array.from(mean.data), mixture, oracle, probability, milliseconds };
}

/** The same prompt for a model, for the prior that it was pretrained with and for one of the right band. */
async function band({ id, model, bayes, right, ...asked }) {
  const [ort, transformer, trained, wide] = await Promise.all([runtime(), graph('models', model), graph('bands', bayes), graph('bands', right)]);
  const start = performance.now();
  const { mean } = await transformer.run(prompt(ort, asked, 'float32', Float32Array));
  const exact = prompt(ort, asked, 'float64', Float64Array);
  const own = await trained.run(exact);
  const best = await wide.run(exact);
  const [predicted, mixture, covered, probability] = [mean, own.mean, best.mean, own.probability].map((t) => Float64Array.from(t.data));
  return { kind: 'band', id, transformer: predicted, mixture, right: covered, probability, milliseconds: performance.now() - start };
}

/** Every prefix of a batch of prompts: xs holds prompts × points × dimensions numbers, ys and the answers prompts × points. */
async function prefixes({ id, model, bayes, weight, prompts, xs, ys }) {
  const [ort, transformer, posterior] = await Promise.all([runtime(), graph('models', model), graph('bayes', bayes)]);
  const start = performance.now();
  const points = ys.length / prompts;
  const batch = (type, array) => ({
    xs: new ort.Tensor(type, array.from(xs), [prompts, points, xs.length / ys.length]),
    ys: new ort.Tensor(type, array.from(ys), [prompts, points]),
  });
  const { mean } = await transformer.run(batch('float32', Float32Array));
  const exact = await posterior.run({
    ...batch('float64', Float64Array),
    weight: new ort.Tensor('float64', Float64Array.of(weight), []),
  });
  const [dense, sparse, mixture, probability] = [exact.dense, exact.sparse, exact.mixture, exact.probability].map((t) =>
    Float64Array.from(t.data),
  );
  const milliseconds = performance.now() - start;
  return { kind: 'prefixes', id, transformer: Float64Array.from(mean.data), dense, sparse, mixture, probability, milliseconds };
}

const ANSWERS = { curve, band, prefixes };
let queue = Promise.resolve(); // sessions are not re-entrant: one request after the other
onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      postMessage(await ANSWERS[data.kind](data));
    } catch (error) {
      postMessage({ kind: 'failed', id: data.id, message: error.message });
    }
  });
};
