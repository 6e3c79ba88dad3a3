// The heat map: what it shows follows the two choices, and a cell that is pointed at is told in words.
(() => {
  const figure = document.currentScript.closest('figure');
  const all = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  const table = figure.querySelector('table');
  const cells = [...table.querySelectorAll('td')];
  const columns = table.tHead.rows[0].cells.length - 1;
  const told = figure.querySelector('.icl-heat-told');
  const chosen = (name) => figure.querySelector(`input[name="heat-${name}"]:checked`);
  const words = (input) => input.parentElement.textContent.trim();
  let at = null;

  const tell = () => {
    if (at === null) return;
    const [number, low, high] = all[`${chosen('over').value} ${chosen('n').value}`][at];
    const row = cells[at].parentElement.cells[0].textContent;
    const test = table.tHead.rows[0].cells[1 + (at % columns)].textContent;
    const less = number.startsWith('−');
    const plain = (text) => (less ? text.replace('−', '') : text);
    const ends = less
      ? [high, low].map((text) => (text.startsWith('−') ? text.slice(1) : `−${text}`))
      : [low, high];
    told.textContent = `Pretrained on ${row} lines and asked for ${test}, after ${chosen('n').value} examples the `
      + `transformer errs by ${plain(number)} (${ends.join(' to ')}) of the mean square ${less ? 'less' : 'more'} `
      + `than ${words(chosen('over'))}.`;
  };

  const draw = () => {
    all[`${chosen('over').value} ${chosen('n').value}`].forEach(([number, , , depth, hue], k) => {
      cells[k].textContent = number;
      cells[k].className = `is-${hue}`;
      cells[k].style.setProperty('--tint', `${depth}%`);
    });
    for (const name of ['n', 'over']) {
      figure.querySelector(`[data-heat="${name}"]`).textContent = words(chosen(name));
    }
    tell();
  };

  const go = (to, focus) => {
    cells.forEach((cell, k) => { cell.tabIndex = k === to ? 0 : -1; });
    at = to;
    if (focus) cells[to].focus();
    tell();
  };

  cells.forEach((cell, k) => {
    cell.tabIndex = k === 0 ? 0 : -1;
    cell.addEventListener('pointerenter', () => go(k, false));
    cell.addEventListener('focus', () => { if (at !== k) go(k, false); });
  });
  table.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!step || at === null) return;
    event.preventDefault();
    const to = at + step;
    const beside = Math.abs(step) === 1 && Math.floor(to / columns) !== Math.floor(at / columns);
    if (to >= 0 && to < cells.length && !beside) go(to, true);
  });
  figure.addEventListener('change', draw);
  figure.querySelector('.icl-heat-choices').hidden = false;
  told.hidden = false;
  // A reloaded page keeps its choices.
  draw();
})();
