/* The selection explorer: a batch of linear functions with some nonzeros, a model pretrained with some share of dense ones, and
   the best possible answers, at every number of examples, live.

   This file draws samples, sliders and lines. Every prediction is computed by an engine (shared.js), from the torch code of
   icl_lib: in the running kernel, or in the browser. */

const PROMPTS = 64;
const CHUNKS = [4, 12, 16, 16, 16]; // prompts of a batch that are asked for at a time: the first picture soon, then better ones
const APART = 1e-3; // where the experts differ by less, mean squared, no blend of them is told
const [FLOOR, CEILING] = [1e-4, 5]; // errors beyond are drawn there
const AXIS_END = 6e-5; // below the floor, so that a line there lies within the frame

const NAMES = ['transformer', 'dense', 'sparse', 'mixture', 'probability'];
const PREFIXES = { kind: 'prefixes', settings: ['model', 'bayes', 'weight', 'prompts'], asks: ['xs', 'ys'], answers: NAMES };

/* In the order of the legend; `look` is the class that gives colour and line style. */
const LINES = {
  transformer: { name: 'Transformer', look: 'transformer' },
  mixture: { name: 'Exact Bayes', look: 'mixture' },
  dense: { name: 'Dense expert', look: 'classical', note: 'least squares' },
  sparse: { name: 'Sparse expert', look: 'oracle', note: 'best two coefficients' },
};

/** A prompt of functions of so many numbers: up to twice as many examples, and a query. */
const pointsOf = (dim) => 2 * dim + 1;

/** The batch of a seed: inputs, and for each prompt coefficients in the order in which they are taken. */
function drawBatch(seed, dim) {
  const uniform = uniforms(seed);
  const each = pointsOf(dim) * dim;
  const xs = new Float64Array(PROMPTS * each);
  const functions = [];
  for (let b = 0; b < PROMPTS; b++) {
    for (let i = 0; i < each; i++) xs[b * each + i] = normal(uniform);
    const coefficients = Array.from({ length: dim }, () => normal(uniform));
    const keys = Array.from({ length: dim }, uniform);
    const order = keys.map((_, c) => c).sort((a, c) => keys[a] - keys[c]);
    functions.push({ coefficients, order });
  }
  return { seed, dim, xs, functions };
}

/** Their values where only the first `nnz` coefficients count: those of nnz + 1 continue those of nnz. */
function valuesOf({ dim, xs, functions }, nnz) {
  const points = pointsOf(dim);
  const ys = new Float64Array(PROMPTS * points);
  const scale = Math.sqrt(nnz);
  functions.forEach(({ coefficients, order }, b) => {
    for (let i = 0; i < points; i++) {
      const at = (b * points + i) * dim;
      let sum = 0;
      for (let k = 0; k < nnz; k++) sum += xs[at + order[k]] * coefficients[k];
      ys[b * points + i] = sum / scale;
    }
  });
  return ys;
}

const percent = (share) => `${Math.round(share * 100)}%`;

function render({ model, el }) {
  if (tooOld(el)) return;
  const models = { ...model.get('models') };
  const dims = { ...model.get('dims') };
  const sizes = Object.keys(models).filter((size) => models[size].length);
  // Of the reader's own nobody here knows what it was pretrained on: its share is that of exact Bayes alone.
  const every = [...new Set(sizes.flatMap((size) => models[size].map(([share]) => share)))].sort((a, b) => a - b);
  let ownName = '';
  const isOwn = (size = state.size) => onBuiltPage() && size === OWN;
  const initial = () => ({
    share: model.get('share'),
    nnz: model.get('nnz'),
    n_examples: model.get('n_examples'),
    seed: model.get('seed'),
    size: model.get('size'),
    tour: 0,
  });
  const state = initial();
  const dim = () => dims[state.size];
  const points = () => pointsOf(dim());
  const sharesOf = (size) => models[size].map(([share]) => share);
  const chosen = () => models[state.size].find(([share]) => share === state.share);

  // ---- the view in the address ----

  const address = addressBar(model.get('key'), ['p', 'k', 'n', 'seed', 'size', 'tour']);
  const share = (soon) => address.write({ p: state.share, k: state.nnz, n: state.n_examples, seed: state.seed, size: state.size, tour: state.tour || null }, soon);
  const given = address.read();
  const shared = Object.keys(given).length > 0;
  const reader = viewReader(given, state);
  const { take, unread } = reader;
  readStep(model.get('places') ?? [], given, reader, state);
  const awaited = onBuiltPage() && given.size === OWN; // the model that is kept, once it has been found
  if (!awaited) take('size', 'size', sizes.find((size) => size === given.size));
  take('p', 'share', sharesOf(state.size).find((one) => one === Number(given.p?.trim() || NaN)));
  if (!chosen()) state.share = sharesOf(state.size)[0];
  take('k', 'nnz', readNumber(given.k, 1, dim(), 1));
  take('n', 'n_examples', readNumber(given.n, 0, points() - 1, 1));
  take('seed', 'seed', readNumber(given.seed, 0, 2 ** 32 - 1, 1));
  /** A size of fewer dimensions leaves fewer to choose from. */
  function keepWithin() {
    state.nnz = Math.min(state.nnz, dim());
    state.n_examples = Math.min(state.n_examples, points() - 1);
  }
  keepWithin();

  // ---- the batch, and the sums over its prompts so far ----

  let batch = null; // {seed, dim, xs, functions}, drawn when first needed
  let ys;
  let round = 0; // of the batch under way: answers to an earlier one are not counted
  let sums = null;
  let shown = null;
  /* What was computed beforehand: the first view, and that of other numbers of nonzeros. What is not told travels as null. */
  const home = initial();
  const pages = Object.entries({ ...model.get('frames'), [home.nnz]: model.get('first') })
    .filter(([, page]) => page?.errors)
    .map(([nnz, page]) => ({ ...page, blend: page.blend.map((part) => part ?? NaN), count: PROMPTS, nnz: Number(nnz), share: home.share, size: home.size }));
  function beforehand(request) {
    const same = ['share', 'seed', 'size'].every((name) => state[name] === home[name]);
    if (!same || !pages.length) return null;
    const far = ({ nnz }) => Math.abs(nnz - state.nnz);
    const page = pages.reduce((best, one) => (far(best) <= far(one) ? best : one));
    shown = { ...page, whole: page.nnz === state.nnz ? request.round : null };
    drawLines();
    drawNumbers();
    return shown.whole === null ? `Shown: ${page.nnz} nonzero, computed beforehand.` : '';
  }

  function fill() {
    if (batch?.seed !== state.seed || batch.dim !== dim()) batch = drawBatch(state.seed, dim());
    ys = valuesOf(batch, state.nnz);
    round += 1;
    const zeros = () => new Float64Array(points());
    sums = { count: 0, chunk: 0, asked: performance.now(), milliseconds: 0, square: zeros(), belief: zeros(), over: zeros(), under: zeros() };
    for (const name in LINES) sums[name] = zeros();
  }

  /** The next prompts of the batch. */
  function wanted() {
    if (!sums) fill();
    const prompts = CHUNKS[sums.chunk];
    const [from, to] = [sums.count * points(), (sums.count + prompts) * points()];
    return {
      model: own.named(chosen()[1]),
      choice: chosen()[1],
      bayes: Object.entries(model.get('bayes')).find(([size]) => dims[size] === dim())[1],
      weight: state.share,
      prompts,
      xs: batch.xs.slice(from * dim(), to * dim()),
      ys: ys.slice(from, to),
      round,
    };
  }

  /** Add an answer to the sums; the means of all so far. */
  function add(numbers, request) {
    for (let j = 0; j < request.ys.length; j++) {
      const i = j % points();
      for (const name in LINES) sums[name][i] += (numbers[name][j] - request.ys[j]) ** 2;
      sums.square[i] += (numbers.transformer[j] - request.ys[j]) ** 4;
      sums.belief[i] += numbers.probability[j];
      const apart = numbers.dense[j] - numbers.sparse[j];
      sums.over[i] += (numbers.transformer[j] - numbers.sparse[j]) * apart;
      sums.under[i] += apart * apart;
    }
    sums.count += request.prompts;
    sums.chunk += 1;
    sums.milliseconds += numbers.milliseconds;
    const mean = (values) => Array.from(values, (value) => value / sums.count);
    const errors = Object.fromEntries(Object.keys(LINES).map((name) => [name, mean(sums[name])]));
    return {
      count: sums.count,
      model: request.choice,
      share: state.share,
      size: state.size,
      nnz: state.nnz,
      seed: batch.seed,
      errors,
      spread: mean(sums.square).map((square, i) => 1.645 * Math.sqrt(Math.max(0, square - errors.transformer[i] ** 2) / sums.count)),
      belief: mean(sums.belief),
      blend: Array.from(sums.over, (over, i) => (sums.under[i] / sums.count > APART ? over / sums.under[i] : NaN)),
    };
  }

  // ---- the two plots ----

  const box = { viewBox: '0 0 600 400', preserveAspectRatio: 'none', width: '100%', height: '100%', 'aria-hidden': 'true' };
  const across = (n) => ((n + 0.5) / points()) * 100; // percent
  const high = (error) => (Math.log(CEILING / clamp(error, FLOOR, CEILING)) / Math.log(CEILING / AXIS_END)) * 100;
  const barShare = (error) => Math.log(clamp(error, FLOOR, CEILING) / FLOOR) / Math.log(CEILING / FLOOR); // of a bar
  const level = (part) => 88 - 76 * clamp(part, -0.1, 1.1); // of the lower plot
  /** Through the values that are there; a gap where one is not. */
  function path(values, height) {
    let pen = 'M';
    return values
      .map((value, n) => {
        if (!Number.isFinite(value)) {
          pen = 'M';
          return '';
        }
        const step = `${pen}${(across(n) * 6).toFixed(1)} ${(height(value) * 4).toFixed(1)}`;
        pen = 'L';
        return step;
      })
      .join('');
  }

  const order = ['sparse', 'dense', 'mixture', 'transformer'];
  const paths = Object.fromEntries(order.map((name) => [name, s('path', { class: `icl-line icl-${LINES[name].look}` })]));
  const band = s('path', { class: 'icl-band' });
  const line = (at) => s('line', at);
  const text = (at, words) => s('text', at, words);
  const ticks = s('g');
  let axis; // the dimensions that it is drawn for
  function drawAxis() {
    axis = dim();
    const [step, last] = [dim() / 2, points() - 1];
    const anchor = (n) => (n === 0 ? 'start' : n === last ? 'end' : 'middle');
    const tick = (n) => [line({ x1: `${across(n)}%`, x2: `${across(n)}%`, y1: 0, y2: '100%' }), text({ x: `${across(n)}%`, y: '100%', dy: -6, style: `text-anchor: ${anchor(n)}` }, `${n}`)];
    ticks.replaceChildren(...[0, 1, 2, 3, 4].flatMap((part) => tick(part * step)));
  }
  const levels = [1, 0.1, 0.01, 0.001].map((error) => line({ x1: 0, x2: '100%', y1: `${high(error)}%`, y2: `${high(error)}%` }));
  const levelNames = [1, 0.1, 0.01, 0.001].map((error) => text({ x: 6, y: `${high(error)}%`, dy: -4 }, error === 1 ? '1: always 0' : `${error}`));
  const marker = line({ class: 'icl-marker', y1: 0, y2: '100%' });
  const plot = s(
    'svg',
    { class: 'icl-plot', role: 'img', 'aria-label': 'Mean squared error against the number of examples, on a log axis' },
    s('g', { class: 'icl-grid', 'aria-hidden': 'true' }, ticks, ...levels),
    marker,
    s('svg', box, band, ...order.map((name) => paths[name])),
    s('g', { class: 'icl-values', 'aria-hidden': 'true' }, ...levelNames),
  );
  const beliefPath = s('path', { class: 'icl-line icl-mixture' });
  const blendPath = s('path', { class: 'icl-line icl-transformer' });
  const lowerMarker = line({ class: 'icl-marker', y1: 0, y2: '100%' });
  const lower = s(
    'svg',
    { class: 'icl-plot icl-lower', role: 'img', 'aria-label': 'Weight of the dense class, from 0 to 1, against the number of examples' },
    s('g', { class: 'icl-grid', 'aria-hidden': 'true' }, ...[0, 1].map((part) => line({ x1: 0, x2: '100%', y1: `${level(part)}%`, y2: `${level(part)}%` }))),
    lowerMarker,
    s('svg', box, beliefPath, blendPath),
    s('g', { class: 'icl-values', 'aria-hidden': 'true' }, text({ x: 6, y: `${level(1)}%`, dy: 18 }, '1'), text({ x: 6, y: `${level(0)}%`, dy: -4 }, '0')),
  );

  /** A click or a drag on either plot reads the numbers there. */
  const read = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const n = clamp(Math.floor(((event.clientX - left) / width) * points()), 0, points() - 1);
    if (n === state.n_examples) return;
    state.n_examples = n;
    controls.n_examples.set(n);
    drawNumbers();
    share();
  };
  for (const one of [plot, lower]) {
    one.addEventListener('pointerdown', (event) => event.button === 0 && read(event));
    one.addEventListener('pointermove', (event) => event.buttons === 1 && read(event));
  }

  function drawLines() {
    if (!shown) {
      for (const one of [...Object.values(paths), band, beliefPath, blendPath]) one.removeAttribute('d');
      return;
    }
    for (const name of order) paths[name].setAttribute('d', path(shown.errors[name], high));
    const [top, bottom] = [1, -1].map((sign) => shown.errors.transformer.map((error, i) => error + sign * shown.spread[i]));
    band.setAttribute('d', `${path(top, high)}L${path(bottom, high).slice(1).split('L').reverse().join('L')}Z`);
    beliefPath.setAttribute('d', path(shown.belief, level));
    blendPath.setAttribute('d', path(shown.blend, level));
  }

  // ---- the legend, which holds the numbers ----

  const rows = Object.fromEntries(
    Object.entries(LINES).map(([name, { name: label, look, note }]) => {
      const bar = h('div', { class: `icl-bar icl-${look}` });
      const value = h('span', {}, '–');
      const sample = s('svg', { class: 'icl-sample', 'aria-hidden': 'true' }, s('path', { class: `icl-line icl-${look}`, d: 'M1 4H23' }));
      const about = h('small', {}, note ?? '');
      const head = h('th', { scope: 'row' }, h('span', { class: 'icl-head' }, sample, h('span', {}, label, about)));
      return [name, { bar, value, about, row: h('tr', {}, head, h('td', {}, value, h('div', { class: 'icl-track' }, bar))) }];
    }),
  );
  const caption = h('caption');
  const legend = h(
    'table',
    { class: 'icl-legend' },
    caption,
    h('tbody', {}, ...Object.values(rows).map(({ row }) => row), h('tr', { class: 'icl-ignorance' }, h('th', { scope: 'row' }, h('span', {}, 'Always 0', h('small', {}, 'line of ignorance'))), h('td', {}, '1'))),
  );
  legend.style.setProperty('--ignorance', barShare(1));
  const [believed, blended] = ['mixture', 'transformer'].map((look) => {
    const bar = h('div', { class: `icl-bar icl-${look}` });
    const value = h('span', { class: 'icl-error' }, '–');
    return { bar, value, row: h('div', { class: 'icl-posterior' }, h('span', {}, look === 'mixture' ? 'P(dense)' : 'blend'), h('div', { class: 'icl-track' }, bar), value) };
  });
  const belief = h(
    'div',
    { class: 'icl-belief', role: 'group', 'aria-label': 'Weight of the dense class' },
    h('p', {}, 'What exact Bayes believes, and the dense expert’s weight in the transformer’s predictions'),
    believed.row,
    blended.row,
  );

  function drawNumbers() {
    const n = state.n_examples;
    for (const one of [marker, lowerMarker]) for (const end of ['x1', 'x2']) one.setAttribute(end, `${across(n)}%`);
    caption.textContent = `Mean squared error after ${n} example${n === 1 ? '' : 's'}`;
    places.update();
    const { size, share } = shown ?? state; // what the numbers are of
    rows.transformer.about.textContent = isOwn(size) ? `yours: ${ownName}` : `${size}, ${percent(share)} dense`;
    rows.mixture.about.textContent = `prior: ${percent(share)} dense`;
    if (!shown) {
      for (const { value } of [...Object.values(rows), believed, blended]) value.textContent = '–';
      for (const { bar } of [...Object.values(rows), believed, blended]) bar.style.setProperty('--share', 0);
      return;
    }
    for (const name in LINES) {
      rows[name].value.textContent = shown.errors[name][n] < FLOOR ? '< 10⁻⁴' : pretty(shown.errors[name][n]);
      rows[name].bar.style.setProperty('--share', barShare(shown.errors[name][n]));
    }
    for (const [{ bar, value }, part] of [[believed, shown.belief[n]], [blended, shown.blend[n]]]) {
      bar.style.setProperty('--share', clamp(part || 0, 0, 1));
      value.textContent = Number.isFinite(part) ? minus(part.toFixed(2)) : '–';
    }
  }

  // ---- the engine ----

  function begin() {
    fill();
    drawNumbers();
    engine.ask();
    share();
  }
  const engine = livingEngine({
    el,
    model,
    protocol: PREFIXES,
    wanted,
    root: () => root,
    answer(numbers, request) {
      if (request.round !== round) return;
      const found = add(numbers, request);
      const done = sums.count === PROMPTS;
      if (!done) engine.ask(); // first, so that the engine computes while this draws
      if (done || shown?.whole !== round) shown = found; // some prompts tell less than all, computed beforehand
      drawLines();
      drawNumbers();
      engine.took(done ? `in ${Math.max(1, Math.round(sums.milliseconds))} ms: ${PROMPTS} prompts at every prefix` : `${sums.count} of ${PROMPTS} prompts`);
      if (done) tabulate();
      el.dispatchEvent(new CustomEvent('icl-drawn', { detail: { latency: performance.now() - sums.asked, prompts: sums.count } }));
    },
    failed: () => (shown ? 'The faint lines are from before.' : ''),
    beforehand,
    opened() {
      if (sums?.count === PROMPTS) fill();
      else if (sums) sums.asked = performance.now();
    },
  });
  const { say } = engine;

  // ---- the controls ----

  const controls = {};
  const [nnzSlot, examplesSlot] = [h('div'), h('div')];
  function sliderFor(slot, name, label, options, ...below) {
    controls[name] = slider({
      label, step: 1, value: state[name], ...options,
      oninput(value) {
        state[name] = value;
        if (name === 'n_examples') {
          drawNumbers();
          share();
        } else begin();
      },
    });
    controls[name].root.append(...below);
    slot.replaceChildren(controls[name].root);
  }
  /* Of which there are as many as dimensions, or twice as many. */
  function makeSliders() {
    const all = dim();
    sliderFor(nnzSlot, 'nnz', ['Nonzero coefficients of the function'], { min: 1, max: all, text: (value) => `${value} of ${all}` }, h('small', {}, h('span', {}, `pretraining: 2, or all ${all}`)));
    sliderFor(examplesSlot, 'n_examples', ['In-context examples'], { min: 0, max: points() - 1, text: String });
  }
  /* The share moves from model to model: the slider counts them. */
  const shareSlot = h('div');
  function makeShareSlider() {
    const shares = sharesOf(state.size);
    controls.share = slider({
      label: [isOwn() ? 'Share of dense functions in exact Bayes’ prior' : 'Share of dense functions in pretraining'],
      min: 0, max: shares.length - 1, step: 1, value: shares.indexOf(state.share),
      text: (index) => percent(shares[index]),
      spoken: (index) => `${percent(shares[index])} dense, ${percent(1 - shares[index])} sparse`,
      oninput(index) {
        state.share = shares[index];
        begin();
      },
    });
    controls.share.root.append(h('small', {}, h('span', {}, '0%: sparse only'), h('span', {}, isOwn() ? 'your model’s is not known' : 'picks the model'), h('span', {}, '100%: dense only')));
    shareSlot.replaceChildren(controls.share.root);
  }
  makeShareSlider();
  makeSliders();

  const chooserId = fresh('size');
  const chooser = h('select', { id: chooserId }, ...sizes.map((size) => h('option', { value: size }, model.get('labels')[size])));
  chooser.value = state.size;
  chooser.addEventListener('change', () => goTo(chooser.value));
  function goTo(size) {
    const before = axis;
    state.size = size;
    chooser.value = size;
    if (dim() !== before) {
      state.nnz = Math.min(state.nnz === before ? dim() : state.nnz, dim());
      state.n_examples = Math.round((state.n_examples / before) * dim());
      otherDimensions();
    }
    const nearest = (best, one) => (Math.abs(one - state.share) < Math.abs(best - state.share) ? one : best);
    state.share = sharesOf(state.size).reduce(nearest);
    makeShareSlider();
    begin();
  }
  /** What was shown had other dimensions, and has no place on these axes. */
  function otherDimensions() {
    shown = null;
    drawAxis();
    drawLines();
    makeSliders();
  }
  const showState = () => {
    chooser.value = state.size;
    makeShareSlider();
    if (axis !== dim()) otherDimensions();
    controls.nnz.set(state.nnz);
    controls.n_examples.set(state.n_examples);
  };
  function moveTo(changes) {
    Object.assign(state, initial(), changes);
    showState();
    begin();
  }
  const places = guide({ places: model.get('places') ?? [], state, moveTo, share });
  const { link, alone } = sharing({ name: 'selection', title: 'Explorer of model selection', root: () => root, address, share, say });
  const actions = h(
    'div',
    { class: 'icl-actions icl-first' },
    button('New prompts', () => {
      state.seed = 1 + Math.floor(Math.random() * 99999);
      begin();
    }),
    button('Reset', () => {
      moveTo({});
      address.write(null);
    }),
    link,
  );

  // ---- the numbers, for who wants them ----

  const COLUMNS = ['examples', ...Object.keys(LINES), 'P(dense)', 'blend'];
  const cells = h('tbody');
  const lines = () => (shown ? shown.belief.map((_, n) => [n, ...Object.keys(LINES).map((name) => shown.errors[name][n]), shown.belief[n], shown.blend[n]]) : []);
  const table = h(
    'details',
    { class: 'icl-numbers' },
    h('summary', {}, 'The numbers'),
    h('div', { class: 'icl-actions' }, button('Curves as CSV', () => downloadTable('selection.csv', [COLUMNS, ...lines()]))),
    h(
      'div',
      { class: 'icl-scroll', tabindex: 0, role: 'group', 'aria-label': 'Table of the curves' },
      h('table', {}, h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', { scope: 'col' }, LINES[name]?.name ?? name)))), cells),
    ),
  );
  function tabulate() {
    if (!table.open) return;
    cells.replaceChildren(...lines().map(([n, ...values]) => h('tr', {}, h('td', {}, n), ...values.map((value) => h('td', {}, Number.isFinite(value) ? minus(value.toFixed(4)) : '–')))));
  }
  table.addEventListener('toggle', tabulate);

  // ---- putting it together ----

  const root = h(
    'div',
    { class: 'icl-widget icl-explorer icl-selection', role: 'group', 'aria-label': 'Explorer of model selection' },
    h(
      'div',
      { class: 'icl-body' },
      places.panel,
      h('div', { class: 'icl-left' }, h('p', { class: 'icl-plot-name' }, 'Mean squared error'), plot, h('p', { class: 'icl-plot-name' }, 'Whom does it follow? 1: the dense expert, 0: the sparse one'), lower, h('p', { class: 'icl-axis-name' }, 'examples: click to read there. Below, no line where the experts agree.'), shareSlot, nnzSlot, examplesSlot, actions),
      h('div', { class: 'icl-right' }, legend, belief, h('div', { class: 'icl-choice' }, h('label', { for: chooserId }, 'Size of the transformer'), chooser), places.root),
      engine.line,
      h('div', { class: 'icl-more' }, table),
    ),
  );
  engine.line.append(...alone);
  el.append(root);
  let restored = !awaited;
  const own = ownModels({
    chooser,
    root,
    say,
    key: OWN_LINEAR,
    shown: ({ dim: inputs, max_examples: most }) => Object.values(model.get('dims')).includes(inputs) && most === pointsOf(inputs),
    chosen: () => goTo(OWN),
    known({ name, dim: inputs }) {
      ownName = name;
      dims[OWN] = inputs;
      models[OWN] = every.map((share) => [share, OWN_LINEAR]);
      if (!restored) goTo(OWN);
      restored = true;
    },
  });
  actions.append(...own.controls);
  drawAxis();
  drawLines();
  drawNumbers();
  const stopLooking = replaceStill(el);
  if (unread.length) say(unreadWords(unread), { stays: true });
  if (awaited) keptModel(OWN_LINEAR).then((kept) => kept || say(unreadWords(['size']), { stays: true }));
  engine.begin(shared && !awaited);

  const takeTraits = () => {
    Object.assign(state, initial());
    keepWithin();
    showState();
    begin();
  };
  const followed = ['share', 'nnz', 'n_examples', 'seed', 'size'].map((name) => `change:${name}`);
  for (const name of followed) model.on(name, takeTraits);

  /** For tests and for curious readers at the console. */
  el.icl = {
    get state() {
      return { ...state, model: chosen()[1], stage: engine.stage };
    },
    get numbers() {
      return shown;
    },
    get prompts() {
      if (!sums) fill();
      return { xs: Array.from(batch.xs), ys: Array.from(ys) };
    },
  };

  return () => {
    stopLooking();
    address.close();
    engine.close();
    for (const name of followed) model.off(name, takeTraits);
  };
}

export default { render };
