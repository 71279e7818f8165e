"use strict";
/* Embeds the figures and lets one chosen sample drive the spacetime diagram, its table and its pictures. */
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("page-data");
  const place = (id) => document.getElementById(id);
  const sourceOf = (name) => {
    for (const doc of Bokeh.documents) {
      const model = doc.get_model_by_name(name);
      if (model) return model;
    }
    return null;
  };

  const worldline = (correlations) => {
    const line = { x: [0], t: [0], rho: [null], proper: [0], layer: ["(start)"] };
    correlations.forEach((rho, index) => {
      const value = rho ?? 0;
      line.x.push(line.x[index] + value);
      line.t.push(index + 1);
      line.rho.push(rho);
      line.proper.push(line.proper[index] + Math.sqrt(Math.max(0, 1 - value * value)));
      line.layer.push(data.layers[index]);
    });
    return line;
  };

  const text = (tag, content, className) => {
    const element = document.createElement(tag);
    element.textContent = content;
    if (className) element.className = className;
    return element;
  };

  const showPictures = (sample) => {
    const row = place("chosen-pictures");
    row.replaceChildren();
    for (const [name, said] of [["clean", sample.clean_prediction], ["noise", sample.noise_prediction],
                                ["adversarial", sample.adversarial_prediction], ["change", null]]) {
      const frame = document.createElement("figure");
      const image = document.createElement("img");
      image.className = "sample";
      image.src = sample[name];
      image.alt = `${name} of sample ${sample.number}`;
      frame.append(image, text("figcaption", name));
      if (said !== null) frame.append(text("figcaption", `→ ${said}`, said === sample.label ? "" : "wrong"));
      row.append(frame);
    }
  };

  const showTable = (lines) => {
    const body = place("chosen-table");
    body.replaceChildren();
    data.layers.forEach((layer, index) => {
      const row = document.createElement("tr");
      row.append(text("td", layer, "text"));
      for (const twin of data.twins) {
        const rho = lines[twin].rho[index + 1];
        row.append(text("td", rho === null ? "–" : rho.toFixed(3)), text("td", lines[twin].proper[index + 1].toFixed(2)));
      }
      body.append(row);
    });
  };

  const choose = (position) => {
    const sample = data.samples[position];
    if (!sample) return;
    const lines = {};
    for (const twin of data.twins) {
      lines[twin] = worldline(data.worldlines[twin][position]);
      const source = sourceOf(`worldline-${twin}`);
      if (source) source.data = lines[twin];
    }
    const last = data.layers.length;
    const depth = (twin) => lines[twin].proper[last].toFixed(2);
    place("chosen-sentence").textContent =
      `Sample ${sample.number} (label ${sample.label}, ${sample.state}): the network tells its adversarial twin apart for a proper ` +
      `depth of ${depth("adversarial_clean")} of ${last} layers, its noise twin for ${depth("noise_clean")}. ` +
      `Nearer to the wrong class for good from: ${sample.swap}.`;
    place("choose-sample").value = String(position);
    showPictures(sample);
    showTable(lines);
    for (const card of document.querySelectorAll(".card"))
      card.setAttribute("aria-current", String(card.dataset.position === String(position)));
  };

  const start = async () => {
    for (const [id, item] of Object.entries(read("figure-data"))) await Bokeh.embed.embed_item(item, `figure-${id}`);
    const select = place("choose-sample");
    select.addEventListener("change", () => choose(Number(select.value)));
    const step = (by) => choose((Number(select.value) + by + data.samples.length) % data.samples.length);
    place("previous-sample").addEventListener("click", () => step(-1));
    place("next-sample").addEventListener("click", () => step(1));
    for (const button of document.querySelectorAll(".card button"))
      button.addEventListener("click", () => { choose(Number(button.dataset.position)); place("spacetime").scrollIntoView(); });
    for (const state of data.states) {
      const source = sourceOf(`map-${state}`);
      if (!source) continue;
      const columns = Object.fromEntries(["clean", "noise", "adversarial", "change"].map(
        (name) => [name, Array.from(source.data.position, (position) => data.samples[position][name])]));
      source.data = { ...source.data, ...columns };
      source.selected.properties.indices.change.connect(() => {
        const [first] = source.selected.indices;
        if (first !== undefined) choose(source.data.position[first]);
      });
    }
    choose(data.chosen);
    document.body.dataset.ready = "true";
  };
  start();
})();
