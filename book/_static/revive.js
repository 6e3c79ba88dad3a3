/* Brings the widgets of a built page to life. A widget is a front end by anywidget's interface; its module and its numbers stand
   in the page, where Jupyter puts them.

   Jupyter's own manager of widgets would do the same, and weighs a megabyte, for it knows every widget that there is. */

{
  const parse = (script) => JSON.parse(script.textContent);
  const held = (what) => `script[type="application/vnd.jupyter.widget-${what}+json"]`;
  const { state: models } = parse(document.querySelector(held("state")));

  for (const view of document.querySelectorAll(held("view"))) {
    const { _esm: source, _css: style, ...traits } = models[parse(view).model_id].state;
    const sheet = Object.assign(document.createElement("style"), { textContent: style });
    const el = document.createElement("div");
    view.before(sheet, el);
    // There is no kernel: nobody else sets a trait, and nobody listens.
    const nothing = () => {};
    const model = { get: (name) => traits[name], set: nothing, save_changes: nothing, on: nothing, off: nothing, send: nothing };
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    // Should it fail, the still figure stays.
    import(address).then(({ default: widget }) => widget.render({ model, el })).catch(console.error);
  }
}
