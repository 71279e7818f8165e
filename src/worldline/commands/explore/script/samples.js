/* Numbers of the samples, as the page carries them, and what is said of one. */

const INFINITE = 32767, UNDEFINED = -32768;
const STATES = ["fooled", "held", "wrong by itself"];

/* Numbers (samples × layers), decoded once; what is undefined is NaN. */
const unpacked = new Map();
const unpack = (packed) => {
  if (!unpacked.has(packed)) {
    const bytes = Uint8Array.from(atob(packed.content), (letter) => letter.charCodeAt(0));
    const steps = new DataView(bytes.buffer);
    unpacked.set(packed, Float64Array.from({ length: bytes.length / 2 }, (_, index) => {
      const step = steps.getInt16(2 * index, true);
      if (step === UNDEFINED) return NaN;
      return Math.abs(step) === INFINITE ? Math.sign(step) * Infinity : step / packed.steps;
    }));
  }
  return unpacked.get(packed);
};

const rapidities = (it, name) => unpack(it.phi[name]);

const phi = (name, sample, layer) =>
  rapidities(model(), name)[sample * model().layers.length + layer];

/* Proper depth of a twin up to and with a layer. */
const proper = (name, sample, layer) =>
  unpack(model().proper[name])[sample * model().layers.length + layer];

const sampleName = (position) => {
  const it = model(), all = it.samples;
  const said = ["clean", "noise", "adversarial"]
    .map((twin) => `${twin} → ${it.names[all[twin][position]]}`);
  return `Sample ${all.number[position]}, a ${it.names[all.label[position]]}, ` +
    `${STATES[all.state[position]]}: ${said.join(", ")}`;
};

/* On which side the attacked twin stands: closer to the wrong class's mean, or to its own. */
const sideOf = (sample, layer) => {
  const own = phi("adversarial_true", sample, layer);
  const other = phi("adversarial_wrong", sample, layer);
  if (Number.isNaN(own) || Number.isNaN(other)) return "its side is undefined";
  return other > own ? "closer to the wrong class" : "closer to its own class";
};

/* What this sample does at a layer: its own numbers, not those of the others. */
const sampleAt = (sample, layer) => {
  const at = (name) => told(phi(name, sample, layer));
  return `At ${model().layers[layer]}, its attacked twin has φ = ${at("adversarial_clean")} to ` +
    `the original (its noise twin ${at("noise_clean")}), ${at("adversarial_true")} to the mean ` +
    `of its own class and ${at("adversarial_wrong")} to that of the wrong class: ` +
    `${sideOf(sample, layer)}.`;
};
