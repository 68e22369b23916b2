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

const UNIT = /\(([^()]{1,16})\)\s*$/;

/** The unit that a control's description names in brackets at its end: "cache (TB)" gives "TB". @param {import('./model.mjs').State} state */
export function unitOf({ description = '', readout_format: spec = '' }) {
  return spec?.endsWith('%') ? '' : description?.match(UNIT)?.[1].trim() ?? '';
}

/** A quantity with its unit; an option in words ("at the end") takes none. @param {string} text @param {import('./model.mjs').State} state */
export function withUnit(text, state) {
  return /\d/.test(text) ? [text, unitOf(state)].filter(Boolean).join(' ') : text;
}

/**
 * The number that a reader typed: with or without the unit, with commas between thousands, as a percentage where the
 * control shows one ("95%", "95" or "0.95"). NaN for anything else.
 *
 * @param {string} typed
 * @param {import('./model.mjs').State} state
 * @param {number} max The most that the control takes.
 */
export function readNumber(typed, state, max) {
  const packed = (text) => text.replace(/[\s,_]/g, '');
  const isPercent = state.readout_format?.endsWith('%');
  const unit = isPercent ? '%' : packed(unitOf(state));
  const hasUnit = unit !== '' && packed(typed).endsWith(unit);
  const bare = packed(typed).slice(0, hasUnit ? -unit.length : undefined);
  const number = bare === '' ? NaN : Number(bare);
  return isPercent && (hasUnit || number > max) ? number / 100 : number;
}
