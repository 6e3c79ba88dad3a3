/* Models of the reader's own: kept in this browser, and as files that the library reads too.

   A kept model is {bytes, shape, name, dim, bands, mixture}: a safetensors file, the name of the graph that fits it (a key of
   the manifest's shapes), what to call it, the dimension of its inputs, the bands of its sines, and the weights of the classes
   that it was pretrained on here; both null if the page does not know. One is kept of functions of one number, one of functions
   of several. engine.js reads the same place. */

const OWN = 'yours';
const OWN_LINEAR = 'yours-linear';

/** What the page pretrains on, as in pretraining.py: [name, look]. */
const KINDS = [['line', 'line'], ['sine', 'sine'], ['quadratic', 'relu'], ['step', 'step']];
/** Those that are in a mixture, and of the probabilities of all, with a doubt or not, theirs. */
const kindsIn = (mixture) => KINDS.filter((_, k) => mixture[k] > 0);
const believedIn = (mixture, probability) => Array.from(probability).filter((_, k) => mixture[k] !== 0);

/** What a reader is told of a model's name. */
function modelLabel(name) {
  if (name === OWN) return 'yours, kept in this browser';
  if (name.startsWith('yours: ')) return name; // a running kernel's
  const [, classes, , ...shape] = /^(.+?)(-[\d.]+)?-([a-z]+)(?:-([a-z]+))?$/.exec(name) ?? [, name, ,];
  const only = classes.includes('+') ? '' : ' only';
  return [classes.replaceAll('+', ' + ') + only, ...shape].filter(Boolean).join(', ');
}

/** Do `work(store)` in the place where models are kept; what its request finds. Nothing leaves this browser. */
async function inStore(mode, work) {
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open('beyond-the-mixture', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('models');
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction('models', mode);
      const request = work(transaction.objectStore('models'));
      transaction.oncomplete = () => resolve(request.result); // only then is it kept
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}
const keepModel = (kept) =>
  inStore('readwrite', (store) => store.put(kept, kept.dim === 1 ? OWN : OWN_LINEAR)).catch(() => {
    throw new Error('This browser keeps nothing for this page, as in private windows, or has no room left.');
  });
/** The kept model of a kind; null if there is none, or if this browser keeps nothing. */
const keptModel = (key) => inStore('readonly', (store) => store.get(key)).then((kept) => kept ?? null, () => null);

/** A safetensors file: `tensors` {name: {shape, data: Float32Array}}, in the order of the library's own files, by name. */
function writeSafetensors(tensors, metadata) {
  let end = 0;
  const header = { __metadata__: metadata };
  const names = Object.keys(tensors).sort();
  for (const name of names) {
    const { shape, data } = tensors[name];
    header[name] = { dtype: 'F32', shape, data_offsets: [end, (end += 4 * data.length)] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.fill(32, 8 + text.length, 8 + padded);
  bytes.set(text, 8);
  for (const name of names) {
    const { data } = tensors[name];
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, 4 * data.length), 8 + padded + header[name].data_offsets[0]);
  }
  return bytes;
}

/** The tensors of a safetensors file of single or half precision, {name: {shape, dtype, bytes}}; what is none is refused. */
function readSafetensors(bytes) {
  const refused = (why) => new Error(`This is no safetensors file that the page can read: ${why}.`);
  if (bytes.length < 8) throw refused('it is too short');
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > bytes.length - 8) throw refused('its header is longer than the file');
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  } catch {
    throw refused('its header is damaged');
  }
  const { __metadata__: metadata = {}, ...entries } = header ?? {};
  const whole = (list) => Array.isArray(list) && list.every((number) => Number.isInteger(number) && number >= 0);
  const tensors = {};
  for (const [name, entry] of Object.entries(entries)) {
    const { dtype, shape, data_offsets: offsets } = entry ?? {};
    const size = { F16: 2, F32: 4 }[dtype];
    if (!size) throw refused(`“${name}” is of type ${dtype}, and F16 or F32 is expected`);
    if (!whole(shape) || !whole(offsets) || offsets.length !== 2) throw refused(`“${name}” does not say where its numbers are`);
    const [begin, end] = offsets;
    if (end - begin !== size * shape.reduce((a, b) => a * b, 1) || 8 + length + end > bytes.length) throw refused(`“${name}” is cut off`);
    const part = bytes.slice(8 + length + begin, 8 + length + end);
    // All ones in the exponent: infinite, or no number.
    const special = size === 2 ? new Uint16Array(part.buffer).some((bits) => (bits & 0x7c00) === 0x7c00) : new Uint32Array(part.buffer).some((bits) => (bits & 0x7f800000) === 0x7f800000);
    if (special) throw refused(`“${name}” holds what is no finite number`);
    tensors[name] = { shape, dtype, bytes: part };
  }
  return { tensors, metadata };
}

/** The model in a file, as it is kept: in the order of the library's files, with the name of the graph that fits it.

    `shapes` are those of the manifest that are asked for. What fits none is refused, with what was expected. */
function fitModel(bytes, name, shapes) {
  const { tensors, metadata } = readSafetensors(bytes);
  const given = Object.keys(tensors);
  if (!given.length) throw new Error('This file holds no weights.');
  const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);
  const type = { float16: 'F16', float32: 'F32' };
  const misfits = ({ parameters, dtype }) =>
    Object.entries(parameters).filter(([key, { shape }]) => !tensors[key] || tensors[key].dtype !== type[dtype] || !same(tensors[key].shape, shape)).map(([key]) => key);
  const fits = shapes.find(([, shape]) => !misfits(shape).length && given.length === Object.keys(shape.parameters).length);
  if (!fits) {
    const nearest = shapes.map(([called, shape]) => [called, shape, misfits(shape)]).sort((a, b) => a[2].length - b[2].length)[0];
    const [called, { parameters, dtype }, wrong] = nearest;
    const first = wrong[0];
    const there = tensors[first];
    const why = first
      ? `“${first}” should be ${dtype} of shape ${parameters[first].shape.join(' × ')}, and is ${there ? `${there.dtype} of shape ${there.shape.join(' × ')}` : 'not there'}`
      : `it has ${given.length} tensors, and ${Object.keys(parameters).length} are expected`;
    throw new Error(`This model has a shape that the page does not know. Nearest is ${called}: ${why}.`);
  }
  const [shape, { parameters, model }] = fits;
  // The weights do not show into how many heads a block is cut.
  let told;
  try {
    told = JSON.parse(metadata.model);
  } catch {
    throw new Error('This file does not say which model it holds: it was not written by this library or this book.');
  }
  const other = Object.keys(model).find((key) => told?.[key] !== model[key]);
  if (other) throw new Error(`This model has a shape that the page does not know. Nearest is ${shape}: its ${other} should be ${model[other]}, and is ${told?.[other]}.`);
  const end = Math.max(...Object.entries(parameters).map(([key, { begin }]) => begin + tensors[key].bytes.length));
  const whole = new Uint8Array(8 + end); // an empty header: the graphs count from its end
  for (const [key, { begin }] of Object.entries(parameters)) whole.set(tensors[key].bytes, 8 + begin);
  return { bytes: whole, shape, name, dim: model.dim, bands: null, mixture: null };
}

/** Keep the model in a file that the reader has opened or dropped; returns it. What is no such file, or fits no graph of a shape
    that is `shown`, is refused. */
async function openModel(file, shown) {
  if (file.size > 1e8) throw new Error(`This file has ${Math.round(file.size / 1e6)} MB, far more than any model that the page knows.`);
  const response = await fetch(new URL(`${document.documentElement.dataset.content_root}live/manifest.json`, document.baseURI), { cache: 'no-cache' }).catch(() => null);
  if (!response?.ok) throw new Error('The list of shapes (live/manifest.json) could not be read.');
  const { shapes } = await response.json();
  const asked = Object.entries(shapes).filter(([, shape]) => shown(shape.model));
  const kept = fitModel(new Uint8Array(await file.arrayBuffer()), file.name.replace(/\.safetensors$/, ''), asked);
  await keepModel(kept);
  return kept;
}

/** Let a chooser of models offer the reader's own, which `chosen()` shows: the one that is kept, or one from a file;
    `known(kept)` learns what the page knows of it.

    Kept under `key`, of a shape that is `shown(model)`; left out: those of functions of one number. Off the built page there is
    nothing of that: a running kernel takes models as arguments. */
function ownModels({ chooser, root, say, chosen, known = () => {}, key = OWN, shown = ({ dim }) => dim === 1 }) {
  let version = 0;
  const option = h('option', { value: OWN });
  const offer = (kept) => {
    option.textContent = kept.name ? `yours: ${kept.name}` : 'yours, kept in this browser';
    if (!option.isConnected) chooser.append(option);
    known(kept);
  };
  let latest;
  const take = async (file) => {
    latest = file;
    try {
      const kept = await openModel(file, shown);
      if (latest !== file) return; // another was dropped meanwhile
      version += 1;
      say(''); // of what was refused before
      offer(kept);
      chosen();
    } catch (error) {
      say(error.message, { stays: true });
    }
  };
  const input = h('input', { type: 'file', accept: '.safetensors', hidden: true, 'aria-label': 'A model file' });
  input.addEventListener('change', () => {
    if (input.files.length) take(input.files[0]);
    input.value = '';
  });
  const open = button('Open a model file', () => input.click(), { title: 'A safetensors file of this library; or drop it here', hidden: !onBuiltPage() });
  if (onBuiltPage()) {
    root.addEventListener('dragover', (event) => event.preventDefault());
    root.addEventListener('drop', (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
    keptModel(key).then((kept) => kept && offer(kept));
  }
  return {
    controls: [open, input],
    offer,
    /** What the engine is to be asked for. */
    named: (model) => (model === key ? `${key}:${version}` : model),
  };
}
