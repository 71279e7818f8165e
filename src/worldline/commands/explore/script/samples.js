/* Numbers of the samples, as the page carries them, and what a sample is called. */

const INFINITE = 32767, UNDEFINED = -32768, STEPS_PER_NAT = 2000;

/* Rapidities (samples × layers) of a comparison, decoded once. */
const rapidities = (it, name) => {
  it.decoded ??= {};
  if (!it.decoded[name]) {
    const bytes = Uint8Array.from(atob(it.phi[name]), (letter) => letter.charCodeAt(0));
    const steps = new DataView(bytes.buffer);
    it.decoded[name] = Float64Array.from({ length: bytes.length / 2 }, (_, index) => {
      const step = steps.getInt16(2 * index, true);
      if (step === UNDEFINED) return NaN;
      return Math.abs(step) === INFINITE ? Math.sign(step) * Infinity : step / STEPS_PER_NAT;
    });
  }
  return it.decoded[name];
};

const phi = (name, sample, layer) =>
  rapidities(model(), name)[sample * model().layers.length + layer];

const STATES = ["fooled", "held", "wrong by itself"];

const sampleName = (position) => {
  const it = model(), all = it.samples;
  const said = ["clean", "noise", "adversarial"]
    .map((twin) => `${twin} → ${it.names[all[twin][position]]}`);
  return `Sample ${all.number[position]}, a ${it.names[all.label[position]]}, ` +
    `${STATES[all.state[position]]}: ${said.join(", ")}`;
};
