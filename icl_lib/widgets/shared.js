/* What the widgets share: making elements, drawing curves, the state in the address, the still figure, and the two engines.

   An anywidget front end is one module. __init__.py therefore puts this file before the widget's own, and names defined
   here are plainly visible there: there is nothing to import. */

const SVG = 'http://www.w3.org/2000/svg';

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
/** h('p', {class: 'x', onclick: f}, 'text', child): an HTML element. s() makes SVG elements. */
const h = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

const button = (text, onclick, more = {}) => h('button', { type: 'button', onclick, ...more }, text);

let ids = 0;
const fresh = (name) => `icl-${name}-${Date.now().toString(36)}-${++ids}`;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
/** Rounded to a multiple of `step`, without the noise of binary fractions: what is shown, shared and computed is one number. */
const snap = (value, step) => Number((Math.round(value / step) * step).toFixed(6));
const minus = (text) => text.replace('-', '−');

/** An error as people write it: 0.081, or 3.1 × 10⁻⁶. Below 10⁻⁷ it tells of rounding and no more. */
function pretty(value) {
  if (!Number.isFinite(value)) return '–';
  if (value >= 1e-3) return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
  if (value < 1e-7) return '< 10⁻⁷';
  const [digits, exponent] = value.toExponential(1).split('e-');
  return `${digits} × 10⁻${[...exponent].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[digit]).join('')}`;
}

/** A seeded generator of uniform numbers in (0, 1): mulberry32. */
function uniforms(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

/** A standard normal number from two uniform ones (Box and Muller). */
const normal = (uniform) => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

/** SVG path through (xs, ys), for a box of 600 × 400 units that shows x in [-reach, reach] and y in [-top, top].

    The box is stretched to whatever room there is, by the browser: nothing is drawn anew when the window changes. */
function curvePath(xs, ys, reach, top) {
  let path = '';
  for (let i = 0; i < xs.length; i++) {
    const x = (xs[i] / reach + 1) * 300;
    const y = (1 - clamp(ys[i] / top, -20, 20)) * 200;
    path += `${i ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
  }
  return path;
}

/** A labelled slider with its value.

    `band` shades parts of the track: [low, high], or a list of such, of which those with a third entry, [low, high, true], are
    faint. `values`, instead of min, max and step, are the numbers that the slider takes, placed by their logarithm. */
function slider({ label, min, max, step, values, value, band, text, spoken, oninput }) {
  const id = fresh('slider');
  const place = values ? Math.log : Number; // of a number on the track
  const [low, high] = values ? [place(values[0]), place(values.at(-1))] : [min, max];
  const output = h('output', { for: id });
  const input = h('input', { id, type: 'range', min: low, max: high, step: values ? 'any' : step });
  let number = value;
  const share = (at) => (place(at) - low) / (high - low);
  const show = () => {
    output.textContent = minus(text(number));
    input.setAttribute('aria-valuetext', (spoken ?? text)(number));
    input.style.setProperty('--at', share(number));
  };
  const index = (at) => values.reduce((best, one, k) => (Math.abs(place(one) - at) < Math.abs(place(values[best]) - at) ? k : best), 0);
  const take = (next) => {
    number = next;
    show();
    oninput(number);
  };
  input.addEventListener('input', () => take(values ? values[index(Number(input.value))] : Number(input.value)));
  const root = h('div', { class: 'icl-slider' }, h('label', { for: id }, ...label), output, input);
  const self = {
    root,
    input,
    set(next) {
      input.value = place(next);
      number = values ? next : Number(input.value);
      show();
    },
    /** Shade other parts of the track. */
    shade(bands) {
      const list = typeof bands[0] === 'number' ? [bands] : bands;
      const at = (number) => `calc(var(--thumb) / 2 + (100% - var(--thumb)) * ${clamp(share(number), 0, 1)})`;
      const stops = list.map(([from, to, faint]) => `transparent ${at(from)}, var(--${faint ? 'faint' : 'shade'}) ${at(from)} ${at(to)}, transparent ${at(to)}`);
      root.classList.add('has-band');
      input.style.setProperty('--bands', `linear-gradient(to right, ${stops.join(', ')})`);
    },
  };
  if (values) {
    // Keys go from number to number; left to the browser, they would go by steps of the logarithm.
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };
    input.addEventListener('keydown', (event) => {
      if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const next = values[clamp(index(place(number)) + moves[event.key], 0, values.length - 1)];
      input.value = place(next);
      take(next);
    });
  }
  if (band) self.shade(band);
  self.set(value);
  return self;
}

/** A slider for the weight of each class of a mixture, not all of which can be zero.

    `weights()` and `shares()` are those of the moment; `label(name)` names a slider, `moved(k, value)` is told of a new weight,
    `refused()` of the last one going to zero. */
function weightSliders({ names, weights, shares, label, moved, refused }) {
  const sliders = names.map((name, k) =>
    slider({
      label: [h('span', { class: `icl-key is-class-${k}` }), ...label(name)],
      min: 0, max: 1, step: 0.01, value: weights()[k],
      text: (value) => `${value.toFixed(2)} (share ${shares()[k].toFixed(2)})`,
      spoken: (value) => `${value.toFixed(2)}; share of the mixture ${shares()[k].toFixed(2)}`,
      oninput(value) {
        if (value === 0 && weights().every((weight, j) => j === k || weight === 0)) {
          refused();
          sliders[k].set(weights()[k]);
        } else moved(k, value);
      },
    }),
  );
  return sliders;
}

/** Does this page belong to the built book? Then it has no kernel, and its address may carry a view. */
const onBuiltPage = () => document.documentElement.dataset.content_root !== undefined;

/** A widget's keys in the address's query string. Off the built page it reads nothing and writes nothing. */
function addressBar(prefix, keys) {
  const name = (key) => (prefix ? `${prefix}.${key}` : key);
  let timer;
  return {
    read() {
      const query = new URLSearchParams(onBuiltPage() ? location.search : '');
      return Object.fromEntries(keys.filter((key) => query.has(name(key))).map((key) => [key, query.get(name(key))]));
    },
    /** Write soon; `view` is null for the initial view, which needs no query. Browsers ration replaceState, hence the wait. */
    write(view, soon = 250) {
      if (!onBuiltPage()) return;
      clearTimeout(timer);
      const put = () => {
        const query = new URLSearchParams(location.search);
        for (const key of keys) {
          if (view?.[key] == null) query.delete(name(key));
          else query.set(name(key), view[key]);
        }
        const search = query.toString();
        history.replaceState(history.state, '', `${location.pathname}${search && '?'}${search}${location.hash}`);
      };
      if (soon) timer = setTimeout(put, soon);
      else put();
    },
    close: () => clearTimeout(timer),
  };
}

/** A number from the address, or undefined if it is none or lies outside [low, high]. */
function readNumber(text, low, high, step) {
  const value = text?.trim() ? Number(text) : NaN;
  return value >= low && value <= high ? snap(value, step) : undefined;
}

/** Takes into `state` what an address gives, key by key, and notes what could not be read. */
function viewReader(given, state) {
  const unread = [];
  const take = (key, name, value) => {
    if (!(key in given)) return;
    if (value === undefined) unread.push(key);
    else state[name] = value;
  };
  return { take, unread };
}
const unreadWords = (unread) => `This link could not be read in full (${unread.join(', ')}); the rest of its view is shown.`;

async function copyText(text, done, otherwise) {
  try {
    await navigator.clipboard.writeText(text);
    return done;
  } catch {
    return otherwise;
  }
}
const copyLink = async (say) =>
  say(await copyText(location.href, 'Link copied. It opens exactly this view.', 'The browser does not allow copying here; the address bar holds the link to this view.'));

/** What takes a view elsewhere: `link`, a button that copies its link; and `alone`, a button for the line that shows the explorer
    alone on another page, or, where it is alone, a link to the book. Off the built page there is nothing of that.

    `name` is that of the page of its own, `title` says what it is, `share(soon)` writes the view to the `address`, `more()` is what
    the address leaves out because here it is the first view's. */
function sharing({ name, title, root, address, share, say, more = () => ({}) }) {
  if (!onBuiltPage()) return { link: '', alone: [] };
  const { content_root: home, book } = document.documentElement.dataset;
  const view = (page) => {
    share(0);
    const url = new URL(page, document.baseURI);
    url.search = new URLSearchParams({ ...address.read(), ...more() });
    return url.href;
  };
  const link = button('Copy link', () => {
    share(0);
    copyLink(say);
  });
  if (book) {
    const open = h('a', { class: 'icl-alone', href: book, target: '_blank' }, 'Open in the book');
    open.addEventListener('click', () => (open.href = view(book)));
    return { link, alone: [open] };
  }
  const line = h('input', { class: 'icl-html', type: 'text', readonly: true, hidden: true, 'aria-label': 'The line of HTML that embeds this view' });
  const embed = button('Embed', async () => {
    const source = view(`${home}embed/${name}.html`).replaceAll('&', '&amp;');
    line.value = `<iframe src="${source}" title="${title}" width="100%" height="${Math.ceil(root().offsetHeight / 50) * 50 + 50}" style="border: 0" loading="lazy" allow="clipboard-write"></iframe>`;
    line.hidden = false;
    line.select();
    say(await copyText(line.value, 'Copied: a line of HTML that shows this view on a page of yours.', 'This line of HTML shows this view on a page of yours.'));
  }, { class: 'icl-alone icl-embed', title: 'Show this view on a page of yours' });
  return { link, alone: [embed, line] };
}

/** The still figure that stands before the widget in the same output, if there is one. */
function findStill(el) {
  const output = el.closest('.cell_output') ?? el.closest('.jp-OutputArea'); // the book's page, JupyterLab
  return [...(output?.querySelectorAll('.icl-still') ?? [])].find((still) => !still.hidden && !still.parentElement.closest('.icl-widget'));
}

/** Calls `then` once `el` stands in the document: a widget's front end may run before its output is put there. Returns a
    function that calls it off. A frame's callbacks run before it is painted, so that nobody sees the state between. */
function onceConnected(el, then) {
  let waiting;
  const look = () => {
    if (el.isConnected) then();
    else waiting = requestAnimationFrame(look);
  };
  look();
  return () => cancelAnimationFrame(waiting);
}

/** The widget draws what the still figure shows: as soon as it stands on its page, the still one gives way. */
const replaceStill = (el) =>
  onceConnected(el, () => {
    const still = findStill(el);
    if (still) still.hidden = true;
  });

/** What this browser lacks of what the widgets need, in words; null if nothing. Not its name is asked, but what it can do. */
function lacking() {
  const needed = [
    ['colours for light and dark pages', () => CSS.supports('color', 'light-dark(#000, #fff)')],
    ['mixed colours', () => CSS.supports('color', 'color-mix(in srgb, red, blue)')],
    ['layouts that follow their container', () => CSS.supports('container-type', 'inline-size')],
    ['signals that combine', () => 'any' in AbortSignal],
  ];
  return needed.find(([, has]) => !has())?.[0] ?? null;
}

/** Instead of the widget, where the browser is too old for it: a sentence, below the still figure. Returns whether that is so. */
function tooOld(el) {
  const lack = lacking();
  if (lack) {
    const words = `This browser is too old for the live figure: it knows no ${lack}. A browser of the last two years shows it; here the figure stays still.`;
    el.append(h('p', { class: 'icl-too-old', role: 'note' }, words));
  }
  return lack !== null;
}

/** Is the reader's connection to be spared? They ask for it, or it is slow, or they may pay for each megabyte. Some browsers do
    not say; their connections are taken for good ones. */
function sparing() {
  const { saveData = false, effectiveType = '4g', type } = navigator.connection ?? {};
  return saveData || effectiveType !== '4g' || type === 'cellular';
}

/** Calls `wake` once: when the reader touches `el`; or, unless the connection is to be spared, when `el` is on the screen or near
    it, the page has loaded, and the browser has nothing else to do. Returns a function that calls it off. */
function onceReached(el, wake) {
  const controller = new AbortController();
  const { signal } = controller;
  const done = () => {
    if (signal.aborted) return;
    controller.abort();
    wake();
  };
  for (const type of ['pointerdown', 'focusin', 'input']) el.addEventListener(type, done, { signal });
  const idle = () => (window.requestIdleCallback ?? setTimeout)(done); // Safari has no such callback
  const seen = (entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    if (document.readyState === 'complete') idle();
    else addEventListener('load', idle, { signal });
  };
  const near = new IntersectionObserver(seen, { rootMargin: '300px 0px' });
  if (!sparing()) near.observe(el);
  signal.addEventListener('abort', () => near.disconnect());
  return () => controller.abort();
}

/* The engines. Both answer `ask(request)` through the handlers {answer(reply, request), failed(message),
   progress(files), waiting(message)}, one request under way at a time: while one is, only the newest of those that
   follow is kept. What a request holds and what answers it is the widget's protocol:

   {kind, settings: [names of plain values], asks: [names of Float64Arrays], answers: [names of Float64Arrays]}

   A request's `round` tells which view it answers; the engines pass it through. */

function latestWins(send) {
  let underWay = null;
  let next = null;
  let count = 0;
  const start = (request) => {
    underWay = { ...request, id: `${fresh('request')}-${++count}` };
    send(underWay);
  };
  return {
    ask(request) {
      if (underWay) next = request;
      else start(request);
    },
    /** The request that `id` belongs to, if it is the one under way; the next one then starts. */
    settle(id) {
      if (underWay?.id !== id) return null;
      const settled = underWay;
      underWay = null;
      if (next) {
        const request = next;
        next = null;
        start(request);
      }
      return settled;
    },
  };
}

/** Why a script did not load, for which the browser gives no reason. */
async function whyNot(url) {
  const response = await fetch(url).catch(() => null);
  if (!response) return 'the connection failed';
  if (!response.ok) return `the server answered ${response.status}`;
  const type = response.headers.get('content-type');
  if (!/javascript|ecmascript/.test(type ?? '')) return `the server sends it as “${type ?? 'nothing in particular'}”, and browsers run no script that is not sent as text/javascript`;
  return 'it came, but the browser could not run it';
}

/** Computes in this browser, in a worker, on the graphs of the built site's live/ folder. */
async function browserEngine(protocol, handlers) {
  if (typeof WebAssembly !== 'object') {
    throw new Error('This browser has no WebAssembly, which it needs to run the models.');
  }
  if (location.protocol === 'file:') {
    throw new Error(
      'This page was opened as a file, and browsers let no file fetch the models. Serve the book instead: “make book” in its repository, or “python -m http.server” in the folder of the site, and open the address that it prints.',
    );
  }
  const live = new URL(`${document.documentElement.dataset.content_root}live/`, document.baseURI);
  let manifest;
  try {
    const response = await fetch(new URL('manifest.json', live), { cache: 'no-cache' });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    manifest = await response.json();
  } catch (error) {
    throw new Error(`The list of models (live/manifest.json) could not be read: ${error.message}.`);
  }
  let worker;
  const files = new Map();
  const requests = latestWins(({ id, ...request }) => {
    const parts = [...protocol.settings, ...protocol.asks].map((key) => [key, request[key]]);
    worker.postMessage({ kind: protocol.kind, id, ...Object.fromEntries(parts) });
  });
  const program = new URL('engine.js', live);
  worker = new Worker(program, { type: 'module' });
  worker.onmessage = async ({ data }) => {
    if (data.kind === 'progress') {
      files.set(data.what, data);
      handlers.progress([...files.values()]);
      return;
    }
    files.clear();
    const request = requests.settle(data.id);
    if (!request) return;
    if (data.kind === protocol.kind) handlers.answer(data, request);
    else handlers.failed(data.script ? `${data.message}: ${await whyNot(data.script)} (${data.script}).` : data.message);
  };
  worker.onerror = async (event) => {
    event.preventDefault();
    worker.terminate();
    const why = event.message || `its program could not be loaded: ${await whyNot(program)} (live/engine.js)`;
    handlers.failed(`The part of the page that computes has stopped: ${why}.`);
  };
  return {
    where: 'Computed in your browser',
    models: Object.keys(manifest.models),
    ask: requests.ask,
    close: () => worker.terminate(),
  };
}

/** Computes in the running kernel: the Python side of this widget answers, when it has the time. A kernel that runs a
    notebook's other cells has none until they are done, and nothing tells it from one that is gone: so this waits, and
    asks again now and then. */
function kernelEngine(protocol, model, handlers, signal) {
  let slow;
  const requests = latestWins(({ id, ...request }) => {
    clearTimeout(slow);
    slow = setTimeout(() => handlers.waiting('The kernel is busy: the lines follow when it answers. If it was restarted, run the cell again.'), 4000);
    const content = { kind: protocol.kind, id, ...Object.fromEntries(protocol.settings.map((key) => [key, request[key]])) };
    model.send(content, undefined, protocol.asks.map((key) => request[key].slice().buffer));
  });
  // A buffer may arrive as a DataView at an offset that is no multiple of eight: copy it to where numbers can be read.
  const numbers = ({ buffer, byteOffset, byteLength }) => new Float64Array(buffer.slice(byteOffset, byteOffset + byteLength));
  return new Promise((resolve) => {
    const listen = (content, buffers) => {
      if (content.kind === 'pong') {
        stopAsking();
        resolve({ where: 'Computed by the running kernel', models: content.models, ask: requests.ask, close });
        return;
      }
      const request = requests.settle(content.id); // null: another view's answer
      if (!request) return;
      clearTimeout(slow);
      if (content.kind === protocol.kind) {
        const lines = protocol.answers.map((key, i) => [key, numbers(buffers[i])]);
        handlers.answer({ ...Object.fromEntries(lines), milliseconds: content.milliseconds }, request);
      } else handlers.failed(content.message);
    };
    const patience = setTimeout(
      () => handlers.waiting('No kernel has answered yet: it is busy, or none is running. The figure comes to life when one answers.'),
      3000,
    );
    const ping = () => model.send({ kind: 'ping' });
    const pinging = setInterval(ping, 15000);
    const stopAsking = () => {
      clearTimeout(patience);
      clearInterval(pinging);
    };
    const close = () => {
      clearTimeout(slow);
      stopAsking();
      model.off('msg:custom', listen);
    };
    signal.addEventListener('abort', close);
    model.on('msg:custom', listen);
    ping();
  });
}

/** A line for what is said in passing; it goes after a while and with the reader's next move, unless it `stays` until
    something else is said. */
function noteLine() {
  const note = h('span', { role: 'status', class: 'icl-note' });
  let timer;
  const hush = () => {
    if (timer) note.textContent = '';
    clearTimeout(timer);
    timer = undefined;
  };
  return {
    note,
    say(message, { stays = false } = {}) {
      hush();
      note.textContent = message;
      if (!stays) timer = setTimeout(hush, 8000);
    },
    hush,
  };
}

const PATIENCE = 150; // milliseconds that an answer may take before what is older is dimmed

/** A widget's engine, from a first picture that was computed beforehand to live, with the line below the widget that says how
    it stands.

    `wanted()` is the request that answers the view of the moment, `answer(numbers, request)` draws, `failed()` returns what to
    add to the message, `opened(models)` learns which models there are; `beforehand(request)` draws what was computed
    beforehand for a view, until the engine has answered, and returns what to say of it; null if there is nothing of that view.
    `invitation` says what a reader can do. `root()` is the widget, which is marked while files arrive (aria-busy), and when its
    lines and numbers have not been those of the view for a while (data-stale): the first picture answers round 0. */
function livingEngine({ el, model, protocol, wanted, answer, failed, opened, root, beforehand = () => null, invitation = 'Drag me.' }) {
  let engine = null;
  let stage = 'still'; // still, loading, live, failed
  let failure = ''; // what was last said of it
  let stopWaiting = () => {};
  let [asked, drawn] = [0, 0]; // rounds
  let late; // a timer, until what is drawn counts as stale
  let waits = false; // it is said that the kernel is busy
  const gone = new AbortController();
  const where = h('span', { role: 'status', class: 'icl-where' });
  const pace = h('span', { class: 'icl-pace' });
  const bar = h('progress', { 'aria-label': 'Fetched so far' });
  const amount = h('span');
  const progress = h('span', { class: 'icl-progress', hidden: true }, bar, amount);
  const again = h('button', { type: 'button', hidden: true, onclick: () => wake() }, 'Try again');
  const { note, say, hush } = noteLine();
  function setStage(next, words) {
    stage = next;
    el.dataset.stage = next;
    where.textContent = words;
    if (next === 'live') pace.textContent = '';
    again.hidden = next !== 'failed';
  }
  function idle() {
    progress.hidden = true;
    root().removeAttribute('aria-busy');
  }
  /** What is drawn becomes stale by waiting, not by being a little behind: answers that keep coming keep it fresh. */
  function mark() {
    const fresh = asked === drawn;
    if (fresh) {
      clearTimeout(late);
      late = undefined;
      root().removeAttribute('data-stale');
    } else late ??= setTimeout(() => root().setAttribute('data-stale', ''), PATIENCE);
  }
  function foresee(request) {
    if (stage === 'live') return;
    const words = beforehand(request);
    if (words !== null) drawn = request.round;
    took(words);
  }
  const took = (words) => (pace.textContent = words ? ` ${words}` : '');
  const tellFailure = () => setStage('failed', [failure, failed()].filter(Boolean).join(' '));
  const handlers = {
    answer(numbers, request) {
      idle();
      if (stage !== 'live') setStage('live', engine.where);
      if (waits) say('');
      waits = false;
      if (request.round < drawn) return; // what was computed beforehand is of a newer view, whose answer will follow
      drawn = request.round;
      clearTimeout(late);
      late = undefined;
      mark();
      answer(numbers, request);
    },
    failed(message) {
      idle();
      engine?.close();
      engine = null;
      failure = message;
      tellFailure();
    },
    waiting(words) {
      if (stage === 'loading') where.textContent = words;
      else {
        waits = true;
        say(words, { stays: true });
      }
    },
    progress(files) {
      root().setAttribute('aria-busy', 'true');
      const [loaded, total] = ['loaded', 'total'].map((key) => files.reduce((sum, file) => sum + file[key], 0));
      progress.hidden = total < 1e5;
      const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
      bar.value = loaded;
      bar.max = total;
      amount.textContent = `${megabytes(loaded)} of ${megabytes(total)} MB`;
    },
  };
  async function wake() {
    if (stage === 'loading' || stage === 'live') return;
    stopWaiting();
    setStage('loading', onBuiltPage() ? `${invitation} Your browser is fetching what it needs to compute …` : 'Asking the kernel …');
    try {
      engine = await (onBuiltPage() ? browserEngine(protocol, handlers) : kernelEngine(protocol, model, handlers, gone.signal));
    } catch (error) {
      handlers.failed(error.message);
      return;
    }
    opened(engine.models);
    const request = wanted();
    asked = request.round;
    engine.ask(request);
  }
  setStage('still', `${invitation} ${sparing() ? 'Your browser then fetches what it needs, and computes.' : 'It computes in your browser.'}`);
  return {
    line: h('p', { class: 'icl-status' }, h('span', {}, where, pace), progress, again, note),
    say,
    get stage() {
      return stage;
    },
    /** How long the latest answer took, in words. */
    took,
    /** Ask for what `wanted` says, which wakes a sleeping engine. */
    ask(request = wanted()) {
      hush();
      asked = request.round;
      foresee(request);
      mark();
      if (stage === 'still') wake();
      else if (stage === 'failed') tellFailure(); // the lines are now of another view
      else engine?.ask(request);
    },
    /** Begin once the widget stands on its page. In a notebook a kernel is at hand and costs nothing; a shared link asks for
        a view that no still figure shows; else when the reader comes. */
    begin(shared) {
      const request = wanted();
      asked = drawn = request.round;
      foresee(request);
      stopWaiting = onceReached(el, wake);
      if (!onBuiltPage() || shared) wake();
    },
    close() {
      stopWaiting();
      clearTimeout(late);
      hush();
      gone.abort();
      engine?.close();
    },
  };
}

function downloadFile(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
const downloadTable = (name, lines) => downloadFile(name, lines.map((line) => line.join(',')).join('\n') + '\n', 'text/csv');
