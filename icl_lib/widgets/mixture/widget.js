/* Prompts drawn from a mixture of function classes. Every number shown was drawn by icl_lib.samplers, for every class; this
   file only looks up which class a prompt's own uniform number falls to under the weights of the moment. */

const REACH = 3;
const TOP = 3;

function render({ model, el }) {
  if (tooOld(el)) return;
  const classes = model.get('classes');
  const state = { weights: [...model.get('weights')], set: 0, prompt: 0 };
  let later = []; // drawn by a kernel since
  const sets = () => [...model.get('sets'), ...later];
  const current = () => sets()[state.set];

  const address = addressBar(model.get('key'), ['w', 'set', 'prompt']);
  const share = (soon) => address.write({ w: state.weights.join('_'), set: state.set + 1, prompt: state.prompt + 1 }, soon);
  const given = address.read();
  const unread = [];
  if ('w' in given) {
    const read = given.w.split('_').map((text) => readNumber(text, 0, 1, 0.01));
    if (read.length === classes.length && read.every((w) => w !== undefined) && read.some((w) => w > 0)) state.weights = read;
    else unread.push('w');
  }
  for (const [key, most] of [['set', sets().length], ['prompt', current().u.length]]) {
    if (!(key in given)) continue;
    const read = readNumber(given[key], 1, most, 1);
    if (read) state[key] = read - 1;
    else unread.push(key);
  }

  const shares = () => {
    const total = state.weights.reduce((sum, weight) => sum + weight, 0);
    return state.weights.map((weight) => weight / total);
  };
  /** The class of a uniform number: the first whose cumulative share exceeds it, as Mixture.sample_functions draws it. */
  function classOf(u) {
    let edge = 0;
    const all = shares();
    for (let k = 0; k < all.length - 1; k++) {
      edge += all[k];
      if (u < edge) return k;
    }
    return all.findLastIndex((part) => part > 0);
  }
  const xsOfGrid = Array.from({ length: current().curves[0][0].length }, (_, i, n = current().curves[0][0].length) => -REACH + (2 * REACH * i) / (n - 1));

  // ---- the weights, and the unit interval they cut ----

  const sliders = weightSliders({
    names: classes,
    weights: () => state.weights,
    shares,
    label: (name) => [`Weight of the ${name}`],
    refused: () => say('One weight at least must be above zero.'),
    moved(k, value) {
      hush();
      state.weights[k] = value;
      draw();
      share();
    },
  });
  const parts = classes.map((_, k) => h('div', { class: `icl-part is-class-${k}` }));
  const ticks = h('div', { class: 'icl-ticks' });
  const interval = h(
    'div',
    { class: 'icl-interval', 'aria-hidden': 'true' },
    h('div', { class: 'icl-parts' }, ...parts),
    ticks,
    h('div', { class: 'icl-ends' }, h('span', {}, '0'), h('span', {}, '1')),
  );
  const counts = classes.map((name, k) => {
    const [count, expected] = [h('td'), h('td')];
    const head = h('th', { scope: 'row' }, h('span', { class: `icl-key is-class-${k}` }), name);
    return { count, expected, row: h('tr', {}, head, count, expected) };
  });
  const table = h(
    'table',
    { class: 'icl-counts' },
    h('thead', {}, h('tr', {}, ...['Class', 'Drawn', 'Expected'].map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', {}, ...counts.map(({ row }) => row)),
  );

  // ---- the prompts ----

  const group = fresh('prompts');
  const cards = current().u.map((_, i) => {
    const radio = h('input', { type: 'radio', name: group, value: i, class: 'icl-hidden' });
    const path = s('path', { class: 'icl-line' });
    const dots = current().xs[i].map(() => s('circle', { r: 2 }));
    const thumb = s('svg', { class: 'icl-thumb', 'aria-hidden': 'true' });
    thumb.append(s('svg', { viewBox: '0 0 600 400', preserveAspectRatio: 'none', width: '100%', height: '100%' }, path), ...dots);
    const name = h('span', { class: 'icl-hidden' });
    const card = h('label', { class: 'icl-card' }, radio, thumb, name);
    radio.addEventListener('change', () => {
      state.prompt = i;
      drawPrompt();
      share();
    });
    return { radio, path, dots, name, card };
  });
  const board = h('div', { class: 'icl-cards', role: 'radiogroup', 'aria-label': 'The prompts drawn' }, ...cards.map(({ card }) => card));

  function drawDots(dots, xs, ys) {
    dots.forEach((dot, j) => {
      dot.setAttribute('cx', `${((xs[j] / REACH + 1) * 50).toFixed(2)}%`);
      dot.setAttribute('cy', `${((1 - ys[j] / TOP) * 50).toFixed(2)}%`);
    });
  }
  function className(node, k) {
    for (let j = 0; j < classes.length; j++) node.classList.toggle(`is-class-${j}`, j === k);
  }

  // ---- one prompt, as the model reads it ----

  const bigPath = s('path', { class: 'icl-line' });
  const bigDots = current().xs[0].map(() => s('circle', { r: 4.5 }));
  const big = s('svg', { class: 'icl-thumb', role: 'img' });
  big.append(
    s('line', { class: 'icl-axis', x1: 0, x2: '100%', y1: '50%', y2: '50%' }),
    s('line', { class: 'icl-axis', x1: '50%', x2: '50%', y1: 0, y2: '100%' }),
    s('svg', { viewBox: '0 0 600 400', preserveAspectRatio: 'none', width: '100%', height: '100%' }, bigPath),
    ...bigDots,
  );
  const bigTitle = h('p', { class: 'icl-title' });
  const tokens = h('ol', { class: 'icl-tokens' });

  function drawPrompt() {
    const { u, xs, ys, curves } = current();
    const i = state.prompt;
    const k = classOf(u[i]);
    className(big, k);
    big.setAttribute('aria-label', `The function of prompt ${i + 1}, a ${classes[k]}, with its points`);
    bigPath.setAttribute('d', curvePath(xsOfGrid, curves[k][i], REACH, TOP));
    drawDots(bigDots, xs[i], ys[k][i]);
    bigTitle.replaceChildren(
      h('b', {}, `Prompt ${i + 1}`), `: u = ${u[i].toFixed(3)} falls to the `, h('span', { class: `icl-key is-class-${k}` }), classes[k],
    );
    const number = (value) => minus(value.toFixed(2));
    tokens.replaceChildren(
      ...xs[i].flatMap((x, j) => [
        h('li', {}, h('small', {}, h('i', {}, 'x'), h('sub', {}, j + 1)), number(x)),
        h('li', { class: `icl-value is-class-${k}` }, h('small', {}, h('i', {}, 'f'), '(', h('i', {}, 'x'), h('sub', {}, j + 1), ')'), number(ys[k][i][j])),
      ]),
    );
    cards[i].radio.checked = true;
    for (const tick of ticks.children) tick.classList.toggle('is-selected', tick.index === i);
  }

  function draw() {
    const { u, xs, ys, curves } = current();
    const all = shares();
    const drawn = classes.map(() => 0);
    if (ticks.childNodes.length !== u.length) ticks.replaceChildren(...u.map(() => h('span')));
    u.forEach((value, i) => {
      const k = classOf(value);
      drawn[k] += 1;
      className(cards[i].card, k);
      cards[i].path.setAttribute('d', curvePath(xsOfGrid, curves[k][i], REACH, TOP));
      drawDots(cards[i].dots, xs[i], ys[k][i]);
      cards[i].name.textContent = `Prompt ${i + 1}, a ${classes[k]}`;
      ticks.childNodes[i].index = i;
      ticks.childNodes[i].style.left = `${value * 100}%`;
    });
    sliders.forEach(({ set }, k) => set(state.weights[k]));
    parts.forEach((part, k) => (part.style.flexGrow = all[k]));
    counts.forEach(({ count, expected }, k) => {
      count.textContent = drawn[k];
      expected.textContent = (all[k] * u.length).toFixed(1);
    });
    drawPrompt();
  }

  // ---- new draws ----

  const listen = (content) => {
    if (content.kind !== 'set') return;
    clearTimeout(patience);
    later.push(content.set);
    state.set = sets().length - 1;
    draw();
    say(`A new set, drawn by the running kernel with seed ${content.set.seed}.`);
  };
  let patience;
  const next = () => {
    state.set = (state.set + 1) % sets().length;
    draw();
    share();
    say(`Set ${state.set + 1} of ${sets().length}.`);
  };
  const stored = () => {
    next();
    say(`No kernel has answered yet: this is stored set ${state.set + 1} of ${sets().length}. A new one follows when it answers.`, { stays: true });
  };
  const another = () => {
    if (onBuiltPage()) {
      next();
      return;
    }
    clearTimeout(patience);
    patience = setTimeout(stored, 3000);
    model.send({ kind: 'draw', seed: 1 + Math.floor(Math.random() * 99999) });
  };
  model.on('msg:custom', listen);

  const { note, say, hush } = noteLine();
  const actions = h(
    'div',
    { class: 'icl-actions' },
    button('New draw', another),
    button('Reset', () => {
      hush();
      state.weights = [...model.get('weights')];
      state.set = state.prompt = 0;
      draw();
      address.write(null);
    }),
    button('Copy link', () => {
      share(0);
      copyLink(say);
    }, { hidden: !onBuiltPage() }),
  );

  const stage = h('div', { class: 'icl-stage' }, board);
  const root = h(
    'div',
    { class: 'icl-widget icl-mixture', role: 'group', 'aria-label': 'Prompts drawn from a mixture of function classes' },
    h(
      'div',
      { class: 'icl-body' },
      stage,
      h('div', { class: 'icl-weights' }, ...sliders.map((one) => one.root)),
      h(
        'div',
        { class: 'icl-draws' },
        h('p', { class: 'icl-caption' }, 'Each prompt has one uniform number u (a tick): the class it falls to is drawn'),
        interval,
        table,
        actions,
        h('p', { class: 'icl-status' }, note),
      ),
      h('div', { class: 'icl-prompt' }, bigTitle, h('div', { class: 'icl-pair' }, big, tokens)),
    ),
  );
  el.append(root);
  draw();
  const stopLooking = replaceStill(el); // nothing has to be fetched: the first picture is live
  if (unread.length) say(`This link could not be read in full (${unread.join(', ')}).`, { stays: true });

  const follow = () => {
    state.weights = [...model.get('weights')];
    draw();
  };
  model.on('change:weights', follow);
  el.icl = {
    get state() {
      return { ...state, shares: shares(), classes: current().u.map(classOf) };
    },
  };
  return () => {
    stopLooking();
    clearTimeout(patience);
    hush();
    address.close();
    model.off('msg:custom', listen);
    model.off('change:weights', follow);
  };
}

export default { render };
