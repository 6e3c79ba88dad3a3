/* The explorer of attention: a prompt, and how much the query attends to each of its examples, in each head of a transformer, live.

   This file says what is drawn (plot.js draws the prompt). How the heads attend, and what the transformer predicts, is computed
   by an engine (shared.js), from the torch code of icl_lib: in the running kernel, or in the browser. */

const QUERIES = grid(REACH, 96); // where the curve is told
const [SLOPE, AMPLITUDE] = [1, 1.5]; // of the line, of the sine; as in __init__.py
const NEAREST = 3; // of how many nearest examples the share is told
const ENDS = [0.1, 0.2, 0.5, 1]; // of a head's axis
const RADIUS = 22; // of the disc around an example that has all of the attention

/* lowest, highest, step; the name is the trait's, the key in the address is short */
const SLIDERS = {
  query: { key: 'x', low: -REACH, high: REACH, step: 0.05 },
  weight: { key: 'a', low: 0, high: 1, step: 0.01 },
  frequency: { key: 'freq', low: 0.2, high: 10, step: 0.1 },
  n_examples: { key: 'n', low: 0, high: MOST, step: 1 },
};
const LOOKS = { truth: 'truth', transformer: 'transformer' };
const ATTENTION = { kind: 'attention', settings: ['model'], asks: ['xs', 'ys', 'queries'], answers: ['mean', 'attention', 'shape'] };

const SHARES = { inputs: ['inputs ', it('x')], values: ['values ', it('y')], itself: ['the query itself'], nearest: [`the ${NEAREST} nearest examples`] };

/** The examples from the one nearest to the query to the farthest, as their places in the prompt. */
const byDistance = (xs, query) => Array.from(xs, (_, i) => i).sort((i, j) => Math.abs(xs[i] - query) - Math.abs(xs[j] - query) || i - j);

/** Where a head's attention goes; as shares() in __init__.py. */
function sharesOf(weights, xs, query) {
  const sum = (kept) => weights.reduce((total, weight, k) => (kept(k) ? total + weight : total), 0);
  const last = weights.length - 1;
  const near = new Set(byDistance(xs, query).slice(0, NEAREST));
  return {
    inputs: sum((k) => k < last && k % 2 === 0),
    values: sum((k) => k < last && k % 2 === 1),
    itself: weights[last],
    nearest: sum((k) => k < last && near.has(k >> 1)),
  };
}

/** What one sees of a head, in words; as reading() in __init__.py. */
function reading({ layer, head, weights, xs, query }) {
  const begin = `Block ${layer}, head ${head}`;
  if (!xs.length) return `${begin}: without an example, the query can attend to itself alone.`;
  const each = Array.from(xs, (_, i) => weights[2 * i] + weights[2 * i + 1]);
  const most = each.indexOf(Math.max(...each));
  const own = weights.at(-1);
  if (own > each[most]) return `${begin}: ${own.toFixed(2)} of its attention is on the query itself, more than on any example.`;
  const distance = (x) => Math.abs(x - query);
  const nearer = xs.filter((x) => distance(x) < distance(xs[most])).length;
  const where = nearer === 0 ? 'the nearest to the query' : nearer === 1 ? 'and 1 other is nearer to the query' : `and ${nearer} others are nearer to the query`;
  return `${begin}: ${each[most].toFixed(2)} of its attention is on the example at x = ${minus(xs[most].toFixed(2))}, ${where}.`;
}

/** The heads, a picture each, of which one is chosen: at each example's x a bar up for the attention to its input, one down for
    that to its value; at the query one for its own. `picked(layer, head)` is called when the reader chooses another. */
function headPictures(picked) {
  const name = fresh('head');
  const across = (x) => `${((x / REACH + 1) * 50).toFixed(2)}%`;
  const root = h('div', { class: 'icl-heads', role: 'radiogroup', 'aria-label': 'The heads of the transformer' });
  let pictures = [];
  const picture = (layer, head) => {
    const input = h('input', { type: 'radio', name, class: 'icl-hidden' });
    input.addEventListener('change', () => picked(layer, head));
    const [bars, end] = [s('g'), s('text', { x: 4, y: 0, dy: 12 })];
    const below = s('text', { x: 4, y: '100%', dy: -4 }, 'on y');
    const marker = s('line', { class: 'icl-marker', y1: 0, y2: '100%' });
    const svg = s('svg', { class: 'icl-head-plot', 'aria-hidden': 'true' }, s('line', { class: 'icl-axis', x1: 0, x2: '100%', y1: '50%', y2: '50%' }), marker, bars, end, below);
    const root = h('label', { class: 'icl-head' }, input, h('span', {}, `block ${layer}, head ${head}`), svg);
    return { layer, head, input, bars, end, marker, root };
  };
  return {
    root,
    /** As many as the model has. */
    make(layers, heads) {
      root.style.setProperty('--heads', heads);
      pictures = Array.from({ length: layers * heads }, (_, k) => picture(Math.floor(k / heads) + 1, (k % heads) + 1));
      root.replaceChildren(...pictures.map((one) => one.root));
    },
    choose(layer, head) {
      for (const one of pictures) {
        one.input.checked = one.layer === layer && one.head === head;
        one.root.classList.toggle('is-chosen', one.input.checked);
      }
    },
    /** `of(k)` is how the k-th head attends: to x_1, y_1, ..., and to the query itself. */
    draw(of, xs, query) {
      pictures.forEach(({ layer, head, input, bars, end, marker }, k) => {
        const weights = of(k);
        const top = ENDS.find((one) => one >= Math.max(...weights)) ?? 1;
        const bar = (x, weight, sign, own) => {
          const at = across(x);
          return s('line', { class: own ? 'icl-own' : 'icl-stem', x1: at, x2: at, y1: '50%', y2: `${(50 - (sign * 46 * weight) / top).toFixed(2)}%` });
        };
        bars.replaceChildren(
          ...Array.from(xs).flatMap((x, i) => [bar(x, weights[2 * i], 1), bar(x, weights[2 * i + 1], -1)]),
          bar(query, weights.at(-1), 1, true),
        );
        for (const side of ['x1', 'x2']) marker.setAttribute(side, across(query));
        end.textContent = `${top} on x`;
        const to = sharesOf(weights, xs, query);
        const told = Object.entries({ inputs: 'inputs', values: 'values', itself: 'itself' }).map(([key, word]) => `${word} ${to[key].toFixed(2)}`);
        input.setAttribute('aria-label', `Block ${layer}, head ${head}. Attention to ${told.join(', ')}.`);
      });
    },
  };
}

function render({ model, el }) {
  if (tooOld(el)) return;
  const names = [...Object.keys(SLIDERS), 'seed', 'layer', 'head', 'model'];
  const initial = () => ({ ...Object.fromEntries(names.map((name) => [name, model.get(name)])), examples: null, hidden: new Set() });
  const state = initial();
  let reply = null; // the latest answer, with its request
  let round = 0; // how often the view has moved

  // ---- the view in the address ----

  const address = addressBar(model.get('key'), [...Object.values(SLIDERS).map(({ key }) => key), 'seed', 'block', 'head', 'model', 'pts']);
  const share = (soon) => {
    const view = Object.fromEntries(Object.entries(SLIDERS).map(([name, { key }]) => [key, state[name]]));
    Object.assign(view, { seed: state.seed, block: state.layer, head: state.head, model: state.model });
    address.write({ ...view, pts: state.examples && writeExamples(state.examples) }, soon);
  };
  const given = address.read();
  const shared = Object.keys(given).length > 0;
  const { take, unread } = viewReader(given, state);
  for (const [name, { key, low, high, step }] of Object.entries(SLIDERS)) take(key, name, readNumber(given[key], low, high, step));
  take('seed', 'seed', readNumber(given.seed, 0, 2 ** 32 - 1, 1));
  take('block', 'layer', readNumber(given.block, 1, 99, 1));
  take('head', 'head', readNumber(given.head, 1, 99, 1));
  take('model', 'model', [...model.get('models'), ...(onBuiltPage() ? [OWN] : [])].find((name) => name === given.model));
  take('pts', 'examples', given.pts && readExamples(given.pts));

  // ---- the prompt ----

  const truth = (x) => state.weight * SLOPE * x + (1 - state.weight) * AMPLITUDE * Math.sin(state.frequency * x);
  const view = examplesPlot({
    state,
    looks: LOOKS,
    truth,
    highest: () => state.weight * SLOPE * REACH + (1 - state.weight) * AMPLITUDE,
    changed,
    counted: (count) => controls.n_examples.set(count),
    say: (words) => say(words),
  });
  if (state.examples && state.examples.length < state.n_examples) view.recount(state.n_examples);
  const discs = s('g', { class: 'icl-discs', 'aria-hidden': 'true' });
  const marker = s('line', { class: 'icl-marker', y1: 0, y2: '100%' });
  const answered = s('circle', { class: 'icl-answer', r: 6 });
  view.plot.prepend(marker, discs);
  view.plot.append(answered);
  view.plot.append(s('text', { class: 'icl-axis-name', x: 6, y: 0, dy: 14, 'aria-hidden': 'true' }, s('tspan', { 'font-style': 'italic' }, 'y')));
  const across = (x) => `${((x / REACH + 1) * 50).toFixed(2)}%`;
  const down = (y) => `${((1 - clamp(y / view.top, -20, 20)) * 50).toFixed(2)}%`;

  const pictures = headPictures((layer, head) => {
    Object.assign(state, { layer, head });
    drawHeads();
    share();
  });

  // ---- the numbers ----

  const cells = Object.fromEntries(Object.keys(SHARES).map((key) => [key, [h('td', {}, '–'), h('td', {}, '–')]]));
  const caption = h('th', { scope: 'col' });
  const table = h(
    'table',
    { class: 'icl-counts' },
    h('caption', {}, 'Share of the query’s attention'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'on'), caption, h('th', { scope: 'col' }, 'all heads'))),
    h('tbody', {}, ...Object.entries(SHARES).map(([key, words]) => h('tr', { class: `icl-at-${key}` }, h('th', { scope: 'row' }, ...words), ...cells[key]))),
  );
  const said = h('p', { class: 'icl-said' });

  /** What has been answered, or nothing: how each head attends, and at which prompt. */
  const heads = () => {
    const [layers, each] = reply.shape;
    const seen = reply.attention.length / (layers * each);
    return { layers, each, of: (k) => Array.from(reply.attention.slice(k * seen, (k + 1) * seen)) };
  };
  let made = '';
  function drawHeads() {
    if (!reply) return;
    const { layers, each, of } = heads();
    if (made !== `${layers} ${each}`) pictures.make(layers, each);
    made = `${layers} ${each}`;
    [state.layer, state.head] = [Math.min(state.layer, layers), Math.min(state.head, each)];
    const { xs, ys, query } = reply;
    pictures.draw(of, xs, query);
    pictures.choose(state.layer, state.head);
    const weights = of((state.layer - 1) * each + state.head - 1);
    discs.replaceChildren(...Array.from(xs, (x, i) => s('circle', { cx: across(x), cy: down(ys[i]), r: (RADIUS * Math.sqrt(weights[2 * i] + weights[2 * i + 1])).toFixed(2) })));
    const all = Array.from({ length: layers * each }, (_, k) => sharesOf(of(k), xs, query));
    const own = sharesOf(weights, xs, query);
    caption.textContent = `block ${state.layer}, head ${state.head}`;
    for (const [key, [one, mean]] of Object.entries(cells)) {
      one.textContent = own[key].toFixed(2);
      mean.textContent = (all.reduce((sum, part) => sum + part[key], 0) / all.length).toFixed(2);
    }
    said.textContent = reading({ ...state, weights, xs: Array.from(xs), query });
  }
  function drawAnswer() {
    if (!reply) return;
    view.show(QUERIES, { transformer: reply.mean.slice(1) });
    answered.setAttribute('cx', across(reply.query));
    answered.setAttribute('cy', down(reply.mean[0]));
    drawHeads();
  }

  /** Everything that follows the sliders at once, before any engine answers. */
  function drawLocal() {
    view.draw();
    for (const side of ['x1', 'x2']) marker.setAttribute(side, across(state.query));
    drawAnswer(); // on the scale of the moment
  }

  // ---- asking the engine, and its answers ----

  const wanted = () => {
    const list = view.prompt();
    return {
      model: own.named(state.model),
      choice: state.model,
      xs: Float64Array.from(list, ([x]) => x),
      ys: Float64Array.from(list, ([, y]) => y),
      queries: Float64Array.of(state.query, ...QUERIES),
      query: state.query,
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
  const engine = livingEngine({
    el,
    model,
    protocol: ATTENTION,
    wanted,
    root: () => root,
    answer(numbers, request) {
      reply = { ...request, ...numbers, model: request.choice };
      drawAnswer();
      engine.took(`in ${Math.max(1, Math.round(numbers.milliseconds))} ms`);
      numbersOf.update();
      el.dispatchEvent(new CustomEvent('icl-drawn', { detail: { latency: performance.now() - request.asked } }));
    },
    failed: () => (reply && reply.round !== round ? 'What is shown is of an earlier prompt.' : ''),
    opened: (models) => markMissing(chooser, [...models, OWN]),
  });
  const { say } = engine;

  // ---- the controls ----

  const sliderFor = (name, label, text, more = {}) => {
    const { low: min, high: max, step } = SLIDERS[name];
    return slider({
      label, min, max, step, value: state[name], text, ...more,
      oninput(value) {
        state[name] = snap(value, step);
        if (name === 'n_examples') view.recount(value);
        changed();
      },
    });
  };
  const two = (value) => value.toFixed(2);
  const controls = {
    query: sliderFor('query', ['The query’s place ', it('x')], two),
    weight: sliderFor('weight', ['Weight ', it('a'), ' of the line'], two),
    frequency: sliderFor('frequency', ['Frequency ', it('ω'), ' of the sine'], (value) => value.toFixed(1), { spoken: (value) => `${value.toFixed(1)} radians per unit` }),
    n_examples: sliderFor('n_examples', ['In-context examples'], String),
  };
  const chooserId = fresh('model');
  const chooser = h('select', { id: chooserId }, ...model.get('models').map((name) => h('option', { value: name }, modelLabel(name))));
  chooser.addEventListener('change', () => {
    state.model = chooser.value;
    changed();
  });
  const inputsButton = button('New inputs', () => {
    state.seed = 1 + Math.floor(Math.random() * 99999);
    state.examples = null;
    view.unselect();
    changed();
  }, { title: 'The same function seen at other inputs' });
  const resetButton = button('Reset', () => {
    Object.assign(state, initial());
    view.unselect();
    showState();
    moved();
    address.write(null);
  });
  const linkButton = button('Copy link', () => {
    share(0);
    copyLink(say);
  }, { hidden: !onBuiltPage() });
  function showState() {
    for (const name in controls) controls[name].set(state[name]);
    chooser.value = state.model;
  }

  const numbersOf = numbersTable({
    columns: { block: 'block', head: 'head', x: 'x', y: 'y', on_x: 'on x', on_y: 'on y' },
    title: 'Attention',
    curves() {
      if (!reply) return [];
      const { layers, each, of } = heads();
      return Array.from({ length: layers * each }, (_, k) => {
        const weights = of(k);
        return Array.from(reply.xs, (x, i) => [`${Math.floor(k / each) + 1}`, `${(k % each) + 1}`, x, reply.ys[i], weights[2 * i], weights[2 * i + 1]]);
      }).flat();
    },
    examples: () => (reply ? Array.from(reply.xs, (x, i) => [x, reply.ys[i]]) : []),
  });

  // ---- putting it together ----

  const sample = (kind, words) => h('span', {}, s('svg', { class: 'icl-sample', 'aria-hidden': 'true' }, kind), words);
  const line = (look) => s('path', { class: `icl-line icl-${look}`, d: 'M1 4H23' });
  const key = h(
    'p',
    { class: 'icl-key-line' },
    sample(line('truth'), 'the function'),
    sample(line('transformer'), 'the transformer, dot: at the query'),
    sample(s('circle', { class: 'icl-disc', cx: 12, cy: 4, r: 6 }), 'attention to an example, by area'),
  );
  const root = h(
    'div',
    { class: 'icl-widget icl-explorer icl-attention', role: 'group', 'aria-label': 'Explorer of attention' },
    h(
      'div',
      { class: 'icl-body' },
      h('div', { class: 'icl-left' }, view.plot, key, said, controls.query.root, view.hint),
      h('div', { class: 'icl-right' }, table, h('div', { class: 'icl-choice' }, h('label', { for: chooserId }, 'Transformer pretrained on'), chooser), controls.weight.root, controls.frequency.root, controls.n_examples.root),
      h(
        'div',
        { class: 'icl-main' },
        h('p', { class: 'icl-caption' }, 'Attention of each head, at the examples’ places ', it('x'), ': up, to their inputs; down, to their values. The dotted line is the query, the thick bar what it pays itself; the number is the axis’ end. Choose a head to see it above.'),
        pictures.root,
        h('div', { class: 'icl-actions' }, ...view.buttons, inputsButton, resetButton, linkButton),
      ),
      engine.line,
      h('div', { class: 'icl-more' }, numbersOf.root),
    ),
  );
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
  });
  root.querySelector('.icl-main > .icl-actions').append(...own.controls);
  if (state.model === OWN) own.offer({});

  showState();
  const first = model.get('first');
  if (first?.attention && !shared) reply = { ...wanted(), ...first };
  drawLocal();
  if (unread.length) say(unreadWords(unread), { stays: true });
  engine.begin(shared);

  const takeTraits = () => {
    Object.assign(state, initial());
    view.unselect();
    showState();
    moved();
  };
  const followed = names.map((name) => `change:${name}`);
  for (const name of followed) model.on(name, takeTraits);

  /** For tests and for curious readers at the console: the state, and the latest numbers with what they answer. */
  el.icl = {
    get state() {
      return { ...state, hidden: [], prompt: view.prompt(), stage: engine.stage };
    },
    get numbers() {
      return reply;
    },
  };

  return () => {
    stopLooking();
    numbersOf.close();
    address.close();
    engine.close();
    for (const name of followed) model.off(name, takeTraits);
  };
}

export default { render };
