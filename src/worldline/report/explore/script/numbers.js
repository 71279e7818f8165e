/* Numbers as the page carries them, and as it writes them. */

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

const phi = (name, sample, layer) => rapidities(model(), name)[sample * model().layers.length + layer];

const told = (value, places = 2) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return value.toFixed(places).replace("-", "−");
};

const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(0)}%`);

const STATES = ["fooled", "held", "wrong by itself"];

const sampleName = (position) => {
  const it = model(), all = it.samples;
  return `Sample ${all.number[position]}, a ${it.names[all.label[position]]}, ${STATES[all.state[position]]}` +
    `: clean → ${it.names[all.clean[position]]}, noise → ${it.names[all.noise[position]]}, ` +
    `adversarial → ${it.names[all.adversarial[position]]}`;
};
