/* Pictures of samples, cut from the sheets that the page carries once. */

const PICTURES = ["clean", "noise", "adversarial", "change"];

const sheets = data.models.map(({ pictures }) => {
  const images = {};
  for (const kind of PICTURES) {
    images[kind] = new Image();
    images[kind].src = pictures.sheets[kind];
  }
  return { images, at: new Map(pictures.places.map((position, index) => [position, index])) };
});

const pictureOf = (kind, position) => {
  const { images, at } = sheets[state.model], { width, height, columns } = model().pictures;
  const index = at.get(position), image = images[kind];
  if (index === undefined) return element("span", { class: "sample none" }, "no picture");
  const own = element("canvas", {
    width, height, class: "sample", role: "img",
    "aria-label": `${kind} of sample ${model().samples.number[position]}`,
  });
  const left = (index % columns) * width, top = Math.floor(index / columns) * height;
  const paint = () =>
    own.getContext("2d").drawImage(image, left, top, width, height, 0, 0, width, height);
  if (image.complete) paint();
  else image.addEventListener("load", paint, { once: true });
  return own;
};

/* The four pictures of a sample, each with what the model said; a wrong answer is marked by a sign
   as well as by its colour. */
const pictureRow = (position) => {
  const it = model(), all = it.samples, right = all.label[position];
  const row = element("div", { class: "twins" });
  for (const kind of PICTURES) {
    const picture = pictureOf(kind, position);
    const frame = element("figure", {}, picture, element("figcaption", {}, kind));
    const said = all[kind]?.[position];
    if (said !== undefined) {
      const answer = element("figcaption", { class: said === right ? "right" : "wrong" });
      answer.textContent = `${said === right ? "✓" : "✗"} ${it.names[said]}`;
      frame.append(answer);
    }
    row.append(frame);
  }
  return row;
};
