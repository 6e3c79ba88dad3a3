// Tells RequireJS that anywidget's front end lies beside this script.
require.config({ paths: { anywidget: new URL("anywidget", document.currentScript.src).href } });

// anywidget combines signals, which a browser of more than two years ago may not know. With this it gets as far as the
// widget itself, which then says that the browser is too old: icl_lib/widgets/shared.js. It asks whether this is native.
if (!("any" in AbortSignal)) {
  document.documentElement.dataset.old = "";
  AbortSignal.any = (signals) => {
    const controller = new AbortController();
    for (const signal of signals) {
      if (signal.aborted) controller.abort(signal.reason);
      else signal.addEventListener("abort", () => controller.abort(signal.reason), { signal: controller.signal });
    }
    return controller.signal;
  };
}
