// What exact Bayes believes: the pictures were worked out beforehand, and the choices say which of them is shown.
(() => {
  const figure = document.currentScript.closest('figure');
  const all = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  const slider = figure.querySelector('input[type="range"]');
  const place = (part, d) => figure.querySelector(`path.is-${part}`).setAttribute('d', d);

  const draw = () => {
    const { truth, dots, beliefs } = all[figure.querySelector('input[type="radio"]:checked').value];
    const n = Number(slider.value);
    place('truth', truth);
    place('mean', beliefs[n].mean);
    place('mass', beliefs[n].mass);
    figure.querySelectorAll('circle').forEach((circle, i) => {
      circle.setAttribute('cx', dots[i][0]);
      circle.setAttribute('cy', dots[i][1]);
      circle.toggleAttribute('hidden', i >= n);
    });
    figure.querySelector('.is-line').style.width = `${100 * beliefs[n].line}%`;
    figure.querySelector('output').textContent = n;
    figure.querySelector('figcaption').textContent = beliefs[n].told;
  };

  figure.addEventListener('input', draw);
  figure.querySelector('.icl-believes-choices').hidden = false;
  // A reloaded page keeps its choices.
  draw();
})();
