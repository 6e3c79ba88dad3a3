/* Places of an explorer that have a name, and a tour through those that have a sentence (tour.py). */

const stepsOf = (places) => places.filter(({ says }) => says);

/** Takes the tour's step from an address into `state`; what else the address holds may then change its view. */
function readStep(places, given, { take }, state) {
  const steps = stepsOf(places);
  take('tour', 'tour', readNumber(given.tour, 1, steps.length, 1));
  if (state.tour) Object.assign(state, steps[state.tour - 1].view);
}

/** The chooser of places and the tour. `state.tour` is the step, from 1, or 0; `moveTo(changes)` moves to the usual view with these
    changes, and calls `update()`, as every move does; `share()` writes the address. */
function guide({ places, state, moveTo, share }) {
  const steps = stepsOf(places);
  const isHere = ({ view }) => !state.examples && Object.entries(view).every(([name, value]) => state[name] === value);

  const chooser = h('select', { 'aria-label': 'Go to a place with a name' }, h('option', { value: '' }, 'Go to …'), ...places.map(({ name }, k) => h('option', { value: k }, name)));
  chooser.addEventListener('change', () => chooser.value && moveTo(places[chooser.value].view));

  const [count, says] = [h('b'), h('span')];
  const step = (k) => moveTo({ ...steps[k - 1].view, tour: k });
  const back = button('', () => step(isHere(steps[state.tour - 1]) ? state.tour - 1 : state.tour));
  const on = button('', () => (state.tour < steps.length ? step(state.tour + 1) : leave()), { class: 'icl-on' });
  const leaving = button('Leave', () => leave());
  const panel = h('div', { class: 'icl-tour', role: 'group', 'aria-label': 'Tour', hidden: true }, h('p', { 'aria-live': 'polite' }, count, ' ', says), h('div', { class: 'icl-actions' }, back, on, leaving));
  panel.addEventListener('keydown', (event) => event.key === 'Escape' && leave());
  const start = button('Take the tour', () => {
    step(1);
    on.focus({ preventScroll: true });
    panel.scrollIntoView({ block: 'nearest' });
  });
  function leave() {
    const focused = panel.contains(document.activeElement);
    state.tour = 0;
    update();
    share();
    if (focused) start.focus({ preventScroll: true });
  }

  function update() {
    const place = places.findIndex(isHere);
    chooser.value = place < 0 ? '' : place;
    panel.hidden = !state.tour;
    start.disabled = Boolean(state.tour);
    if (!state.tour) return;
    const here = isHere(steps[state.tour - 1]);
    const last = state.tour === steps.length;
    count.textContent = `${state.tour} of ${steps.length}`;
    says.textContent = here ? steps[state.tour - 1].says : 'You have moved on by yourself.';
    back.textContent = here ? 'Back' : 'Return to the tour';
    back.hidden = here && state.tour === 1;
    on.textContent = last ? 'Finish' : steps[state.tour].button;
    leaving.hidden = last;
  }

  return { panel, update, root: h('div', { class: 'icl-actions icl-guide' }, ...(steps.length ? [start] : []), chooser) };
}
