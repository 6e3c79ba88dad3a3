// One switch for all folded code of a page, beside its title.
document.addEventListener("DOMContentLoaded", () => {
  const folds = [...document.querySelectorAll("details.icl-code")];
  const title = document.querySelector(".bd-article h1");
  if (!folds.length || !title) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "icl-code-switch";
  const label = () => {
    button.textContent = folds.every((fold) => fold.open) ? "hide all code" : "show all code";
  };
  button.addEventListener("click", () => {
    const open = !folds.every((fold) => fold.open);
    for (const fold of folds) fold.open = open;
  });
  for (const fold of folds) fold.addEventListener("toggle", label);
  label();
  title.after(button);
});
