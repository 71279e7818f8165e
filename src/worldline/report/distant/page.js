"use strict";
/* Embeds the figures, and lets a choice of layer fill the class map. */
(async () => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("page-data");
  for (const [id, item] of Object.entries(read("figure-data"))) await Bokeh.embed.embed_item(item, `figure-${id}`);
  const select = document.getElementById("choose-layer");
  if (select) {
    const source = Bokeh.documents.map((it) => it.get_model_by_name("classes")).find((it) => it);
    select.value = String(data.layer);
    select.addEventListener("change", () => { source.data = { ...source.data, ...data.cells[Number(select.value)] }; });
  }
  document.body.dataset.ready = "true";
})();
