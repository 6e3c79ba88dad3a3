/* What the explorers of curves share: a plot over x whose in-context examples the reader drags, the legend with the error of
   each line, the bars of a posterior, a slider's sweep, and the numbers as a table. */

const REACH = 3; // inputs of N(0, 1) are drawn and shown within [-REACH, REACH]
const MOST = 40; // examples; the model has one more pair of positions, for the query
const BOX = { viewBox: '0 0 600 400', preserveAspectRatio: 'none', width: '100%', height: '100%', 'aria-hidden': 'true' };

const it = (text) => h('i', {}, text);

/** Evenly spaced from -reach to reach. */
const grid = (reach, intervals) => Float64Array.from({ length: intervals + 1 }, (_, i) => (i * 2 * reach) / intervals - reach);

/** Mean squared difference of two curves over `xs`, weighted as N(0, spread²) does; zs null: from zero. */
function meanSquare(xs, ys, zs = null, spread = 1) {
  let [sum, total] = [0, 0];
  for (let i = 0; i < xs.length; i++) {
    const weight = Math.exp(-((xs[i] / spread) ** 2) / 2);
    total += weight;
    sum += weight * (ys[i] - (zs ? zs[i] : 0)) ** 2;
  }
  return sum / total;
}

/** x_1, x_2, ... ~ N(0, 1) of one seed, three decimals, within reach: more examples only append to fewer. */
function drawInputs(seed, count) {
  const uniform = uniforms(seed);
  const xs = [];
  while (xs.length < count) {
    const x = snap(normal(uniform), 0.001);
    if (Math.abs(x) <= REACH) xs.push(x);
  }
  return xs;
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

function readExamples(text, farthest = REACH) {
  if (text === 'none') return [];
  const list = [];
  for (const part of text.split('*')) {
    const [, placed, left, right] = /^(p?)(-?[\d.]+)_(-?[\d.]+)$/.exec(part) ?? [];
    const [a, b] = [Number(left), Number(right)];
    if (placed && Math.abs(a) <= farthest && Math.abs(b) <= 100) list.push([a, b]);
    else if (!placed && Number.isInteger(a) && Number.isInteger(b) && 0 <= a && a <= b && b < 10 * MOST) {
      for (let k = a; k <= b; k++) list.push(k);
    } else return undefined;
    if (list.length > MOST) return undefined;
  }
  return list;
}

/** A plot of the truth and of predicted lines, with the in-context examples, which it keeps in the widget's `state`: there
    `n_examples`, `seed`, and `examples`, the list above; `hidden` holds the names of lines that the reader has hidden.

    looks        the lines from the lowest to the uppermost, {name: look}; `truth` is one of them
    detail       into how many pieces the truth is cut
    truth(x)     the function
    highest()    how far it goes from 0
    input(x)     where an input of N(0, 1) comes to lie; left out: there
    reach()      the plot shows x in [-reach, reach]; left out: REACH
    spread()     standard deviation of the inputs, whose density is shown; left out: 1
    changed()    called when the reader has moved, added or removed an example
    counted(n)   called when that has changed their number
    say(words)   in passing */
function examplesPlot({ state, looks, detail = 384, truth, highest, input = (x) => x, reach = () => REACH, spread = () => 1, changed, counted, say }) {
  let selected = -1; // index of an example
  let drag = null;
  let inputs = { seed: null, xs: [] };
  let shown = null; // the latest lines, {xs, lines}
  let [wide, top, bulk, fine] = [0, 0, 0, []]; // the plot shows [-wide, wide] × [-top, top]; `bulk` is the density's spread

  // ---- the examples ----

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
  function point(i, f = truth) {
    const entry = item(i);
    if (typeof entry !== 'number') return entry;
    if (inputs.seed !== state.seed || entry >= inputs.xs.length) {
      inputs = { seed: state.seed, xs: drawInputs(state.seed, entry + MOST) };
    }
    const x = input(inputs.xs[entry]);
    return [x, f(x)];
  }
  /** The examples, of the function that is drawn or of another. */
  const prompt = (f) => Array.from({ length: state.n_examples }, (_, i) => point(i, f));

  /** The nearest place of the plot, in steps of a hundredth. */
  const within = (x, y) => [snap(clamp(x, -wide, wide), 0.01), snap(clamp(y, -top, top), 0.01)];
  function place(i, x, y) {
    extend(state.n_examples)[i] = within(x, y);
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
    counted(i + 1);
    changed();
  }
  /** Remove example i; by keyboard or button the next one is then selected, so that several can go in a row. */
  function remove(i, selectNext) {
    if (i < 0 || i >= state.n_examples) return;
    const focused = selectNext && points[i] === document.activeElement;
    extend(state.n_examples).splice(i, 1);
    state.n_examples -= 1;
    counted(state.n_examples);
    selected = selectNext ? Math.min(i, state.n_examples - 1) : -1;
    changed();
    if (focused) (points[selected] ?? addButton).focus();
    say('Example removed.');
  }

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

  // ---- the picture ----

  const paths = Object.fromEntries(Object.entries(looks).map(([name, look]) => [name, s('path', { class: `icl-line icl-${look}` })]));
  const hill = s('path', { class: 'icl-density' });
  const ticks = s('g', { class: 'icl-grid', 'aria-hidden': 'true' });
  const names = s('g', { class: 'icl-values', 'aria-hidden': 'true' }); // above the lines, which would strike them out
  const dots = s('g', { role: 'group', 'aria-label': 'In-context examples' });
  const hint = h('p', { class: 'icl-hint', id: fresh('hint') });
  const plot = s(
    'svg',
    { class: 'icl-plot', role: 'group', 'aria-describedby': hint.id },
    s('svg', BOX, hill),
    ticks,
    s('svg', BOX, ...Object.values(paths)),
    names,
    dots,
  );
  const points = Array.from({ length: MOST }, (_, i) => {
    const hit = s('circle', { class: 'icl-hit' });
    const ring = s('circle', { class: 'icl-ring', r: 10 });
    const dot = s('circle', { class: 'icl-dot', r: 4.5 });
    const g = s('g', { class: 'icl-point', role: 'button', tabindex: -1 }, hit, ring, dot);
    g.circles = [hit, ring, dot];
    g.addEventListener('focus', () => select(i));
    return g;
  });
  const across = (x) => `${(x / wide + 1) * 50}%`;
  const down = (y) => `${(1 - y / top) * 50}%`;
  /** Multiples of `step` inside (-limit, limit). */
  const multiples = (limit, step) => {
    const most = Math.floor((limit - 0.01) / step);
    return Array.from({ length: 2 * most + 1 }, (_, i) => (i - most) * step);
  };

  function drawGrid() {
    const most = Math.max(highest(), ...prompt().map(([, y]) => Math.abs(y)), 0);
    const next = [2, 3, 4, 6, 8, 10].find((limit) => limit >= most) ?? Math.ceil(most);
    const same = next === top && reach() === wide && spread() === bulk;
    if (wide && (drag || same)) return; // the scale rests while a finger holds a point
    [wide, top, bulk, fine] = [reach(), next, spread(), grid(reach(), detail)];
    plot.setAttribute('aria-label', `Curves over x from −${wide} to ${wide}`);
    const bell = curvePath(fine, fine.map((x) => -1 + 0.24 * Math.exp(-((x / bulk) ** 2) / 2)), wide, 1);
    hill.setAttribute('d', `M0 400${bell.replace('M', 'L')}L600 400Z`);
    const upright = multiples(wide, wide <= 4 ? 1 : wide <= 6 ? 2 : 3).map((x) => {
      const at = across(x);
      return s('g', {}, s('line', { x1: at, x2: at, y1: '0', y2: '100%' }), s('text', { x: at, y: '100%', dy: -6 }, minus(`${x}`)));
    });
    const levels = multiples(top, top <= 3 ? 1 : top <= 6 ? 2 : top <= 10 ? 4 : Math.ceil(top / 3));
    ticks.replaceChildren(
      ...upright,
      s('text', { x: '100%', y: '100%', dx: -12, dy: -6 }, s('tspan', { 'font-style': 'italic' }, 'x')),
      ...levels.map((y) => s('line', { x1: '0', x2: '100%', y1: down(y), y2: down(y) })),
    );
    names.replaceChildren(...levels.map((y) => s('text', { x: 6, y: down(y), dy: -4 }, minus(`${y}`))));
  }

  function drawPoints() {
    const list = prompt();
    while (dots.childNodes.length > list.length) dots.lastChild.remove();
    list.forEach(([x, y], i) => {
      const g = points[i];
      const [cx, cy] = [`${((x / wide + 1) * 50).toFixed(2)}%`, `${((1 - y / top) * 50).toFixed(2)}%`];
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

  function drawLines() {
    if (!shown) return;
    for (const name in shown.lines) paths[name].setAttribute('d', curvePath(shown.xs, shown.lines[name], wide, top));
  }

  /** Everything that follows the sliders at once, and the latest lines on the same scale. */
  function draw() {
    drawGrid();
    paths.truth.setAttribute('d', curvePath(fine, fine.map(truth), wide, top));
    drawPoints();
    drawLines();
    for (const name in paths) paths[name].style.display = state.hidden.has(name) ? 'none' : '';
  }

  // ---- moving the examples ----

  function select(i) {
    if (i === selected) return;
    selected = i;
    drawPoints();
  }
  const atPointer = ({ clientX, clientY }) => {
    const { left, top: up, width, height } = plot.getBoundingClientRect();
    return [((clientX - left) / width) * 2 * wide - wide, top - ((clientY - up) / height) * 2 * top, width, height];
  };
  /** The example nearest to the pointer: targets of a finger's size overlap, and the uppermost need not be the one meant. */
  function nearest(event) {
    const [x, y, width, height] = atPointer(event);
    const distance = ([px, py]) => Math.hypot(((px - x) / (2 * wide)) * width, ((py - y) / (2 * top)) * height);
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
      draw(); // the scale may move again
    } else if (index < 0) {
      const [x, y] = atPointer(event);
      add(within(x, y));
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

  return {
    plot,
    hint,
    buttons: [addButton, removeButton, restoreButton],
    prompt,
    draw,
    /** Draw lines that an engine has answered: `xs`, and for each line its values there. */
    show(xs, lines) {
      shown = { xs, lines };
      drawLines();
    },
    /** A slider has set the number of examples to `count`. */
    recount(count) {
      if (state.examples) extend(count);
      if (selected >= count) selected = -1;
    },
    unselect: () => (selected = -1),
    get selected() {
      return selected;
    },
    /** The plot shows y in [-top, top]. */
    get top() {
      return top;
    },
  };
}

/** Pictures that were computed beforehand, along the slider called `dial`, of views that differ from the first in nothing else.

    The widget's `first` is that of the first view; its `frames` are {at: [...], lines: {name: [[...], ...]} in hundredths,
    errors: {name: [...]}, probability: [[...], ...]}. Either may be missing: then there is less to show. `place(value)` is a value's
    place on the slider. */
function pictureBook({ model, state, initial, dial, place = Number }) {
  const [first, frames] = [model.get('first'), model.get('frames')];
  const pages = first?.lines ? [{ at: model.get(dial), ...first }] : [];
  const entries = (lists, take) => Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, take(list)]));
  (frames?.at ?? []).forEach((at, k) => {
    const lines = entries(frames.lines, (list) => list[k].map((value) => value / 100));
    pages.push({ at, lines, errors: entries(frames.errors, (list) => list[k]), probability: frames.probability[k] });
  });
  const { [dial]: _, hidden, tour, ...rest } = initial();
  const far = ({ at }) => Math.abs(place(at) - place(state[dial]));
  let page = null;
  return {
    count: new Set(pages.map(({ at }) => at)).size,
    /** Of what the picture is: of the page that is open, or of what the slider says. */
    get at() {
      return page ? page.at : state[dial];
    },
    /** Open the page nearest to the view; null if there is none. */
    open() {
      const fits = Object.entries(rest).every(([name, value]) => state[name] === value);
      page = fits ? pages.reduce((best, one) => (best && far(best) <= far(one) ? best : one), null) : null;
      return page && { ...page, ...page.lines, [dial]: page.at };
    },
    /** Returns whether a page was open. */
    close() {
      const was = page !== null;
      page = null;
      return was;
    },
  };
}

/** The legend: for each of `lines`, {name: {name, note, look}}, what hides it and its error; below, the error of always 0.

    `toggled()` is called when `state.hidden` has changed. */
function errorLegend({ state, lines, toggled }) {
  const place01 = (error) => clamp((Math.log10(error) + 7) / 8, 0, 1); // bars run from 10⁻⁷ to 10
  const rows = {};
  for (const [name, { name: label, note, look = name }] of Object.entries(lines)) {
    const toggle = h('input', { type: 'checkbox', checked: true });
    toggle.addEventListener('change', () => {
      if (toggle.checked) state.hidden.delete(name);
      else state.hidden.add(name);
      toggled();
    });
    const sample = s('svg', { class: 'icl-sample', 'aria-hidden': 'true' }, s('path', { class: `icl-line icl-${look}`, d: 'M1 4H23' }));
    const value = h('span', {}, '–');
    const bar = h('div', { class: `icl-bar icl-${look}` });
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
  const distribution = h('span');
  const root = h(
    'table',
    { class: 'icl-legend' },
    h('caption', {}, 'Mean squared error, ', it('x'), ' ~ ', distribution),
    h('tbody', {}, ...Object.values(rows).map(({ row }) => row), zeroRow),
  );
  return {
    root,
    /** What is said below a line's name. */
    note: (name, words) => (rows[name].about.textContent = words),
    /** What follows the sliders at once: the error of always 0, and the inputs' standard deviation. */
    draw(ignorance, spread = 1) {
      distribution.textContent = spread === 1 ? 'N(0, 1)' : `N(0, ${spread}²)`;
      for (const name in rows) rows[name].toggle.checked = !state.hidden.has(name);
      zeroValue.textContent = pretty(ignorance);
      root.style.setProperty('--ignorance', place01(ignorance));
    },
    /** The errors, {name: error}; null: no numbers rather than another function's. */
    show(errors) {
      for (const [name, { value, bar }] of Object.entries(rows)) {
        if (name === 'truth') continue;
        value.textContent = errors ? pretty(errors[name]) : '–';
        bar.style.setProperty('--share', errors ? place01(errors[name]) : 0);
      }
    },
  };
}

/** What exact Bayes believes: a bar for the probability of each class. */
function posteriorBars() {
  const list = h('div', { class: 'icl-posteriors' });
  let [rows, named] = [[], ''];
  return {
    root: h('div', { class: 'icl-belief', role: 'group', 'aria-label': 'Posterior probability of each class' }, h('p', {}, 'What exact Bayes believes'), list),
    /** The classes, [[name, look]]. */
    name(classes) {
      if (classes.join() === named) return;
      named = classes.join();
      rows = classes.map(([name, look]) => {
        const bar = h('div', { class: `icl-bar icl-class-${look}` });
        const value = h('span', { class: 'icl-error' }, '–');
        const row = h('div', { class: 'icl-posterior' }, h('span', {}, `P(${name})`), h('div', { class: 'icl-track' }, bar), value);
        return { bar, value, row };
      });
      list.replaceChildren(...rows.map(({ row }) => row));
    },
    /** Their probabilities, or null. */
    show(probabilities) {
      rows.forEach(({ bar, value }, k) => {
        const probability = probabilities?.[k];
        bar.style.setProperty('--share', probability ?? 0);
        value.textContent = probability === undefined ? '–' : probability > 0 && probability < 0.0005 ? '< 0.001' : probability.toFixed(3);
      });
    },
  };
}

/* The prior probability that the function is of no class that exact Bayes knows: none, or from 10⁻³⁰ to 1/2. */
const DOUBTS = [0, ...Array.from({ length: 30 }, (_, k) => Number(`1e${k - 30}`)), 0.5];
const readDoubt = (text) => DOUBTS.find((doubt) => text?.trim() && doubt === Number(text));
const superscript = (number) => [...`${number}`].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[digit]).join('');

/** A doubt in words; `power` writes ten to the power of a number. */
function doubtWords(doubt, power = (exponent) => `10${superscript(exponent)}`) {
  if (doubt === 0) return 'none';
  if (doubt === 0.5) return '1 in 2';
  const exponent = Math.round(-Math.log10(doubt));
  return `1 in ${exponent === 6 ? 'a million' : exponent < 6 ? (10 ** exponent).toLocaleString('en') : power(exponent)}`;
}

/** The slider of doubts. */
function doubtSlider({ value, oninput }) {
  const { root, set } = slider({
    label: ['Its doubt of these classes'],
    min: 0,
    max: DOUBTS.length - 1,
    step: 1,
    value: DOUBTS.indexOf(value),
    text: (place) => doubtWords(DOUBTS[place]),
    spoken: (place) => doubtWords(DOUBTS[place], (exponent) => `10 to the power of ${exponent}`),
    oninput: (place) => oninput(DOUBTS[place]),
  });
  return { root, set: (doubt) => set(DOUBTS.indexOf(doubt)) };
}

/** Play sweeps a slider to one end, to the other, and on. A reader who wants little motion gets a step at a time.

    `at()` is the slider's place in [0, 1], `move(place)` sets it, `seconds` is the time from end to end, `stopped()` is called
    when the sweep ends. */
function sweeper({ seconds: whole, at, move, stopped }) {
  const play = button('Play', () => (playing ? stop() : start()), { 'aria-pressed': 'false', class: 'icl-play' });
  let playing = 0;
  function start() {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    let place = at(); // finer than the slider's steps
    let direction = place < 1 ? 1 : -1;
    let last = performance.now();
    play.textContent = 'Pause';
    play.setAttribute('aria-pressed', 'true');
    const frame = (now) => {
      const seconds = (now - last) / 1000;
      if (seconds >= (calm ? 1 : 0)) {
        last = now;
        place = clamp(place + direction * (calm ? 0.1 : Math.min(seconds, 0.1) / whole), 0, 1);
        if (place === 0 || place === 1) direction = -direction;
        move(place);
      }
      playing = requestAnimationFrame(frame);
    };
    playing = requestAnimationFrame(frame);
  }
  function stop() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = 0;
    play.textContent = 'Play';
    play.setAttribute('aria-pressed', 'false');
    stopped();
  }
  return { button: play, stop };
}

/** Offer no model that this book was built without. */
function markMissing(chooser, models) {
  for (const option of chooser.options) {
    if (option.disabled || models.includes(option.value)) continue;
    option.disabled = true;
    option.textContent += ' (not in this book)';
  }
}

/** The numbers behind a picture, for who wants them: `columns` {key: heading}, `curves()` and `examples()` their rows; `title`
    is what the file is called. */
function numbersTable({ columns, title = 'Curves', curves, examples }) {
  const cells = h('tbody');
  const keys = Object.keys(columns);
  const root = h(
    'details',
    { class: 'icl-numbers' },
    h('summary', {}, 'The numbers'),
    h(
      'div',
      { class: 'icl-actions' },
      button(`${title} as CSV`, () => downloadTable(`${title.toLowerCase()}.csv`, [keys, ...curves()])),
      button('Examples as CSV', () => downloadTable('examples.csv', [['x', 'y'], ...examples()])),
    ),
    h(
      'div',
      { class: 'icl-scroll', tabindex: 0, role: 'group', 'aria-label': `Table: ${title.toLowerCase()}` },
      h('table', {}, h('thead', {}, h('tr', {}, ...Object.values(columns).map((name) => h('th', { scope: 'col' }, name)))), cells),
    ),
  );
  let timer;
  // While answers keep coming it is filled now and then: to wait for a pause would leave it empty during a sweep.
  function update() {
    if (!root.open || timer) return;
    timer = setTimeout(() => {
      timer = undefined;
      cells.replaceChildren(...curves().map((line) => h('tr', {}, ...line.map((value) => h('td', {}, typeof value === 'string' ? value : minus(value.toFixed(4)))))));
    }, 150);
  }
  root.addEventListener('toggle', update);
  return { root, update, close: () => clearTimeout(timer) };
}
