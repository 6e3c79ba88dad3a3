// The ledger: a link to a claim opens what stands behind its verdict, and on paper all of it is open.
document.addEventListener("DOMContentLoaded", () => {
  const folds = document.querySelectorAll(".icl-claim > details");
  if (!folds.length) return;
  const unfold = () => {
    const fold = document.getElementById(location.hash.slice(1))?.querySelector(":scope > details");
    if (fold) fold.open = true;
  };
  addEventListener("hashchange", unfold);
  addEventListener("beforeprint", () => folds.forEach((fold) => (fold.open = true)));
  unfold();
});
