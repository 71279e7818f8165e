/* Last of all scripts: light or dark, heat maps, every figure; then the page is ready. */

place("toggle-theme")?.addEventListener("click", () => {
  const { dataset } = document.documentElement;
  const dark = dataset.theme
    ? dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  dataset.theme = dark ? "light" : "dark";
});

/* Heat maps that follow a choice of layer. */
for (const select of document.querySelectorAll("select[data-heat]")) {
  const layers = JSON.parse(place(`${select.dataset.heat}-cells`).textContent);
  const cells = document.querySelectorAll(`#${select.dataset.heat} td`);
  const show = () => layers[Number(select.value)].flat().forEach(([text, look], index) => {
    cells[index].textContent = text;
    cells[index].className = look;
  });
  select.addEventListener("change", show);
  show();
}

/* Figures of the shared kinds, each beside its own data. */
for (const host of document.querySelectorAll("[data-figure]")) {
  const it = JSON.parse(host.querySelector("script").textContent);
  drawing(host, [], () => KINDS[host.dataset.figure](host, it));
}

for (const draw of drawn) draw();
document.body.dataset.ready = "true";
