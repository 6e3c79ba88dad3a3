/* The frequency explorer: a sine whose frequency runs through a model's training band and out of it, live, and below it the
   error against frequency that the chapter has measured.

   This file says what is drawn (plot.js draws the curves). What the lines are is computed by an engine (shared.js), from the
   torch code of icl_lib: in the running kernel, or in the browser. */

const INTERVALS = 256; // between the queries: 13 queries to a period of the fastest sine
const [FLOOR, CEILING] = [1e-6, 10]; // of the strip's error axis

/** Numbers from `low` to `high` by `step`, without `high`. */
const steps = (low, high, step) => Array.from({ length: Math.round((high - low) / step) }, (_, i) => snap(low + i * step, 0.01));

/* The name is the trait's, the key in the address is short; a slider with `values` is logarithmic. */
const SLIDERS = {
  frequency: { key: 'freq', low: 0.1, high: 20, step: 0.01, values: [...steps(0.1, 1, 0.01), ...steps(1, 5, 0.05), ...steps(5, 10, 0.1), ...steps(10, 20, 0.2), 20] },
  amplitude: { key: 'amp', low: 0, high: 10, step: 0.05 },
  phase: { key: 'phase', low: -1, high: 1, step: 0.05 },
  scale: { key: 'scale', low: 0.33, high: 3, step: 0.01, values: [0.33, ...steps(0.35, 1, 0.05), ...steps(1, 3, 0.1), 3] },
  n_examples: { key: 'n', low: 0, high: MOST, step: 1 },
};

/* In the order of the legend; `look` is the class that gives colour and line style. */
const LINES = {
  truth: { name: 'Truth', note: 'the sine f' },
  transformer: { name: 'Transformer', note: '' }, // which one, said in words
  mixture: { name: 'Exact Bayes', note: 'its training prior' },
  linear: { name: 'Best linear', note: 'knows the covariance' },
  right: { name: 'Bayes, right band', note: '', look: 'oracle' },
};
const COMPUTED = ['transformer', 'mixture', 'linear', 'right'];
const LOOKS = { right: 'oracle', linear: 'linear', truth: 'truth', mixture: 'mixture', transformer: 'transformer' };

const BAND = { kind: 'band', settings: ['model', 'bayes', 'right', 'doubt', 'prior'], asks: ['xs', 'ys', 'queries'], answers: [...COMPUTED, 'probability'] };

/** Amplitude and phase of a sine drawn from its class, as far as the sliders reach and to their steps. */
function drawSine(seed) {
  const uniform = uniforms(seed ^ 0x9e3779b9);
  const [sine, cosine] = [normal(uniform), normal(uniform)];
  return { amplitude: snap(Math.hypot(sine, cosine), SLIDERS.amplitude.step), phase: snap(Math.atan2(cosine, sine) / Math.PI, SLIDERS.phase.step) };
}

/** The error of each predictor against frequency, on log axes, over [low, high]: numbers that were computed beforehand.

    `picked(frequency)` is called where the reader points. */
function errorStrip({ low, high, picked }) {
  const across = (frequency) => Math.log(frequency / low) / Math.log(high / low);
  const down = (error) => Math.log(CEILING / clamp(error, FLOOR, CEILING)) / Math.log(CEILING / FLOOR);
  const percent = (part) => `${(100 * part).toFixed(3)}%`;
  const line = (at) => s('line', at);

  const order = Object.entries(LOOKS).filter(([name]) => name !== 'truth');
  const paths = Object.fromEntries(order.map(([name, look]) => [name, s('path', { class: `icl-line icl-${look}` })]));
  const bands = s('g');
  const marker = line({ class: 'icl-marker', y1: 0, y2: '100%' });
  const dot = s('circle', { class: 'icl-here', r: 5 });
  const upright = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20].filter((frequency) => frequency >= low && frequency <= high).map((frequency) => {
    const x = percent(across(frequency));
    const anchor = frequency === low ? 'start' : frequency === high ? 'end' : 'middle';
    return s('g', {}, line({ x1: x, x2: x, y1: 0, y2: '100%' }), s('text', { x, y: '100%', dy: 14, style: `text-anchor: ${anchor}` }, `${frequency}`));
  });
  const named = [[1, '1: always 0'], [1e-2, '0.01'], [1e-4, '10⁻⁴']];
  const levels = named.map(([error]) => line({ x1: 0, x2: '100%', y1: percent(down(error)), y2: percent(down(error)) }));
  const names = named.map(([error, words]) => s('text', { x: 2, y: percent(down(error)), dy: -4 }, words));
  const empty = s('text', { class: 'icl-empty', x: '50%', y: '32%' }, 'No error curve was computed for this model.');
  const plot = s(
    'svg',
    { class: 'icl-strip', role: 'img' },
    s('svg', BOX, bands),
    s('g', { class: 'icl-grid', 'aria-hidden': 'true' }, ...upright, ...levels),
    marker,
    s('svg', BOX, ...order.map(([name]) => paths[name])),
    s('g', { class: 'icl-values', 'aria-hidden': 'true' }, ...names),
    dot,
    empty,
  );
  const caption = h('p', { class: 'icl-axis-name' });

  /** A click or a drag goes to the frequency there. */
  const pick = (event) => {
    const { left, width } = plot.getBoundingClientRect();
    picked(low * (high / low) ** clamp((event.clientX - left) / width, 0, 1));
  };
  const area = h('div', { class: 'icl-strip-area' }, plot);
  area.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    if (event.pointerType === 'mouse') area.setPointerCapture(event.pointerId); // a finger may yet scroll the page
    pick(event);
  });
  area.addEventListener('pointermove', (event) => event.buttons === 1 && pick(event));

  /** The value of a curve between its frequencies, straight on log axes; null outside them. */
  function between(frequencies, errors, frequency) {
    const k = frequencies.findIndex((one) => one >= frequency);
    if (k < 0 || (k === 0 && frequencies[0] > frequency)) return null;
    if (k === 0) return errors[0];
    const part = Math.log(frequency / frequencies[k - 1]) / Math.log(frequencies[k] / frequencies[k - 1]);
    const log = (error) => Math.log(Math.max(error, FLOOR / 10));
    return Math.exp(log(errors[k - 1]) * (1 - part) + log(errors[k]) * part);
  }

  return {
    root: h('div', { class: 'icl-strip-figure' }, area, caption),
    /** `curves` {frequencies, n_examples, transformer, mixture, linear, right} or undefined; `shaded` [[low, high, rare]]. */
    draw({ curves, shaded, frequency, count, hidden }) {
      bands.replaceChildren(
        ...shaded.map(([from, to, faint]) => s('rect', { class: faint ? 'icl-rare' : 'icl-band', x: 600 * across(from), width: 600 * (across(to) - across(from)), y: 0, height: 400 })),
      );
      const at = percent(across(frequency));
      for (const end of ['x1', 'x2']) marker.setAttribute(end, at);
      empty.toggleAttribute('hidden', Boolean(curves));
      let here = null;
      let row = 0;
      if (curves) {
        const distance = (k) => Math.abs(curves.n_examples[k] - count);
        row = curves.n_examples.reduce((best, _, k) => (distance(k) < distance(best) ? k : best), 0);
        here = between(curves.frequencies, curves.transformer[row], frequency);
      }
      for (const [name] of order) {
        const steps = curves?.[name][row].map((error, k) => `${(600 * across(curves.frequencies[k])).toFixed(1)} ${(400 * down(error)).toFixed(1)}`);
        paths[name].setAttribute('d', steps ? `M${steps.join('L')}` : '');
        paths[name].style.display = hidden.has(name) ? 'none' : '';
      }
      dot.toggleAttribute('hidden', here === null || hidden.has('transformer'));
      if (here !== null) {
        dot.setAttribute('cx', at);
        dot.setAttribute('cy', percent(down(here)));
      }
      const examples = curves ? `${curves.n_examples[row]} examples` : '';
      const told = here === null ? '' : ` At ${frequency} the transformer’s is ${pretty(here)}.`;
      caption.textContent = curves
        ? `Mean squared error over many random sines of each frequency, as a share of their mean square, after ${examples}, computed beforehand.${told}`
        : 'Point at a frequency to go there.';
      plot.setAttribute('aria-label', curves ? `Mean squared error against frequency, on log axes, ${examples}.${told}` : empty.textContent);
    },
  };
}

function render({ model, el }) {
  if (tooOld(el)) return;
  const initial = () => ({
    ...Object.fromEntries(Object.keys(SLIDERS).map((name) => [name, model.get(name)])),
    seed: model.get('seed'),
    doubt: model.get('doubt'),
    model: model.get('model'),
    examples: null,
    tour: 0,
    hidden: new Set(),
  });
  const state = initial();
  const about = Object.fromEntries(model.get('about').map((one) => [one.name, one]));
  // The reader's own: where its mixture is not known, beside exact Bayes with the prior of the model that is shown first.
  const own = { ...model.get('about')[0], name: OWN, word: 'yours', covered: null, bands: null, mixture: null, note: 'the book’s prior' };
  const books = own.classes;
  const described = (name) => about[name] ?? own;
  const [low, high] = model.get('whole');
  const widest = REACH * SLIDERS.scale.high;
  let reply = null; // the latest answer, with its request
  let round = 0; // how often the view has moved

  // ---- the view in the address ----

  const keys = [...Object.values(SLIDERS).map(({ key }) => key), 'seed', 'doubt', 'model', 'hide', 'pts', 'tour'];
  const address = addressBar(model.get('key'), keys);
  const share = (soon) => {
    const view = Object.fromEntries(Object.entries(SLIDERS).map(([name, { key }]) => [key, state[name]]));
    Object.assign(view, { seed: state.seed, model: state.model, hide: [...state.hidden].join('_') || null });
    view.doubt = state.doubt === model.get('doubt') ? null : state.doubt;
    view.pts = state.examples && writeExamples(state.examples);
    view.tour = state.tour || null;
    address.write(view, soon);
  };
  const given = address.read();
  const shared = Object.keys(given).length > 0;
  const reader = viewReader(given, state);
  const { take, unread } = reader;
  readStep(model.get('places') ?? [], given, reader, state);
  for (const [name, { key, low, high, step }] of Object.entries(SLIDERS)) take(key, name, readNumber(given[key], low, high, step));
  take('seed', 'seed', readNumber(given.seed, 0, 2 ** 32 - 1, 1));
  take('doubt', 'doubt', readDoubt(given.doubt));
  take('model', 'model', given.model in about || (given.model === OWN && onBuiltPage()) ? given.model : undefined);
  take('pts', 'examples', given.pts && readExamples(given.pts, widest));
  take('hide', 'hidden', new Set((given.hide ?? '').split('_').filter((name) => name in LINES)));

  // ---- the picture and its numbers ----

  const sine = (frequency) => (x) => state.amplitude * Math.sin(frequency * x + state.phase * Math.PI);
  const book = pictureBook({ model, state, initial, dial: 'frequency', place: Math.log });
  const truth = (x) => sine(book.at)(x);
  /** Far enough for the inputs' scale, and for what was placed by hand at a larger one. */
  const reach = () => Math.max(REACH, REACH * state.scale, ...(state.examples ?? []).map((one) => Math.abs(one[0] ?? 0)));
  const bandOf = (frequency) => (described(state.model).bands ?? []).find(([from, to]) => frequency >= from && frequency <= to);

  const view = examplesPlot({
    state,
    looks: LOOKS,
    detail: 768,
    truth,
    highest: () => state.amplitude,
    input: (x) => snap(state.scale * x, 1e-6),
    reach,
    spread: () => state.scale,
    changed,
    counted: (count) => controls.n_examples.set(count),
    say: (words) => say(words),
  });
  if (state.examples && state.examples.length < state.n_examples) view.recount(state.n_examples);
  const legend = errorLegend({
    state,
    lines: LINES,
    toggled() {
      drawLocal();
      share();
    },
  });
  legend.note('right', `prior: ${low} to ${high}`);
  const belief = posteriorBars();
  const strip = errorStrip({
    low,
    high,
    picked(frequency) {
      play.stop();
      goTo(nearestValue(frequency));
    },
  });
  const nearestValue = (frequency) =>
    SLIDERS.frequency.values.reduce((best, one) => (Math.abs(Math.log(one / frequency)) < Math.abs(Math.log(best / frequency)) ? one : best));
  function goTo(frequency) {
    if (frequency === state.frequency) return;
    state.frequency = frequency;
    controls.frequency.set(frequency);
    changed();
  }

  /** Everything that follows the sliders at once, before any engine answers. */
  function drawLocal() {
    view.draw();
    const xs = grid(reach(), INTERVALS);
    legend.draw(meanSquare(xs, xs.map(truth), null, state.scale), state.scale);
    belief.name([...described(state.model).classes, ...(state.doubt ? [['other', 'other']] : [])]);
    legend.note('mixture', state.doubt ? 'with a grain of doubt' : described(state.model).note ?? LINES.mixture.note);
    strip.draw({ curves: model.get('strip')[state.model], shaded: described(state.model).bands ?? [], frequency: state.frequency, count: state.n_examples, hidden: state.hidden });
    places.update();
    const band = bandOf(state.frequency);
    outside.textContent = band ? 'rare in training' : 'outside';
    controls.frequency.root.classList.toggle('is-outside', described(state.model).bands !== null && (!band || band[2]));
  }

  /** What follows the model. */
  function drawModel() {
    const { word, covered, bands } = described(state.model);
    legend.note('transformer', word);
    controls.frequency.shade(bands ?? []);
    shaded.textContent = bands ? `shaded: trained on ${covered}` : 'its training band is not known here';
    chooser.value = state.model;
  }

  function drawNumbers(numbers) {
    legend.show(numbers?.errors);
    belief.show(numbers?.probability);
  }

  // ---- asking the engine, and its answers ----

  const wanted = () => {
    const f = sine(state.frequency);
    const list = view.prompt(f);
    const queries = grid(reach(), INTERVALS);
    return {
      model: ownChoice.named(state.model),
      choice: state.model,
      bayes: described(state.model).prior,
      right: model.get('right'),
      doubt: state.doubt,
      prior: described(state.model).mixture ?? null,
      xs: Float64Array.from(list, ([x]) => x),
      ys: Float64Array.from(list, ([, y]) => y),
      queries,
      truth: queries.map(f),
      frequency: state.frequency,
      spread: state.scale,
      round,
      asked: performance.now(),
    };
  };

  function moved() {
    round += 1;
    engine.ask(); // first, so that the engine computes while this draws
    drawLocal();
  }
  function changed() {
    moved();
    share();
  }

  /** Shows the page for a view that differs from the first in its frequency alone, if there is one. */
  function beforehand(request) {
    const page = book.open();
    if (!page) return null;
    drawLocal();
    const [xs, ys] = [0, 1].map((k) => Float64Array.from(view.prompt(), (point) => point[k]));
    reply = { ...request, ...page, xs, ys, truth: request.queries.map(truth) };
    showReply();
    return book.at === state.frequency ? '' : `Shown: ω = ${book.at}, of ${book.count} computed beforehand.`;
  }
  function showReply() {
    view.show(reply.queries, Object.fromEntries(COMPUTED.map((name) => [name, reply[name]])));
    if (reply.choice === state.model) drawNumbers(reply); // else its classes are others
    table.update();
  }

  const engine = livingEngine({
    el,
    model,
    protocol: BAND,
    wanted,
    beforehand,
    root: () => root,
    answer(numbers, request) {
      if (book.close()) drawLocal();
      const errors = Object.fromEntries(COMPUTED.map((name) => [name, meanSquare(request.queries, numbers[name], request.truth, request.spread)]));
      const probability = request.prior ? believedIn(request.prior, numbers.probability) : Array.from(numbers.probability);
      reply = { ...request, ...numbers, probability, errors, model: request.choice };
      showReply();
      engine.took(`in ${Math.max(1, Math.round(numbers.milliseconds))} ms`);
      el.dispatchEvent(new CustomEvent('icl-drawn', { detail: { latency: performance.now() - request.asked } }));
    },
    failed() {
      play.stop();
      if (!reply || reply.round === round) return '';
      return `The faint lines are those of ω = ${reply.frequency} with ${reply.xs.length} examples.`;
    },
    opened: (models) => markMissing(chooser, [...models, OWN]),
  });
  const { say } = engine;

  // ---- the controls ----

  const sliderFor = (name, label, text, more = {}) => {
    const { low: min, high: max, step, values } = SLIDERS[name];
    return slider({
      label, min, max, step, values, value: state[name], text, ...more,
      oninput(value) {
        play.stop();
        state[name] = snap(value, step);
        if (name === 'n_examples') view.recount(value);
        changed();
      },
    });
  };
  const two = (value) => value.toFixed(2);
  const controls = {
    frequency: sliderFor('frequency', ['Frequency ', it('ω')], (value) => `${two(value)} rad/unit`, {
      spoken(value) {
        const band = bandOf(value);
        if (!described(state.model).bands) return `${value} radians per unit`;
        return `${value} radians per unit, ${!band ? 'outside the training band' : band[2] ? 'rare in training' : 'inside the training band'}`;
      },
    }),
    amplitude: sliderFor('amplitude', ['Amplitude'], two),
    phase: sliderFor('phase', ['Phase'], (value) => `${two(value)} π`),
    scale: sliderFor('scale', ['Scale of the inputs'], two),
    n_examples: sliderFor('n_examples', ['In-context examples'], String),
  };
  const [shaded, outside] = [h('span'), h('span', { class: 'icl-outside' })];
  controls.frequency.root.append(h('small', { class: 'icl-band-note' }, shaded, outside));

  controls.doubt = doubtSlider({
    value: state.doubt,
    oninput(doubt) {
      play.stop();
      state.doubt = doubt;
      changed();
    },
  });

  const chooserId = fresh('model');
  const chooser = h('select', { id: chooserId }, ...Object.values(about).map(({ name, label }) => h('option', { value: name }, label)));
  chooser.addEventListener('change', () => {
    state.model = chooser.value;
    drawModel();
    showState();
    changed();
  });

  const another = (alsoFunction) => {
    state.seed = 1 + Math.floor(Math.random() * 99999);
    state.examples = null;
    view.unselect();
    if (alsoFunction) Object.assign(state, drawSine(state.seed));
    showState();
    changed();
  };
  const play = sweeper({
    seconds: 12,
    at: () => Math.log(state.frequency / low) / Math.log(high / low),
    move: (at) => goTo(nearestValue(low * (high / low) ** at)),
    stopped: share,
  });
  function moveTo(changes) {
    play.stop();
    Object.assign(state, initial(), { hidden: state.hidden }, changes);
    view.unselect();
    drawModel();
    showState();
    changed();
  }
  const places = guide({ places: model.get('places') ?? [], state, moveTo, share });
  const drawButton = button('New draw', () => another(true), { title: 'Another amplitude, phase and inputs; the frequency stays' });
  const inputsButton = button('New inputs', () => another(false), { title: 'The same sine seen at other inputs' });
  const resetButton = button('Reset', () => {
    play.stop();
    Object.assign(state, initial());
    view.unselect();
    drawModel();
    showState();
    moved();
    address.write(null);
  });
  const { link, alone } = sharing({ name: 'frequency', title: 'Explorer of frequencies', root: () => root, address, share, say });

  function showState() {
    for (const name in controls) controls[name].set(state[name]);
  }

  const COLUMNS = ['truth', ...COMPUTED];
  const table = numbersTable({
    columns: { x: 'x', ...Object.fromEntries(COLUMNS.map((name) => [name, LINES[name].name])) },
    curves: () => (reply ? Array.from(reply.queries, (x, i) => [x, ...COLUMNS.map((name) => reply[name][i])]) : []),
    examples: () => (reply ? Array.from(reply.xs, (x, i) => [x, reply.ys[i]]) : []),
  });

  // ---- putting it together ----

  const more = [
    h('div', { class: 'icl-controls' }, ...['amplitude', 'phase', 'scale', 'n_examples'].map((name) => controls[name].root)),
    h('div', { class: 'icl-actions' }, ...view.buttons, inputsButton),
  ];
  const actions = h('div', { class: 'icl-actions icl-first' }, play.button, drawButton, resetButton, link);
  const root = h(
    'div',
    { class: 'icl-widget icl-explorer icl-frequency', role: 'group', 'aria-label': 'Explorer of frequencies' },
    h(
      'div',
      { class: 'icl-body' },
      h('div', { class: 'icl-top' }, places.panel, h('div', { class: 'icl-choice' }, h('label', { for: chooserId }, 'Transformer pretrained on'), chooser)),
      h('div', { class: 'icl-left' }, view.plot, view.hint, places.root),
      h('div', { class: 'icl-main' }, controls.frequency.root, strip.root, actions),
      h('div', { class: 'icl-right' }, legend.root, belief.root, controls.doubt.root),
      engine.line,
      h('div', { class: 'icl-more' }, ...more, table.root),
    ),
  );
  engine.line.append(...alone);
  el.append(root);
  const stopLooking = replaceStill(el);
  const ownChoice = ownModels({
    chooser,
    root,
    say,
    chosen() {
      state.model = OWN;
      drawModel();
      showState();
      changed();
    },
    known({ bands = null, mixture = null }) {
      const covered = bands?.map(([from, to]) => `${from} to ${to}`).join(' and ') || 'no sines';
      Object.assign(own, { bands, covered, mixture, classes: mixture ? kindsIn(mixture) : books, note: mixture ? 'prior: its own mixture' : 'the book’s prior' });
      if (state.model === OWN) {
        drawModel();
        moved();
      }
    },
  });
  more[1].append(...ownChoice.controls);
  if (state.model === OWN) ownChoice.offer({});

  drawModel();
  showState();
  drawLocal();
  if (unread.length) say(unreadWords(unread), { stays: true });
  engine.begin(shared);

  const takeTraits = () => {
    Object.assign(state, initial(), { hidden: state.hidden });
    view.unselect();
    drawModel();
    showState();
    moved();
  };
  const followed = [...Object.keys(SLIDERS), 'seed', 'doubt', 'model'].map((name) => `change:${name}`);
  for (const name of followed) model.on(name, takeTraits);
  model.on('change:strip', drawLocal);

  /** For tests and for curious readers at the console: the state, and the latest numbers with what they answer. */
  el.icl = {
    get state() {
      return { ...state, hidden: [...state.hidden], prompt: view.prompt(sine(state.frequency)), selected: view.selected, stage: engine.stage };
    },
    get numbers() {
      return reply;
    },
  };

  return () => {
    stopLooking();
    play.stop();
    table.close();
    address.close();
    engine.close();
    for (const name of followed) model.off(name, takeTraits);
    model.off('change:strip', drawLocal);
  };
}

export default { render };
