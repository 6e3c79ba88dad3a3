// Each figure can be taken away as SVG or PNG, in the colours that the page has now.
document.addEventListener("DOMContentLoaded", () => {
  const page = location.pathname.split("/").at(-1).replace(/\.html$/, "") || "figure";

  function drawing(figure) {
    const shown = figure.querySelector("svg");
    const { color, fontFamily } = getComputedStyle(shown);
    const probe = figure.appendChild(document.createElement("span"));
    const colour = (named) => {
      probe.style.color = named;
      return getComputedStyle(probe).color;
    };
    const copy = shown.cloneNode(true);
    const { width, height } = shown.viewBox.baseVal;
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    const text = new XMLSerializer()
      .serializeToString(copy)
      .replace(/font-family: [^;"]+/g, () => `font-family: ${fontFamily.replaceAll('"', "'")}`)
      .replace(/var\(--[\w-]+, (?:[^()]|\([^()]*\))+\)/g, colour)
      .replaceAll("currentColor", color);
    probe.remove();
    return { text, width, height };
  }

  async function painted({ text, width, height }) {
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    await image.decode();
    URL.revokeObjectURL(image.src);
    const canvas = document.createElement("canvas");
    canvas.width = 3 * width;
    canvas.height = 3 * height;
    const paper = canvas.getContext("2d");
    paper.fillStyle = getComputedStyle(document.body).backgroundColor;
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  for (const [place, numbers] of [...document.querySelectorAll(".icl-figure a.icl-csv")].entries()) {
    const figure = numbers.closest(".icl-figure");
    const name = `${page}-${place + 1}`;
    numbers.download = `${name}.csv`;
    const button = (kind, title, made) => {
      const element = document.createElement("button");
      Object.assign(element, { type: "button", className: "icl-csv", textContent: kind, title });
      element.addEventListener("click", async () => {
        save(await made(drawing(figure)), `${name}.${kind.toLowerCase()}`);
      });
      return element;
    };
    numbers.after(
      " ",
      button("SVG", "This figure as a drawing", ({ text }) => new Blob([text], { type: "image/svg+xml" })),
      " ",
      button("PNG", "This figure as a picture", painted),
    );
  }
});
