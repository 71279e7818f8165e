/* What every page can do: light or dark, and heat maps that follow a choice of layer. */
const root = document.documentElement;
document.getElementById("toggle-theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
for (const select of document.querySelectorAll("select[data-heat]")) {
  const layers = JSON.parse(document.getElementById(`${select.dataset.heat}-cells`).textContent);
  const cells = document.querySelectorAll(`#${select.dataset.heat} td`);
  const show = () => layers[Number(select.value)].flat().forEach(([text, look], index) => {
    cells[index].textContent = text;
    cells[index].className = look;
  });
  select.addEventListener("change", show);
  show();
}
if (!document.getElementById("page-data")) document.body.dataset.ready = "true";
