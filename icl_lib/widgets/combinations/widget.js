/* The explorer: a convex combination of a line and a sine, a pretrained transformer, and the best possible answers, live.

   This file says what is drawn (plot.js draws it). What the lines are is computed by an engine (shared.js), from the torch code
   of icl_lib: in the running kernel, or in the browser. */

const QUERIES = grid(REACH, 96); // steps of 1/16
const BAND = [1, 5]; // frequencies of the sines seen in pretraining

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
  linear: { name: 'Best linear', note: 'knows the covariance' },
  oracle: { name: 'Oracle', note: 'knows the blend' },
};
const COMPUTED = ['transformer', 'mixture', 'linear', 'oracle'];
const LOOKS = { oracle: 'oracle', linear: 'linear', truth: 'truth', mixture: 'mixture', transformer: 'transformer' };

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

/** What one sees, in words; as reading() in __init__.py. */
function reading({ weight, probability, classes, errors }) {
  const where = weight === 0 ? 'On the sine' : weight === 1 ? 'On the line' : `At a = ${weight.toFixed(2)}`;
  const most = Math.max(...probability);
  const found = classes[probability.indexOf(most)];
  const name = found ? `a ${found[0]}` : 'something else';
  const sure = most > 0.99 ? `is certain of ${name}` : most > 0.9 ? `is nearly certain of ${name}` : 'is undecided';
  const [bayes, transformer] = [errors.mixture, errors.transformer].map((error) => pretty(error).replace('<', 'less than'));
  return `${where} exact Bayes ${sure} and errs by ${bayes}, the transformer by ${transformer}.`;
}

const CURVE = { kind: 'curve', settings: ['model', 'bayes', 'weight', 'doubt', 'prior'], asks: ['xs', 'ys', 'queries'], answers: [...COMPUTED, 'probability'] };

function render({ model, el }) {
  if (tooOld(el)) return;
  const initial = () => ({
    ...Object.fromEntries(Object.keys(SLIDERS).map((name) => [name, model.get(name)])),
    seed: model.get('seed'),
    doubt: model.get('doubt'),
    model: model.get('model'),
    examples: null,
    tour: 0,
    hidden: new Set(model.get('hidden')),
  });
  const state = initial();
  let reply = null; // the latest answer, with its request
  let round = 0; // how often the view has moved

  // ---- the view in the address ----

  const keys = [...Object.values(SLIDERS).map(({ key }) => key), 'seed', 'doubt', 'model', 'hide', 'pts', 'tour'];
  const address = addressBar(model.get('key'), keys);
  const share = (soon) => {
    const view = Object.fromEntries(Object.entries(SLIDERS).map(([name, { key }]) => [key, state[name]]));
    const [hide, atFirst] = [state.hidden, new Set(model.get('hidden'))].map((names) => [...names].sort().join('_'));
    Object.assign(view, { seed: state.seed, model: state.model, hide: hide === atFirst ? null : hide || 'none' });
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
  take('model', 'model', [...model.get('models'), ...(onBuiltPage() ? [OWN] : [])].find((name) => name === given.model));
  take('pts', 'examples', given.pts && readExamples(given.pts));
  take('hide', 'hidden', new Set((given.hide ?? '').split('_').filter((name) => name in LINES))); // of "none" none

  // ---- the picture and its numbers ----

  const combination = (weight) => (x) =>
    weight * state.slope * x +
    (1 - weight) * state.amplitude * Math.sin(state.frequency * x + state.phase * Math.PI);
  const book = pictureBook({ model, state, initial, dial: 'weight' });
  const truth = (x) => combination(book.at)(x);

  const view = examplesPlot({
    state,
    looks: LOOKS,
    truth,
    highest: () => Math.max(Math.abs(state.slope) * REACH, state.amplitude),
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
  const belief = posteriorBars();
  const said = h('p', { class: 'icl-said' });
  let [ownBands, ownMixture] = [null, null]; // of the reader's own model; null: nobody knows
  const about = () => model.get('about')?.[state.model]; // a running kernel's own model: it knows the prior
  const bands = () => (state.model === OWN ? ownBands : about() ? about().bands : [BAND]);
  /** The mixture that the model shown was pretrained on here, if that is another than the book's. */
  const prior = () => (state.model === OWN ? ownMixture : null);
  const classes = () => (prior() ? kindsIn(prior()) : about()?.classes ?? KINDS.slice(0, 2));
  const isOutside = (frequency) => bands()?.every(([low, high]) => frequency < low || frequency > high) ?? false;
  const trainedOn = h('span');
  function drawBands() {
    const words = bands()?.map(([low, high]) => `${low} to ${high}`).join(' and ');
    trainedOn.textContent = words === undefined ? 'its training band is not known here' : words ? `shaded: trained on ${words}` : 'trained on no sines';
    controls.frequency.shade(bands() ?? []);
  }

  /** Everything that follows the sliders at once, before any engine answers. */
  function drawLocal() {
    view.draw();
    legend.note('transformer', modelLabel(state.model));
    const whose = prior() || about()?.classes ? 'prior: its own mixture' : 'prior: the book’s';
    legend.note('mixture', state.doubt ? 'with a grain of doubt' : state.model === OWN || about() ? whose : LINES.mixture.note);
    legend.draw(meanSquare(QUERIES, QUERIES.map(truth)));
    belief.name([...classes(), ...(state.doubt ? [['other', 'other']] : [])]);
    controls.frequency.root.classList.toggle('is-outside', isOutside(state.frequency));
    places.update();
  }

  function drawNumbers(numbers) {
    legend.show(numbers?.errors);
    belief.show(numbers?.probability);
    said.textContent = numbers ? reading(numbers) : '';
  }

  // ---- asking the engine, and its answers ----

  const wanted = () => {
    const f = combination(state.weight);
    const list = view.prompt(f);
    return {
      model: own.named(state.model),
      choice: state.model,
      bayes: model.get('bayes'),
      weight: state.weight,
      doubt: state.doubt,
      prior: prior(),
      classes: classes(),
      xs: Float64Array.from(list, ([x]) => x),
      ys: Float64Array.from(list, ([, y]) => y),
      queries: QUERIES,
      truth: QUERIES.map(f),
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

  /** Shows the page for a view that differs from the first in its weight alone, if there is one. */
  function beforehand(request) {
    const page = book.open();
    if (!page) return null;
    drawLocal();
    const [xs, ys] = [0, 1].map((k) => Float64Array.from(view.prompt(), (point) => point[k]));
    reply = { ...request, ...page, xs, ys, truth: QUERIES.map(truth) };
    showReply();
    return book.at === state.weight ? '' : `Shown: a = ${book.at.toFixed(2)}, of ${book.count} computed beforehand.`;
  }
  function showReply() {
    view.show(QUERIES, Object.fromEntries(COMPUTED.map((name) => [name, reply[name]])));
    drawNumbers(reply);
    table.update();
  }

  const engine = livingEngine({
    el,
    model,
    protocol: CURVE,
    wanted,
    beforehand,
    root: () => root,
    answer(numbers, request) {
      if (book.close()) drawLocal();
      const errors = Object.fromEntries(COMPUTED.map((name) => [name, meanSquare(QUERIES, numbers[name], request.truth)]));
      const probability = request.prior ? believedIn(request.prior, numbers.probability) : Array.from(numbers.probability);
      reply = { ...request, ...numbers, probability, errors, model: request.choice };
      showReply();
      engine.took(`in ${Math.max(1, Math.round(numbers.milliseconds))} ms`);
      el.dispatchEvent(new CustomEvent('icl-drawn', { detail: { latency: performance.now() - request.asked } }));
    },
    failed() {
      play.stop();
      if (!reply || reply.round === round) return '';
      return `The faint lines are those of a = ${reply.weight.toFixed(2)} with ${reply.xs.length} examples.`;
    },
    opened: (models) => markMissing(chooser, [...models, OWN]),
  });
  const { say } = engine;

  // ---- the controls ----

  const sliderFor = (name, label, text, more = {}) => {
    const { low: min, high: max, step } = SLIDERS[name];
    return slider({
      label, min, max, step, value: state[name], text, ...more,
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
    weight: sliderFor('weight', ['Combination weight ', it('a')], two),
    slope: sliderFor('slope', ['Slope of the line'], two),
    frequency: sliderFor('frequency', ['Frequency ', it('ω'), ' of the sine'], (value) => value.toFixed(1), {
      band: BAND,
      spoken: (value) =>
        `${value.toFixed(1)} radians per unit${bands() ? `, ${isOutside(value) ? 'outside' : 'inside'} the training band` : ''}`,
    }),
    amplitude: sliderFor('amplitude', ['Amplitude of the sine'], two),
    phase: sliderFor('phase', ['Phase of the sine'], (value) => `${value.toFixed(2)} π`),
    n_examples: sliderFor('n_examples', ['In-context examples'], String),
  };
  controls.frequency.root.append(
    h('small', { class: 'icl-band-note' }, trainedOn, h('span', { class: 'icl-outside' }, 'outside')),
  );
  controls.weight.root.append(
    h('small', { class: 'icl-equation' }, h('span', {}, '0: the sine'), h('span', {}, it('f'), ' = ', it('a'), ' · line + (1 − ', it('a'), ') · sine'), h('span', {}, '1: the line')),
  );

  controls.doubt = doubtSlider({
    value: state.doubt,
    oninput(doubt) {
      play.stop();
      state.doubt = doubt;
      changed();
    },
  });

  const chooserId = fresh('model');
  const chooser = h('select', { id: chooserId });
  chooser.append(...model.get('models').map((name) => h('option', { value: name }, modelLabel(name))));
  chooser.addEventListener('change', () => {
    state.model = chooser.value;
    drawBands();
    changed();
  });

  const another = (alsoFunction) => {
    state.seed = 1 + Math.floor(Math.random() * 99999);
    state.examples = null;
    view.unselect();
    if (alsoFunction) Object.assign(state, drawFunction(state.seed));
    showState();
    changed();
  };
  const play = sweeper({
    seconds: 5,
    at: () => state.weight,
    move(at) {
      if (snap(at, 0.01) === state.weight) return;
      state.weight = snap(at, 0.01);
      controls.weight.set(state.weight);
      moved();
    },
    stopped: share,
  });
  function moveTo(changes) {
    play.stop();
    Object.assign(state, initial(), { hidden: state.hidden }, changes);
    view.unselect();
    showState();
    changed();
  }
  const places = guide({ places: model.get('places') ?? [], state, moveTo, share });
  const drawButton = button('New draw', () => another(true), { title: 'A new line, a new sine and new inputs' });
  const inputsButton = button('New inputs', () => another(false), { title: 'The same function seen at other inputs' });
  const resetButton = button('Reset', () => {
    play.stop();
    Object.assign(state, initial());
    view.unselect();
    showState();
    moved();
    address.write(null);
  });
  const { link, alone } = sharing({ name: 'combinations', title: 'Explorer of convex combinations', root: () => root, address, share, say, more: () => ({ hide: [...state.hidden].sort().join('_') || 'none' }) });

  function showState() {
    for (const name in controls) controls[name].set(state[name]);
    chooser.value = state.model;
    drawBands();
  }

  const COLUMNS = ['truth', ...COMPUTED];
  const table = numbersTable({
    columns: { x: 'x', ...Object.fromEntries(COLUMNS.map((name) => [name, LINES[name].name])) },
    curves: () => (reply ? Array.from(QUERIES, (x, i) => [x, ...COLUMNS.map((name) => reply[name][i])]) : []),
    examples: () => (reply ? Array.from(reply.xs, (x, i) => [x, reply.ys[i]]) : []),
  });

  // ---- putting it together ----

  const more = [
    h(
      'div',
      { class: 'icl-controls' },
      ...['slope', 'frequency', 'amplitude', 'phase', 'n_examples'].map((name) => controls[name].root),
      h('div', { class: 'icl-choice' }, h('label', { for: chooserId }, 'Transformer pretrained on'), chooser),
    ),
    h('div', { class: 'icl-actions' }, ...view.buttons, inputsButton),
  ];
  const actions = h('div', { class: 'icl-actions icl-first' }, play.button, drawButton, resetButton, link);
  const compact = model.get('compact');
  const root = h(
    'div',
    { class: 'icl-widget icl-explorer', role: 'group', 'aria-label': 'Explorer of convex combinations' },
    h(
      'div',
      { class: 'icl-body' },
      places.panel,
      h('div', { class: 'icl-left' }, view.plot, said, view.hint, controls.weight.root, actions),
      h('div', { class: 'icl-right' }, legend.root, belief.root, controls.doubt.root, places.root),
      engine.line,
      compact
        ? h('details', { class: 'icl-more' }, h('summary', {}, 'More controls'), h('div', {}, ...more, table.root))
        : h('div', { class: 'icl-more' }, ...more, table.root),
    ),
  );
  engine.line.append(...alone);
  el.append(root);
  const stopLooking = replaceStill(el);
  const own = ownModels({
    chooser,
    root,
    say,
    chosen() {
      state.model = OWN;
      showState();
      changed();
    },
    known({ bands = null, mixture = null }) {
      [ownBands, ownMixture] = [bands, mixture];
      drawBands();
      if (state.model === OWN) moved();
    },
  });
  more[1].append(...own.controls);
  if (state.model === OWN) own.offer({});

  showState();
  drawLocal();
  if (unread.length) say(unreadWords(unread), { stays: true });
  engine.begin(shared);

  const takeTraits = () => {
    Object.assign(state, initial(), { hidden: state.hidden });
    view.unselect();
    showState();
    moved();
  };
  const followed = [...Object.keys(SLIDERS), 'seed', 'doubt', 'model'].map((name) => `change:${name}`);
  for (const name of followed) model.on(name, takeTraits);

  /** For tests and for curious readers at the console: the state, and the latest numbers with what they answer. */
  el.icl = {
    get state() {
      return { ...state, hidden: [...state.hidden], prompt: view.prompt(combination(state.weight)), selected: view.selected, stage: engine.stage };
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
  };
}

export default { render };
