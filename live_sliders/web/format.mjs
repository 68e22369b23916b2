/**
 * Numbers as ipywidgets shows them beside a slider: the common part of the d3 format language.
 *
 * @param {number} value
 * @param {string} [spec] such as `.2f`, `,d`, `.3g`, `.0%`
 * @returns {string}
 */
export function formatNumber(value, spec = '') {
  const [, comma, digits, type] = spec.match(/^(,?)(?:\.(\d+))?([a-z%]?)$/) ?? ['', '', undefined, ''];
  const text = byType(value, type, digits === undefined ? undefined : Number(digits));
  return comma ? withCommas(text) : text;
}

/** @param {number} value @param {string} type @param {number | undefined} digits */
function byType(value, type, digits) {
  if (type === 'd') return String(Math.round(value));
  if (type === 'f') return value.toFixed(digits ?? 6);
  if (type === 'e') return value.toExponential(digits ?? 6);
  if (type === '%') return `${(value * 100).toFixed(digits ?? 6)}%`;
  if (type === 'g') return value.toPrecision(Math.max(1, digits ?? 6));
  return String(value);
}

/** @param {string} text */
function withCommas(text) {
  const [whole, ...rest] = text.split('.');
  return [whole.replace(/\B(?=(\d{3})+(?!\d))/g, ','), ...rest].join('.');
}
