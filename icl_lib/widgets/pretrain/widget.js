/* Pretraining, before the reader's eyes: the mixture is set by sliders, a transformer learns it, and stands beside exact Bayes.

   The steps are taken by an engine (shared.js), some at a time: in the running kernel, or in the browser, on graphs of the torch
   code of icl_lib. This file asks for the next ones, and draws. */

const TOP = 3;
const CEILING = 1.4; // of the error's axis
const SLICE = 350; // milliseconds of steps between two pictures

const KEPT = 400; // points of a line; more would not be seen
const NAMES_APART = 6; // percent of the plot's height
const NAMED_FROM = 0.15; // of the run: before, the axis has its own words there
const PRETRAIN = { kind: 'pretrain', settings: ['run', 'size', 'seed', 'total', 'until', 'weights', 'milliseconds', 'whole'], asks: [], answers: ['step', 'errors', 'curves', 'floor', 'bayes', 'params'] };

const inWords = (step) => step.toLocaleString('en');

/** A path through [[share of the width, error]]. */
function errorPath(points) {
  const at = ([across, error]) => `${(600 * across).toFixed(1)} ${(400 * (1 - clamp(error / CEILING, 0, 1))).toFixed(1)}`;
  return points.length ? `M${points.map(at).join('L')}` : '';
}

/** The mean of each row of K × n numbers. */
const rowMeans = (numbers, rows) => {
  const n = numbers.length / rows;
  return Array.from({ length: rows }, (_, k) => numbers.slice(k * n, (k + 1) * n).reduce((sum, one) => sum + one, 0) / n);
};

/** Heights in percent, moved as little as keeps names from covering one another. */
function apart(heights) {
  const order = heights.map((_, i) => i).sort((i, j) => heights[i] - heights[j]);
  const found = [...heights];
  let lowest = NAMES_APART / 2;
  for (const i of order) lowest = (found[i] = Math.max(found[i], lowest)) + NAMES_APART;
  let highest = 100 - NAMES_APART / 2;
  for (const i of order.reverse()) highest = (found[i] = Math.min(found[i], highest)) - NAMES_APART;
  return found;
}

function render({ model, el }) {
  if (tooOld(el)) return;
  const classes = model.get('classes');
  const shown = model.get('shown');
  const examples = model.get('examples');
  const sizes = model.get('sizes');
  const offered = Object.keys(sizes).filter((size) => sizes[size].page || !onBuiltPage());
  const phone = matchMedia('(pointer: coarse)').matches;
  const initial = () => ({
    weights: [...model.get('weights')],
    seed: model.get('seed'),
    size: model.get('size'),
    total: phone ? Math.min(...model.get('totals')) : model.get('total'),
  });
  const state = { ...initial(), running: false, step: 0 };
  let run = fresh('run');
  let round = 0;
  let history = []; // of this run: {step, errors, floor}, a number for each class
  let seen = null; // the latest answer
  let mixtures = []; // of this run: [step, weights], whenever they have changed
  let lengths = []; // of this run: [step, total], likewise
  let pauseAt = Infinity; // a step
  let then = null; // what to do with the whole model, once it has come
  let asked = 0; // how many requests
  let asleep = false; // paused because nobody looks
  let lost = 0; // steps of a run that the engine took with it

  // ---- the view in the address ----

  const address = addressBar(model.get('key'), ['w', 'seed', 'size', 'steps']);
  const share = (soon) => address.write({ w: state.weights.join('_'), seed: state.seed, size: state.size === model.get('size') ? null : state.size, steps: state.total }, soon);
  const given = address.read();
  const shared = Object.keys(given).length > 0;
  const { take, unread } = viewReader(given, state);
  const readWeights = (text) => {
    const read = text.split('_').map((part) => readNumber(part, 0, 1, 0.01));
    return read.length === classes.length && read.every((w) => w !== undefined) && read.some((w) => w > 0) ? read : undefined;
  };
  if ('w' in given) take('w', 'weights', readWeights(given.w));
  take('seed', 'seed', readNumber(given.seed, 0, 2 ** 32 - 1, 1));
  take('size', 'size', offered.find((size) => size === given.size));
  take('steps', 'total', model.get('totals').find((total) => String(total) === given.steps));

  const shares = () => {
    const sum = state.weights.reduce((total, weight) => total + weight, 0);
    return state.weights.map((weight) => weight / sum);
  };

  // ---- the errors while it learns ----

  const lines = classes.map((_, k) => ({
    model: s('path', { class: `icl-line is-class-${k}` }),
    bayes: s('path', { class: `icl-line is-floor is-class-${k}` }),
    dot: s('circle', { class: `icl-now is-class-${k}`, r: 4 }),
    name: s('text', { class: 'icl-name', dy: 4, 'aria-hidden': 'true' }, classes[k]),
  }));
  const level = (error) => `${(100 * (1 - error / CEILING)).toFixed(2)}%`;
  const marks = s('g', { class: 'icl-grid' }, ...[0, 0.5, 1].map((error) => s('line', { x1: 0, x2: '100%', y1: level(error), y2: level(error) })));
  const names = s('g', { class: 'icl-values' }, ...[[0.5, '0.5'], [1, '1: always 0']].map(([error, text]) => s('text', { x: 6, y: level(error), dy: -4 }, text)));
  const ends = [h('span', {}, '0'), h('span'), h('span')];
  const plot = s('svg', { class: 'icl-plot', role: 'img' }, marks, s('svg', BOX, ...lines.flatMap(({ model: one, bayes }) => [bayes, one])), names, ...lines.map(({ dot }) => dot), ...lines.map(({ name }) => name));

  function drawErrors() {
    const all = shares();
    const across = (step) => step / state.total;
    const last = history.at(-1);
    lines.forEach(({ model: one, bayes, dot }, k) => {
      const points = (what) => history.map(({ step, [what]: errors }) => [across(step), errors[k]]);
      one.setAttribute('d', errorPath(points('errors')));
      bayes.setAttribute('d', errorPath(last ? [...points('floor'), [1, last.floor[k]]] : []));
      for (const line of [one, bayes, dot]) line.classList.toggle('is-absent', all[k] === 0);
      dot.toggleAttribute('hidden', !last);
      dot.setAttribute('cx', `${100 * across(last?.step ?? 0)}%`);
      dot.setAttribute('cy', level(clamp(last?.errors[k] ?? 0, 0, CEILING)));
    });
    // The names at the lines' ends, once these have left the axis: on their left when the lines have gone far enough.
    const reached = across(last?.step ?? 0);
    const taught = lines.flatMap(({ name }, k) => (reached > NAMED_FROM && all[k] > 0 ? [{ name, down: 100 * (1 - clamp(last.errors[k], 0, CEILING) / CEILING) }] : []));
    for (const { name } of lines) name.toggleAttribute('hidden', !taught.some((one) => one.name === name));
    apart(taught.map(({ down }) => down)).forEach((down, i) => {
      const { name } = taught[i];
      name.setAttribute('x', `${100 * reached}%`);
      name.setAttribute('y', `${down.toFixed(2)}%`);
      name.setAttribute('dx', reached > 0.5 ? -10 : 10);
      name.setAttribute('text-anchor', reached > 0.5 ? 'end' : 'start');
    });
    ends[1].textContent = inWords(state.total / 2);
    ends[2].textContent = `${inWords(state.total)} steps`;
    const spoken = history.length ? classes.map((name, k) => `${name} ${pretty(history.at(-1).errors[k])}, exact Bayes ${pretty(history.at(-1).floor[k])}`).join('; ') : 'none yet';
    plot.setAttribute('aria-label', `Errors over ${inWords(state.step)} of ${inWords(state.total)} steps, by class. Now: ${spoken}.`);
  }

  // ---- the held prompts ----

  const queries = grid(REACH, shown[0].truth.length - 1);
  const cards = shown.map(({ title, xs, ys, truth }) => {
    const dots = xs.map((x, j) => s('circle', { r: 2, cx: `${(x / REACH + 1) * 50}%`, cy: `${(1 - ys[j] / TOP) * 50}%` }));
    const paths = Object.fromEntries(['bayes', 'model'].map((who) => [who, s('path', { class: `icl-line icl-${who === 'bayes' ? 'mixture' : 'transformer'}` })]));
    const thumb = s('svg', { class: 'icl-thumb', role: 'img' }, s('svg', BOX, s('path', { class: 'icl-line icl-truth', d: curvePath(queries, truth, REACH, TOP) }), paths.bayes, paths.model), ...dots);
    const note = h('small');
    return { title, truth, paths, thumb, note, root: h('figure', { class: 'icl-card' }, thumb, h('figcaption', {}, title, ' ', note)) };
  });
  function drawCards() {
    const all = shares();
    cards.forEach(({ title, truth, paths, thumb, note }, i) => {
      const own = classes.indexOf(title);
      note.textContent = own < 0 ? 'never in the mixture' : all[own] === 0 ? 'not in the mixture' : '';
      thumb.setAttribute('aria-label', `A prompt of kind ${title}, with ${shown[i].xs.length} examples.`);
      for (const path of Object.values(paths)) path.setAttribute('d', '');
      if (!seen) return;
      const [curve, bayes] = ['curves', 'bayes'].map((who) => seen[who].slice(i * queries.length, (i + 1) * queries.length));
      paths.model.setAttribute('d', curvePath(queries, curve, REACH, TOP));
      paths.bayes.setAttribute('d', curvePath(queries, bayes, REACH, TOP));
      const [mine, best] = [curve, bayes].map((line) => pretty(meanSquare(queries, line, truth)));
      thumb.setAttribute('aria-label', `A prompt of kind ${title}, with ${shown[i].xs.length} examples. Mean squared error: transformer ${mine}, exact Bayes ${best}.`);
    });
  }

  // ---- the numbers ----

  const rows = classes.map((name, k) => {
    const [mine, best] = [h('td', {}, '–'), h('td', {}, '–')];
    return { mine, best, row: h('tr', {}, h('th', { scope: 'row' }, h('span', { class: `icl-key is-class-${k}` }), name), mine, best) };
  });
  const table = h(
    'table',
    { class: 'icl-counts' },
    h('caption', {}, `Error after ${examples} examples`),
    h('thead', {}, h('tr', {}, ...['Class', 'Transformer', 'Exact Bayes'].map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', {}, ...rows.map(({ row }) => row)),
  );
  const said = h('p', { class: 'icl-said' });

  function drawNumbers() {
    const all = shares();
    const at = (numbers, k) => numbers[(k + 1) * (numbers.length / classes.length) - 1];
    rows.forEach(({ mine, best, row }, k) => {
      row.classList.toggle('is-absent', all[k] === 0);
      mine.textContent = seen ? pretty(at(seen.errors, k)) : '–';
      best.textContent = seen ? pretty(at(seen.floor, k)) : '–';
    });
    said.textContent = '';
    if (!seen) return;
    const taught = classes.map((name, k) => [name, k]).filter(([, k]) => all[k] > 0);
    const parts = taught.map(([name, k]) => `${pretty(at(seen.errors, k))} on a ${name}`);
    const when = state.step === 0 ? 'Not trained at all' : `After ${inWords(state.step)} of ${inWords(state.total)} steps`;
    said.textContent = `${when}, it errs by ${parts.join(', ').replace(/, ([^,]*)$/, ' and $1')}, given ${examples} examples.`;
  }

  const draw = () => {
    drawErrors();
    drawCards();
    drawNumbers();
    sliders.forEach(({ set }, k) => set(state.weights[k]));
    const done = state.step >= state.total;
    start.textContent = state.running ? 'Pause' : done ? 'Pretrained' : state.step > 0 ? 'Continue' : 'Pretrain';
    start.setAttribute('aria-disabled', String(done)); // and not disabled, which would take the focus from it
    for (const one of [keep, saveFile]) one.disabled = state.step === 0 || state.running || then !== null;
    again.disabled = state.step === 0 && !state.running;
    chooser.value = state.total;
    sizeChooser.value = state.size;
    for (const one of [chooser, sizeChooser]) one.disabled = state.running;
    for (const option of chooser.options) option.disabled = state.step > 0 && Number(option.value) <= state.step;
  };

  function takeIn(numbers) {
    seen = numbers;
    state.step = numbers.step[0];
    const point = { step: state.step, errors: rowMeans(numbers.errors, classes.length), floor: rowMeans(numbers.floor, classes.length) };
    if (history.at(-1)?.step === point.step) history.pop();
    history.push(point);
    if (history.length > KEPT) history = history.filter((_, i) => i % 2 === 0 || i === history.length - 1);
  }

  // ---- the engine ----

  const until = () => Math.min(state.total, pauseAt);
  const wanted = () => ({ run, size: state.size, seed: state.seed, total: state.total, until: until(), weights: shares(), milliseconds: state.running ? SLICE : 0, whole: then !== null, round, serial: asked });
  const send = () => {
    asked += 1;
    engine.ask();
  };
  /** No run: as before the first step. */
  function forget() {
    state.running = false;
    run = fresh('run');
    [history, mixtures, lengths, seen, then] = [[], [], [], null, null];
    state.step = 0;
    taken.hidden = true;
  }
  const engine = livingEngine({
    el,
    model,
    protocol: PRETRAIN,
    wanted,
    root: () => root,
    answer(numbers, request) {
      if (request.run !== run) return; // started again meanwhile: that was asked for
      lost = 0;
      if (numbers.step[0] > state.step && mixtures.at(-1)?.[1].join() !== request.weights.join()) mixtures.push([state.step, request.weights]);
      if (numbers.step[0] > state.step && lengths.at(-1)?.[1] !== request.total) lengths.push([state.step, request.total]);
      takeIn(numbers);
      if (request.whole && then) {
        then(numbers.params, { size: request.size, seed: request.seed, total: request.total, step: state.step, mixtures: [...mixtures], lengths: [...lengths] });
        then = null;
      }
      const ended = state.running && state.step >= until();
      if (ended) state.running = false;
      draw();
      if (ended) say(said.textContent, { stays: true });
      if (state.running && request.serial === asked) send(); // else a newer request is on its way
      el.dispatchEvent(new CustomEvent('icl-drawn', { detail: { step: state.step } }));
    },
    failed() {
      lost ||= state.step;
      asleep = false;
      forget();
      draw();
      return lost ? `The run was lost after ${inWords(lost)} steps. Press Try again, then Pretrain.` : '';
    },
    opened() {},
    invitation: 'Press Pretrain.',
  });
  const { say } = engine;

  function ask() {
    round += 1;
    send();
    draw();
  }
  function anew() {
    forget();
    ask();
  }
  const start = button('Pretrain', () => {
    if (state.step >= state.total) return;
    if (engine.stage === 'failed') {
      say('Press Try again first.');
      return;
    }
    state.running = !state.running;
    send(); // on pausing too: a request that waits its turn is then for no more steps
    if (state.running) {
      if (phone && state.step === 0) say('The processor works hard for a minute or more: mind the battery. Fewer steps cost less.', { stays: true });
    }
    draw();
  }, { class: 'icl-play' });
  const again = button('Start again', anew, { title: 'The same seed: the same first weights, and the same prompts' });
  const another = button('Another seed', () => {
    state.seed = 1 + Math.floor(Math.random() * 99999);
    share();
    anew();
  });
  const reset = button('Reset', () => {
    Object.assign(state, initial());
    anew();
    address.write(null);
  });
  const link = button('Copy link', async () => {
    share(0);
    await copyLink(say);
    if (mixtures.length > 1 || lengths.length > 1) say('Link copied. It has the mixture and the length of the moment: a run from it has these from its first step on.', { stays: true });
  }, { hidden: !onBuiltPage() });

  // ---- the model, to take away ----

  /** The model in the file format of the library, and its card. */
  function asFile(params, { size }) {
    const { parameters, metadata } = sizes[size];
    const tensors = Object.fromEntries(
      Object.entries(parameters).map(([name, { shape, begin }]) => {
        const length = shape.reduce((a, b) => a * b, 1);
        return [name, { shape, data: Float32Array.from(params.slice(begin, begin + length)) }];
      }),
    );
    return writeSafetensors(tensors, metadata);
  }
  /** What a run has met on the whole: the mixtures, each weighted by its steps. */
  function metBy({ mixtures: met, step }) {
    const ends = [...met.slice(1).map(([from]) => from), step];
    return classes.map((_, k) => met.reduce((sum, [from, mixture], i) => sum + (mixture[k] * (ends[i] - from)) / step, 0));
  }
  async function cardOf(bytes, what) {
    const { size, seed, total, step, mixtures: met, lengths } = what;
    const digest = await crypto.subtle?.digest('SHA-256', bytes);
    if (!digest) throw new Error('This page was not served over https, and without that the browser makes no checksum, which a card needs.');
    const { recipe, ...card } = sizes[size].card;
    const weights = metBy(what);
    Object.assign(card, {
      name: nameOf(what), seed, steps: step,
      recipe: { ...recipe, function_class: { ...recipe.function_class, weights }, seed, steps: total, mixtures: met, lengths },
      sha256: [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
    });
    return card;
  }
  const nameOf = ({ size, seed, step }) => `pretrained-${size}-${seed}-${step}`;
  const withModel = (work) => () => {
    then = async (params, what) => {
      try {
        await work(asFile(params, what), what);
      } catch (error) {
        say(error.message, { stays: true });
      }
    };
    ask();
  };
  const keep = button('Take it to the explorers', withModel(async (bytes, what) => {
    const { shape, card } = sizes[what.size];
    const kinds = card.recipe.function_class.classes;
    const sines = kinds.filter((kind, k) => kind.class === 'Sinusoid' && what.mixtures.some(([, weights]) => weights[k] > 0));
    await keepModel({ bytes, shape, name: nameOf(what), dim: 1, bands: sines.map(({ low, high }) => [low, high, false]), mixture: metBy(what) });
    taken.hidden = false;
    say('It is kept in this browser, and nowhere else.', { stays: true });
  }), { hidden: !onBuiltPage() });
  const saveFile = button('Save as a file', withModel(async (bytes, what) => {
    const card = await cardOf(bytes, what);
    downloadFile(`${card.name}.safetensors`, bytes, 'application/octet-stream');
    await new Promise((resolve) => setTimeout(resolve, 300)); // two at once are one too many for some browsers
    downloadFile(`${card.name}.json`, `${JSON.stringify(card, null, 2)}\n`, 'application/json');
    say('Two files: the weights, and their card. icl_lib.load takes the path of the first, where the second lies beside it.', { stays: true });
  }));
  const see = (page, words) => h('a', { href: `${page}.html?model=${OWN}` }, words);
  const taken = h('span', { hidden: true }, 'See it ', see('convex_combinations', 'between a line and a sine'), ' or ', see('frequency_extrapolation', 'out of its band'), '.');

  const sliders = weightSliders({
    names: classes,
    weights: () => state.weights,
    shares,
    label: (name) => [h('span', { class: 'icl-hidden' }, 'Weight of the '), name],
    refused: () => say('One weight at least must be above zero.'),
    moved(k, value) {
      state.weights[k] = value;
      share();
      ask();
    },
  });
  const chooserId = fresh('steps');
  const chooser = h('select', { id: chooserId }, ...model.get('totals').map((total) => h('option', { value: total }, `${inWords(total)} steps`)));
  chooser.addEventListener('change', () => {
    state.total = Number(chooser.value);
    share();
    if (state.step === 0) anew();
    else {
      say('The run goes on to there. Its rates of learning, which fall to zero at the end, rise again.', { stays: true });
      draw();
    }
  });

  const sizeId = fresh('size');
  const millions = (count) => `${(count / 1e6).toPrecision(count < 1e5 ? 1 : 2)} M`;
  const sizeChooser = h('select', { id: sizeId }, ...offered.map((size) => h('option', { value: size }, `${size}, ${millions(sizes[size].card.parameters)}`)));
  sizeChooser.addEventListener('change', () => {
    state.size = sizeChooser.value;
    share();
    anew();
  });

  // A page that nobody looks at does not work on.
  const onVisibility = () => {
    if (document.hidden && state.running) {
      state.running = false;
      asleep = true;
      send();
      say('Paused while this tab was in the background.', { stays: true });
      draw();
    } else if (!document.hidden && asleep) {
      asleep = false;
      state.running = true;
      say('');
      send();
      draw();
    }
  };
  document.addEventListener('visibilitychange', onVisibility);

  // ---- putting it together ----

  const root = h(
    'div',
    { class: 'icl-widget icl-pretrain', role: 'group', 'aria-label': 'Pretrain a transformer on a mixture of function classes' },
    h(
      'div',
      { class: 'icl-body' },
      h(
        'div',
        { class: 'icl-left' },
        h('p', { class: 'icl-caption' }, `Error on prompts it never trains on, averaged over 0 to ${examples} examples; dashed: exact Bayes`),
        plot,
        h('div', { class: 'icl-ends', 'aria-hidden': 'true' }, ...ends),
        said,
        h('div', { class: 'icl-actions icl-first' }, start, again, another, reset, link),
        h('div', { class: 'icl-actions' }, keep, saveFile, taken),
      ),
      h(
        'div',
        { class: 'icl-right' },
        h('p', { class: 'icl-caption' }, 'Weights of the mixture'),
        ...sliders.map((one) => one.root),
        h('div', { class: 'icl-choices' }, ...[[chooserId, 'Length', ' of the run', chooser], [sizeId, 'Size', ', and millions of weights', sizeChooser]].map(([id, label, more, one]) => h('div', { class: 'icl-choice' }, h('label', { for: id }, label, h('span', { class: 'icl-hidden' }, more)), one))),
        table,
      ),
      h('div', { class: 'icl-cards', role: 'group', 'aria-label': `Prompts that it never trains on, with ${examples} examples each` }, ...cards.map((card) => card.root)),
      h('p', { class: 'icl-caption icl-cards-key' }, ...[['truth', 'the function'], ['transformer', 'the transformer'], ['mixture', 'exact Bayes for this mixture']].flatMap(([look, text]) => [
        s('svg', { class: 'icl-sample', 'aria-hidden': 'true' }, s('path', { class: `icl-line icl-${look}`, d: 'M1 4H23' })), `${text} `,
      ])),
      engine.line,
    ),
  );
  el.append(root);
  const stopLooking = replaceStill(el);
  const first = model.get('first');
  if (first?.errors && !shared) takeIn({ ...first, step: [0] });
  draw();
  if (unread.length) say(unreadWords(unread), { stays: true });
  engine.begin(shared);

  const takeTraits = () => {
    Object.assign(state, initial());
    anew();
  };
  const followed = ['weights', 'seed', 'total', 'size'].map((name) => `change:${name}`);
  for (const name of followed) model.on(name, takeTraits);

  /** For tests and for curious readers at the console: the state, and the latest numbers. */
  el.icl = {
    get state() {
      return { ...state, shares: shares(), stage: engine.stage, points: history.length };
    },
    get numbers() {
      return seen;
    },
    /** Let the run pause at a step. */
    pauseAt: (step) => (pauseAt = step),
  };
  return () => {
    stopLooking();
    state.running = false;
    for (const name of followed) model.off(name, takeTraits);
    document.removeEventListener('visibilitychange', onVisibility);
    address.close();
    engine.close();
  };
}

export default { render };
