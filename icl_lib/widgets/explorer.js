/* The explorer: a convex combination of a line and a sine, a pretrained transformer, and the best possible answers, live.

   This file draws samples, sliders and lines. What the lines are is computed by an engine (shared.js), from the torch code
   of icl_lib: in the running kernel, or in the browser. */

const REACH = 3; // the plot shows x in [-REACH, REACH]
const MOST = 40; // examples; the model has one more pair of positions, for the query
const STEP = 1 / 16;
const QUERIES = Float64Array.from({ length: 2 * REACH / STEP + 1 }, (_, i) => i * STEP - REACH);
const FINE = Float64Array.from({ length: 385 }, (_, i) => (i * REACH) / 192 - REACH); // for the truth, which costs nothing
const BAND = [1, 5]; // frequencies of the sines seen in pretraining
const DENSITY = (() => {
  const weights = Array.from(QUERIES, (x) => Math.exp((-x * x) / 2));
  const total = weights.reduce((sum, weight) => sum + weight);
  return weights.map((weight) => weight / total);
})();

/* name, lowest, highest, step; the name is the trait's, the key in the address is short */
const SLIDERS = {
  weight: { key: 'a', low: 0, high: 1, step: 0.01 },
  slope: { key: 'slope', low: -3, high: 3, step: 0.05 },
  frequency: { key: 'freq', low: 0.2, high: 10, step: 0.1 },
  amplitude: { key: 'amp', low: 0, high: 3, step: 0.05 },
  phase: { key: 'phase', low: -1, high: 1, step: 0.05 },
  n_examples: { key: 'n', low: 0, high: MOST, step: 1 },
};

const LINES = {
  truth: { name: 'Truth', note: 'the function f' },
  transformer: { name: 'Transformer', note: '' }, // which one, said in words
  mixture: { name: 'Exact Bayes', note: 'prior: line or sine' },
  oracle: { name: 'Oracle', note: 'knows the blend' },
};
const COMPUTED = ['transformer', 'mixture', 'oracle'];

/** x_1, x_2, ... ~ N(0, 1) of one seed, three decimals, inside the plot: more examples only append to fewer. */
function drawInputs(seed, count) {
  const uniform = uniforms(seed);
  const xs = [];
  while (xs.length < count) {
    const x = snap(normal(uniform), 0.001);
    if (Math.abs(x) <= REACH) xs.push(x);
  }
  return xs;
}

/** A line and a sine drawn from their classes, as far as the sliders reach and to their steps. */
function drawFunction(seed) {
  const uniform = uniforms(seed ^ 0x9e3779b9);
  const [sine, cosine] = [normal(uniform), normal(uniform)];
  const drawn = {
    slope: normal(uniform),
    frequency: BAND[0] + (BAND[1] - BAND[0]) * uniform(),
    amplitude: Math.hypot(sine, cosine),
    phase: Math.atan2(cosine, sine) / Math.PI,
  };
  for (const name in drawn) drawn[name] = snap(clamp(drawn[name], SLIDERS[name].low, SLIDERS[name].high), SLIDERS[name].step);
  return drawn;
}

/* The context is a list of examples: a number k is the k-th input of the seed, on the function wherever the sliders take
   it; a pair [x, y] was placed by hand and stays. `null` is the plain list 0, 1, 2, ... In the address, runs are short:
   0_4*p0.5_-1.25*6_9 */
function writeExamples(list) {
  const parts = [];
  for (let i = 0; i < list.length; i++) {
    if (typeof list[i] !== 'number') parts.push(`p${list[i][0]}_${list[i][1]}`);
    else {
      const first = list[i];
      while (i + 1 < list.length && list[i + 1] === list[i] + 1) i++;
      parts.push(`${first}_${list[i]}`);
    }
  }
  return parts.join('*') || 'none';
}

function readExamples(text) {
  if (text === 'none') return [];
  const list = [];
  for (const part of text.split('*')) {
    const [, placed, left, right] = /^(p?)(-?[\d.]+)_(-?[\d.]+)$/.exec(part) ?? [];
    const [a, b] = [Number(left), Number(right)];
    if (placed && Math.abs(a) <= REACH && Math.abs(b) <= 100) list.push([a, b]);
    else if (!placed && Number.isInteger(a) && Number.isInteger(b) && 0 <= a && a <= b && b < 10 * MOST) {
      for (let k = a; k <= b; k++) list.push(k);
    } else return undefined;
    if (list.length > MOST) return undefined;
  }
  return list;
}

const CURVE = { kind: 'curve', settings: ['model', 'bayes', 'weight'], asks: ['xs', 'ys', 'queries'], answers: [...COMPUTED, 'probability'] };

const it = (text) => h('i', {}, text);

function modelLabel(name) {
  const [, classes, , size] = /^(.+?)(-[\d.]+)?-([a-z]+)$/.exec(name) ?? [, name, , ''];
  return `${classes.replaceAll('+', ' + ')}${classes.includes('+') ? '' : ' only'}, ${size}`;
}

function render({ model, el }) {
  const initial = () => ({
    ...Object.fromEntries(Object.keys(SLIDERS).map((name) => [name, model.get(name)])),
    seed: model.get('seed'),
    model: model.get('model'),
    examples: null,
    hidden: new Set(),
  });
  const state = initial();
  let selected = -1; // index of an example
  let drag = null;
  let reply = null; // the engine's latest answer, with its request
  let inputs = [];
  let top = 2;

  // ---- the view in the address ----

  const keys = [...Object.values(SLIDERS).map(({ key }) => key), 'seed', 'model', 'hide', 'pts'];
  const address = addressBar(model.get('key'), keys);
  const share = (soon) => {
    const view = Object.fromEntries(Object.entries(SLIDERS).map(([name, { key }]) => [key, state[name]]));
    Object.assign(view, { seed: state.seed, model: state.model, hide: [...state.hidden].join('_') || null });
    view.pts = state.examples && writeExamples(state.examples);
    address.write(view, soon);
  };
  const given = address.read();
  const shared = Object.keys(given).length > 0;
  const unread = [];
  if (shared) {
    const take = (key, name, value) => {
      if (!(key in given)) return;
      if (value === undefined) unread.push(key);
      else state[name] = value;
    };
    for (const [name, { key, low, high, step }] of Object.entries(SLIDERS)) take(key, name, readNumber(given[key], low, high, step));
    take('seed', 'seed', readNumber(given.seed, 0, 2 ** 32 - 1, 1));
    take('model', 'model', model.get('models').includes(given.model) ? given.model : undefined);
    take('pts', 'examples', given.pts && readExamples(given.pts));
    take('hide', 'hidden', new Set((given.hide ?? '').split('_').filter((name) => name in LINES)));
    if (state.examples && state.examples.length < state.n_examples) extend(state.n_examples);
  }

  // ---- the function and its examples ----

  const truth = (x) =>
    state.weight * state.slope * x +
    (1 - state.weight) * state.amplitude * Math.sin(state.frequency * x + state.phase * Math.PI);

  /** The list of examples, made explicit and at least `count` long: new ones continue the seed's inputs. */
  function extend(count) {
    const list = state.examples ?? [];
    let next = list.reduce((most, item) => (typeof item === 'number' ? Math.max(most, item) : most), -1) + 1;
    while (list.length < count) list.push(next++);
    state.examples = list;
    return list;
  }
  const item = (i) => (state.examples ? state.examples[i] : i);
  const byHand = (i) => typeof item(i) !== 'number';
  function point(i) {
    const entry = item(i);
    if (typeof entry !== 'number') return entry;
    if (entry >= inputs.length) inputs = drawInputs(state.seed, entry + MOST);
    return [inputs[entry], truth(inputs[entry])];
  }
  const prompt = () => Array.from({ length: state.n_examples }, (_, i) => point(i));

  function place(i, x, y) {
    extend(state.n_examples)[i] = [snap(clamp(x, -REACH, REACH), 0.01), snap(clamp(y, -top, top), 0.01)];
    changed();
  }
  function add(place) {
    if (state.n_examples >= MOST) {
      say(`The model has positions for ${MOST} examples and a query; remove one first.`);
      return;
    }
    const i = state.n_examples;
    if (state.examples || place) {
      extend(i);
      if (place) state.examples.splice(i, 0, place);
      state.examples.length = Math.min(state.examples.length, MOST);
      extend(i + 1);
    }
    state.n_examples = i + 1;
    selected = i;
    controls.n_examples.set(i + 1);
    changed();
  }
  /** Remove example i; by keyboard or button the next one is then selected, so that several can go in a row. */
  function remove(i, selectNext) {
    if (i < 0 || i >= state.n_examples) return;
    const focused = selectNext && points[i] === document.activeElement;
    extend(state.n_examples).splice(i, 1);
    state.n_examples -= 1;
    controls.n_examples.set(state.n_examples);
    selected = selectNext ? Math.min(i, state.n_examples - 1) : -1;
    changed();
    if (focused) (points[selected] ?? addButton).focus();
    say('Example removed.');
  }

  // ---- the plot ----

  const paths = Object.fromEntries(
    ['oracle', 'truth', 'mixture', 'transformer'].map((name) => [name, s('path', { class: `icl-line icl-${name}` })]),
  );
  const hill = s('path', {
    class: 'icl-density',
    d: `M0 400${curvePath(FINE, FINE.map((x) => -1 + 0.24 * Math.exp((-x * x) / 2)), REACH, 1).replace('M', 'L')}L600 400Z`,
  });
  const box = { viewBox: '0 0 600 400', preserveAspectRatio: 'none', width: '100%', height: '100%', 'aria-hidden': 'true' };
  const xTicks = [-2, -1, 0, 1, 2].map((x) => {
    const at = `${(x / REACH + 1) * 50}%`;
    return s('g', {}, s('line', { x1: at, x2: at, y1: '0', y2: '100%' }), s('text', { x: at, y: '100%', dy: -6 }, minus(`${x}`)));
  });
  const grid = s('g', { class: 'icl-grid', 'aria-hidden': 'true' });
  const yTicks = s('g', { class: 'icl-grid', 'aria-hidden': 'true' });
  const yNames = s('g', { class: 'icl-values', 'aria-hidden': 'true' }); // above the lines, which would strike them out
  grid.append(...xTicks, s('text', { x: '100%', y: '100%', dx: -12, dy: -6 }, s('tspan', { 'font-style': 'italic' }, 'x')));
  const dots = s('g', { role: 'group', 'aria-label': 'In-context examples' });
  const hint = h('p', { class: 'icl-hint', id: fresh('hint') });
  const plot = s(
    'svg',
    { class: 'icl-plot', role: 'group', 'aria-label': 'Curves over x from −3 to 3', 'aria-describedby': hint.id },
    s('svg', box, hill),
    grid,
    yTicks,
    s('svg', box, ...Object.values(paths)),
    yNames,
    dots,
  );
  const points = Array.from({ length: MOST }, (_, i) => {
    const hit = s('circle', { class: 'icl-hit' });
    const ring = s('circle', { class: 'icl-ring', r: 10 });
    const dot = s('circle', { class: 'icl-dot', r: 4.5 });
    const g = s('g', { class: 'icl-point', role: 'button', tabindex: -1 }, hit, ring, dot);
    g.index = i;
    g.circles = [hit, ring, dot];
    g.addEventListener('focus', () => select(i));
    return g;
  });

  function drawGrid() {
    const most = Math.max(Math.abs(state.slope) * REACH, state.amplitude, ...prompt().map(([, y]) => Math.abs(y)), 0);
    const next = [2, 3, 4, 6, 8, 10].find((limit) => limit >= most) ?? Math.ceil(most);
    if (drag || (next === top && yTicks.childNodes.length)) return; // the scale rests while a finger holds a point
    top = next;
    const step = top <= 3 ? 1 : top <= 6 ? 2 : top <= 10 ? 4 : Math.ceil(top / 3);
    const [ticks, names] = [[], []];
    for (let y = -Math.floor((top - 0.01) / step) * step; y < top; y += step) {
      const at = `${(1 - y / top) * 50}%`;
      ticks.push(s('line', { x1: '0', x2: '100%', y1: at, y2: at }));
      names.push(s('text', { x: 6, y: at, dy: -4 }, minus(`${y}`)));
    }
    yTicks.replaceChildren(...ticks);
    yNames.replaceChildren(...names);
  }

  function drawPoints() {
    const list = prompt();
    while (dots.childNodes.length > list.length) dots.lastChild.remove();
    list.forEach(([x, y], i) => {
      const g = points[i];
      const [cx, cy] = [`${((x / REACH + 1) * 50).toFixed(2)}%`, `${((1 - y / top) * 50).toFixed(2)}%`];
      for (const circle of g.circles) {
        circle.setAttribute('cx', cx);
        circle.setAttribute('cy', cy);
      }
      g.classList.toggle('by-hand', byHand(i));
      g.classList.toggle('is-selected', i === selected);
      g.setAttribute('tabindex', i === Math.max(selected, 0) ? 0 : -1);
      const where = `x ${minus(x.toFixed(2))}, y ${minus(y.toFixed(2))}`;
      g.setAttribute('aria-label', `Example ${i + 1} of ${list.length}: ${where}${byHand(i) ? ', placed by hand' : ''}`);
      if (!g.parentNode) dots.append(g);
    });
    removeButton.disabled = selected < 0;
    restoreButton.disabled = !state.examples;
    addButton.disabled = state.n_examples >= MOST;
    hint.textContent =
      selected < 0
        ? 'Drag a point. Tap the empty plot to add one; tap a point twice to remove it.'
        : `Example ${selected + 1}: drag it, or use the arrow keys (Shift: further; Page Up and Down: its neighbours; Delete: remove it).`;
  }

  function drawTruth() {
    paths.truth.setAttribute('d', curvePath(FINE, FINE.map(truth), REACH, top));
  }

  function drawLines() {
    if (!reply) return;
    for (const name of COMPUTED) paths[name].setAttribute('d', curvePath(QUERIES, reply[name], REACH, top));
  }

  /** Everything that follows the sliders at once, before any engine answers. */
  function drawLocal() {
    drawGrid();
    drawTruth();
    drawPoints();
    for (const name in LINES) {
      const off = state.hidden.has(name);
      paths[name].style.display = off ? 'none' : '';
      rows[name].toggle.checked = !off;
    }
    rows.transformer.about.textContent = modelLabel(state.model);
    const outside = state.frequency < BAND[0] || state.frequency > BAND[1];
    controls.frequency.root.classList.toggle('is-outside', outside);
    ignorance(QUERIES.reduce((sum, x, i) => sum + DENSITY[i] * truth(x) ** 2, 0));
  }

  // ---- the legend, with each line's error, and the posterior ----

  const place01 = (error) => clamp((Math.log10(error) + 7) / 8, 0, 1); // bars run from 10⁻⁷ to 10
  const rows = {};
  for (const [name, { name: label, note }] of Object.entries(LINES)) {
    const toggle = h('input', { type: 'checkbox', checked: true });
    toggle.addEventListener('change', () => {
      if (toggle.checked) state.hidden.delete(name);
      else state.hidden.add(name);
      drawLocal();
      share();
    });
    const sample = s('svg', { class: 'icl-sample', 'aria-hidden': 'true' });
    sample.append(s('path', { class: `icl-line icl-${name}`, d: 'M1 4H23' }));
    const value = h('span', {}, '–');
    const bar = h('div', { class: `icl-bar icl-${name}` });
    const about = h('small', {}, note);
    const head = h('th', { scope: 'row' }, h('label', {}, toggle, sample, h('span', {}, label, about)));
    const error = name === 'truth' ? h('td', {}) : h('td', {}, value, h('div', { class: 'icl-track' }, bar));
    rows[name] = { toggle, about, value, bar, row: h('tr', {}, head, error) };
  }
  const zeroValue = h('span');
  const zeroRow = h(
    'tr',
    { class: 'icl-ignorance' },
    h('th', { scope: 'row' }, h('span', {}, 'Always 0', h('small', {}, 'line of ignorance'))),
    h('td', {}, zeroValue, h('div', { class: 'icl-ends', 'aria-hidden': 'true' }, h('span', {}, '10⁻⁷'), h('span', {}, '10'))),
  );
  const legend = h(
    'table',
    { class: 'icl-legend' },
    h('caption', {}, 'Mean squared error, ', it('x'), ' ~ N(0, 1)'),
    h('tbody', {}, ...Object.values(rows).map(({ row }) => row), zeroRow),
  );
  function ignorance(error) {
    zeroValue.textContent = pretty(error);
    legend.style.setProperty('--ignorance', place01(error));
  }

  const posteriors = ['line', 'sine'].map((name) => {
    const bar = h('div', { class: `icl-bar icl-class-${name}` });
    const value = h('span', { class: 'icl-error' }, '–');
    const row = h('div', { class: 'icl-posterior' }, h('span', {}, `P(${name})`), h('div', { class: 'icl-track' }, bar), value);
    return { bar, value, row };
  });
  const belief = h(
    'div',
    { class: 'icl-belief', role: 'group', 'aria-label': 'Posterior probability of each class' },
    h('p', {}, 'What exact Bayes believes'),
    ...posteriors.map(({ row }) => row),
  );

  /** No numbers rather than another function's. */
  function blankNumbers() {
    for (const { value, bar } of [...COMPUTED.map((name) => rows[name]), ...posteriors]) {
      value.textContent = '–';
      bar.style.setProperty('--share', 0);
    }
  }

  function drawNumbers(numbers) {
    for (const name of COMPUTED) {
      rows[name].value.textContent = pretty(numbers.errors[name]);
      rows[name].bar.style.setProperty('--share', place01(numbers.errors[name]));
    }
    numbers.probability.forEach((probability, k) => {
      posteriors[k].bar.style.setProperty('--share', probability);
      posteriors[k].value.textContent = probability > 0 && probability < 0.0005 ? '< 0.001' : probability.toFixed(3);
    });
  }

  // ---- asking the engine, and its answers ----

  const wanted = () => {
    const list = prompt();
    return {
      model: state.model,
      bayes: model.get('bayes'),
      weight: state.weight,
      xs: Float64Array.from(list, ([x]) => x),
      ys: Float64Array.from(list, ([, y]) => y),
      queries: QUERIES,
      truth: QUERIES.map(truth),
      asked: performance.now(),
    };
  };

  /** Either the live picture or the still one, if there is one. */
  function show(alive) {
    if (!still) return;
    still.hidden = alive;
    plot.toggleAttribute('hidden', !alive);
  }

  function changed() {
    if (!reply) blankNumbers();
    if (!reply && engine.stage !== 'failed') show(true); // truth and examples, until the lines come
    engine.ask(); // first, so that the engine computes while this draws
    drawLocal();
    drawLines();
    share();
  }

  const engine = livingEngine({
    el,
    model,
    protocol: CURVE,
    wanted,
    busy: () => root,
    answer(numbers, request, first) {
      const errors = {};
      for (const name of COMPUTED) {
        errors[name] = DENSITY.reduce((sum, weight, i) => sum + weight * (numbers[name][i] - request.truth[i]) ** 2, 0);
      }
      reply = { ...request, ...numbers, errors };
      drawLines();
      drawNumbers(reply);
      if (first) show(true);
      engine.took(`in ${Math.max(1, Math.round(numbers.milliseconds))} ms`);
      tabulate();
      el.dispatchEvent(new CustomEvent('icl-drawn', { detail: { latency: performance.now() - request.asked } }));
    },
    failed() {
      stopPlaying();
      if (reply) return 'The lines are from before.';
      show(false);
      const { weight, n_examples } = initial();
      return still ? `The figure is a still picture of a = ${weight.toFixed(2)} with ${n_examples} examples.` : '';
    },
    opened(models) {
      for (const option of chooser.options) {
        if (models.includes(option.value)) continue;
        option.disabled = true;
        option.textContent += ' (not in this book)';
      }
    },
  });
  const { say } = engine;

  // ---- the controls ----

  const sliderFor = (name, label, text, more = {}) => {
    const { low: min, high: max, step } = SLIDERS[name];
    return slider({
      label, min, max, step, value: state[name], text, ...more,
      oninput(value) {
        stopPlaying();
        state[name] = snap(value, step);
        if (name === 'n_examples') {
          if (state.examples) extend(value);
          if (selected >= value) selected = -1;
        }
        changed();
      },
    });
  };
  const two = (value) => value.toFixed(2);
  const controls = {
    weight: sliderFor('weight', ['Combination weight ', it('a')], two),
    slope: sliderFor('slope', ['Slope of the line'], two),
    frequency: sliderFor('frequency', ['Frequency ', it('ω'), ' of the sine'], (value) => value.toFixed(1), {
      band: BAND,
      spoken: (value) =>
        `${value.toFixed(1)} radians per unit, ${value < BAND[0] || value > BAND[1] ? 'outside' : 'inside'} the training band`,
    }),
    amplitude: sliderFor('amplitude', ['Amplitude of the sine'], two),
    phase: sliderFor('phase', ['Phase of the sine'], (value) => `${value.toFixed(2)} π`),
    n_examples: sliderFor('n_examples', ['In-context examples'], String),
  };
  controls.frequency.root.append(
    h('small', { class: 'icl-band-note' }, h('span', {}, 'shaded: trained on 1 to 5'), h('span', { class: 'icl-outside' }, 'outside')),
  );
  controls.weight.root.append(
    h('small', { class: 'icl-equation' }, h('span', {}, '0: the sine'), h('span', {}, it('f'), ' = ', it('a'), ' · line + (1 − ', it('a'), ') · sine'), h('span', {}, '1: the line')),
  );

  const chooserId = fresh('model');
  const chooser = h('select', { id: chooserId });
  chooser.append(...model.get('models').map((name) => h('option', { value: name }, modelLabel(name))));
  chooser.addEventListener('change', () => {
    state.model = chooser.value;
    changed();
  });

  const button = (text, onclick, more = {}) => h('button', { type: 'button', onclick, ...more }, text);
  const addButton = button('Add example', () => {
    add();
    points[selected]?.focus({ preventScroll: true });
  });
  const removeButton = button('Remove example', () => remove(selected, true), { disabled: true });
  const restoreButton = button('Put examples back', () => {
    state.examples = null;
    selected = -1;
    changed();
  });
  const another = (alsoFunction) => {
    state.seed = 1 + Math.floor(Math.random() * 99999);
    state.examples = null;
    selected = -1;
    inputs = [];
    if (alsoFunction) Object.assign(state, drawFunction(state.seed));
    showState();
    changed();
  };
  const playButton = button('Play', () => (playing ? stopPlaying() : play()), { 'aria-pressed': 'false', class: 'icl-play' });
  const drawButton = button('New draw', () => another(true), { title: 'A new line, a new sine and new inputs' });
  const inputsButton = button('New inputs', () => another(false), { title: 'The same function seen at other inputs' });
  const resetButton = button('Reset', () => {
    stopPlaying();
    Object.assign(state, initial());
    selected = -1;
    inputs = [];
    showState();
    drawLocal();
    drawLines();
    address.write(null);
    engine.ask();
  });
  const linkButton = button('Copy link', () => {
    share(0);
    copyLink(say);
  }, { hidden: !onBuiltPage() });

  function showState() {
    for (const name in controls) controls[name].set(state[name]);
    chooser.value = state.model;
  }

  // Play sweeps the weight to one end, to the other, and on. A reader who wants little motion gets a step at a time.
  let playing = 0;
  function play() {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    let direction = state.weight < 1 ? 1 : -1;
    let at = state.weight; // finer than the slider's steps
    let last = performance.now();
    playButton.textContent = 'Pause';
    playButton.setAttribute('aria-pressed', 'true');
    const frame = (now) => {
      const seconds = (now - last) / 1000;
      if (seconds >= (calm ? 1 : 0)) {
        last = now;
        at = clamp(at + direction * (calm ? 0.1 : Math.min(seconds, 0.1) / 5), 0, 1);
        if (at === 0 || at === 1) direction = -direction;
        if (snap(at, 0.01) !== state.weight) {
          state.weight = snap(at, 0.01);
          controls.weight.set(state.weight);
          engine.ask();
          drawLocal();
        }
      }
      playing = requestAnimationFrame(frame);
    };
    playing = requestAnimationFrame(frame);
  }
  function stopPlaying() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = 0;
    playButton.textContent = 'Play';
    playButton.setAttribute('aria-pressed', 'false');
    share();
  }

  // ---- moving the examples ----

  function select(i) {
    if (i === selected) return;
    selected = i;
    drawPoints();
  }
  const atPointer = ({ clientX, clientY }) => {
    const { left, top: up, width, height } = plot.getBoundingClientRect();
    return [((clientX - left) / width) * 2 * REACH - REACH, top - ((clientY - up) / height) * 2 * top, width, height];
  };
  /** The example nearest to the pointer: targets of a finger's size overlap, and the uppermost need not be the one meant. */
  function nearest(event) {
    const [x, y, width, height] = atPointer(event);
    const distance = ([px, py]) => Math.hypot(((px - x) / (2 * REACH)) * width, ((py - y) / (2 * top)) * height);
    const distances = prompt().map(distance);
    const best = distances.indexOf(Math.min(...distances));
    return distances[best] <= (event.pointerType === 'mouse' ? 11 : 24) ? best : -1;
  }
  function follow(event, { index, grip }) {
    if (index < 0) return;
    const [x, y] = atPointer(event);
    place(index, x + grip[0], y + grip[1]);
  }
  let lastTap = { index: -1, time: 0 };
  plot.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || drag) return;
    const index = nearest(event);
    drag = { index, pointer: event.pointerId, from: [event.clientX, event.clientY], moved: false };
    if (index < 0) return;
    const [x, y] = atPointer(event);
    const [px, py] = point(index);
    drag.grip = [px - x, py - y]; // the point keeps its place under the finger
    event.preventDefault();
    plot.setPointerCapture(event.pointerId);
    select(index);
    points[index].focus({ preventScroll: true, focusVisible: false });
  });
  plot.addEventListener('pointermove', (event) => {
    if (drag?.pointer !== event.pointerId) return;
    const [x, y] = drag.from;
    if (!drag.moved && Math.hypot(event.clientX - x, event.clientY - y) < 4) return;
    drag.moved = true;
    follow(event, drag);
  });
  plot.addEventListener('pointerup', (event) => {
    if (drag?.pointer !== event.pointerId) return;
    const { index, moved, grip } = drag;
    drag = null;
    if (moved) {
      follow(event, { index, grip });
      drawLocal(); // the scale may move again
      drawLines();
    } else if (index < 0) {
      const [x, y] = atPointer(event);
      add([snap(clamp(x, -REACH, REACH), 0.01), snap(clamp(y, -top, top), 0.01)]);
      lastTap = { index: -1, time: 0 };
    } else if (lastTap.index === index && event.timeStamp - lastTap.time < 400) {
      remove(index);
      lastTap = { index: -1, time: 0 };
    } else lastTap = { index, time: event.timeStamp };
  });
  // A finger on a point drags it and does not scroll the page; touch-action cannot say so for a part of an SVG.
  const hold = (event) => {
    if (drag?.index >= 0) event.preventDefault();
  };
  for (const type of ['touchstart', 'touchmove']) plot.addEventListener(type, hold, { passive: false });
  plot.addEventListener('pointercancel', () => (drag = null)); // the finger scrolls the page
  plot.addEventListener('keydown', (event) => {
    const i = points.indexOf(document.activeElement);
    if (i < 0) return;
    const [x, y] = point(i);
    const far = event.shiftKey ? 0.5 : 0.05;
    const neighbour = (way) => {
      const order = prompt().map((p, k) => [p[0], k]).sort((a, b) => a[0] - b[0]).map(([, k]) => k);
      points[order[(order.indexOf(i) + way + order.length) % order.length]].focus();
    };
    const actions = {
      ArrowLeft: () => place(i, x - far, y),
      ArrowRight: () => place(i, x + far, y),
      ArrowUp: () => place(i, x, y + far),
      ArrowDown: () => place(i, x, y - far),
      PageUp: () => neighbour(-1),
      PageDown: () => neighbour(1),
      Delete: () => remove(i, true),
      Backspace: () => remove(i, true),
    };
    if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  });

  // ---- the numbers, for who wants them ----

  const COLUMNS = ['x', 'truth', ...COMPUTED];
  const cells = h('tbody');
  const table = h(
    'details',
    { class: 'icl-numbers' },
    h('summary', {}, 'The numbers'),
    h(
      'div',
      { class: 'icl-actions' },
      button('Curves as CSV', () => downloadTable('curves.csv', [COLUMNS, ...curves()])),
      button('Examples as CSV', () => downloadTable('examples.csv', [['x', 'y'], ...(reply ? Array.from(reply.xs, (x, i) => [x, reply.ys[i]]) : [])])),
    ),
    h(
      'div',
      { class: 'icl-scroll', tabindex: 0, role: 'group', 'aria-label': 'Table of the curves' },
      h('table', {}, h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', { scope: 'col' }, LINES[name]?.name ?? name)))), cells),
    ),
  );
  const curves = () => (reply ? Array.from(QUERIES, (x, i) => [x, ...COLUMNS.slice(1).map((name) => reply[name][i])]) : []);
  let tableTimer;
  function tabulate() {
    clearTimeout(tableTimer);
    if (!table.open) return;
    tableTimer = setTimeout(() => {
      cells.replaceChildren(...curves().map((line) => h('tr', {}, ...line.map((value) => h('td', {}, minus(value.toFixed(4)))))));
    }, 150);
  }
  table.addEventListener('toggle', tabulate);

  // ---- putting it together ----

  const more = [
    h(
      'div',
      { class: 'icl-controls' },
      ...['slope', 'frequency', 'amplitude', 'phase', 'n_examples'].map((name) => controls[name].root),
      h('div', { class: 'icl-choice' }, h('label', { for: chooserId }, 'Transformer pretrained on'), chooser),
    ),
    h('div', { class: 'icl-actions' }, addButton, removeButton, restoreButton, inputsButton),
  ];
  const actions = h('div', { class: 'icl-actions icl-first' }, playButton, drawButton, resetButton, linkButton);
  const compact = model.get('compact');
  const stillSlot = h('div', { class: 'icl-stage' }, plot);
  const root = h(
    'div',
    { class: 'icl-widget icl-explorer', role: 'group', 'aria-label': 'Explorer of convex combinations' },
    h(
      'div',
      { class: 'icl-body' },
      h('div', { class: 'icl-left' }, stillSlot, hint, controls.weight.root, actions),
      h('div', { class: 'icl-right' }, legend, belief),
      engine.line,
      compact
        ? h('details', { class: 'icl-more' }, h('summary', {}, 'More controls'), h('div', {}, ...more, table))
        : h('div', { class: 'icl-more' }, ...more, table),
    ),
  );
  el.append(root);
  let still;
  const stopLooking = onceConnected(el, () => {
    still = findStill(el);
    show(engine.stage === 'live');
    if (still) stillSlot.prepend(still); // where the live picture will be, so that nothing moves when it comes
  });

  showState();
  drawLocal();
  const first = model.get('first');
  if (first?.errors && !shared) drawNumbers(first);
  if (unread.length) say(`This link could not be read in full (${unread.join(', ')}); the rest of its view is shown.`);
  engine.begin(shared);

  const takeTraits = () => {
    Object.assign(state, initial(), { hidden: state.hidden });
    selected = -1;
    inputs = [];
    showState();
    drawLocal();
    engine.ask();
  };
  const followed = [...Object.keys(SLIDERS), 'seed', 'model'].map((name) => `change:${name}`);
  for (const name of followed) model.on(name, takeTraits);

  /** For tests and for curious readers at the console: the state, and the latest numbers with what they answer. */
  el.icl = {
    get state() {
      return { ...state, hidden: [...state.hidden], prompt: prompt(), selected, stage: engine.stage };
    },
    get numbers() {
      return reply;
    },
  };

  return () => {
    stopLooking();
    stopPlaying();
    clearTimeout(tableTimer);
    address.close();
    engine.close();
    for (const name of followed) model.off(name, takeTraits);
  };
}

export default { render };
