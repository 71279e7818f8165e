"use strict";
/* Embeds the figures; there is nothing to choose on this page. */
(async () => {
  const figures = JSON.parse(document.getElementById("figure-data").textContent);
  for (const [id, item] of Object.entries(figures)) await Bokeh.embed.embed_item(item, `figure-${id}`);
  document.body.dataset.ready = "true";
})();
