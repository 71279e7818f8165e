/* Numbers as the page writes them: the rules of report/numbers.py, which a test compares. */

const told = (value, places = 2) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = Number.isFinite(value) ? Math.abs(value).toFixed(places) : "∞";
  return value < 0 && /[1-9∞]/.test(text) ? `−${text}` : text;
};

/* A share in per cent; never rounded to 0% or 100% unless it is. */
const percent = (value) => {
  if (value === null || value === undefined || !Number.isFinite(value)) return told(value);
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  if (size === 0 || (size >= 0.005 && size < 0.995) || size >= 1) {
    return told(100 * value, 0) + "%";
  }
  if (size < 0.0005) return `${sign}under 0.1%`;
  return size >= 0.9995 ? `${sign}over 99.9%` : `${told(100 * value, 1)}%`;
};

/* 1,234 */
const counted = (value) => value.toLocaleString("en");
