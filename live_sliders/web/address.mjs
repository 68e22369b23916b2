/**
 * The state of a page's controls in its address: `#section&hit-rate=0.95&input=60000`.
 *
 * A part without "=" is an ordinary anchor. Only what differs from the saved page is written; what is read counts only
 * where a reader could have set it by hand.
 *
 * @typedef {import('./model.mjs').Model} Model
 * @typedef {import('./model.mjs').State} State
 */
import { nameOf } from './row.mjs';

/** What may follow "#" beside values: an anchor. @param {string} hash */
export function anchorOf(hash) {
  return hash.replace(/^#/, '').split('&').find((part) => part && !part.includes('=')) ?? '';
}

/** "hit rate (%)" gives "hit-rate". @param {Model} model */
function slug(model) {
  const name = nameOf(model).replace(/\([^()]*\)\s*$/, '').toLowerCase();
  return name.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '') || model.kind.toLowerCase();
}

/** A setting as texts: several for a list, else one. @param {Model} model @returns {string[]} */
function toTexts({ state, setting }) {
  const each = [setting.index ?? setting.value].flat();
  return 'index' in setting ? each.map((index) => state._options_labels[index]) : each.map(String);
}

/** The setting that texts stand for, or null where the control could not be set so. @param {Model} model @param {string[]} texts @returns {State | null} */
function fromTexts(model, texts) {
  const { state, setting } = model;
  const isList = Array.isArray(setting.index ?? setting.value);
  if (!isList && texts.length !== 1) return null;
  if ('index' in setting) {
    const index = texts.filter((text) => !isList || text).map((text) => state._options_labels.indexOf(text));
    return index.includes(-1) ? null : { index: isList ? index : index[0] };
  }
  if (typeof setting.value === 'boolean') return ['true', 'false'].includes(texts[0]) ? { value: texts[0] === 'true' } : null;
  if (typeof setting.value === 'string') return { value: texts[0] };
  const numbers = texts.map((text) => (text.trim() === '' ? NaN : Number(text)));
  if (!numbers.every((number) => isAllowed(model, number))) return null;
  if (!isList) return { value: numbers[0] };
  return numbers.length === 2 && numbers[0] <= numbers[1] ? { value: numbers } : null;
}

/** @param {Model} model @param {number} number */
function isAllowed({ kind, state }, number) {
  const isLog = kind === 'FloatLogSlider';
  const [min, max] = [state.min ?? -Infinity, state.max ?? Infinity].map((end) => (isLog ? state.base ** end : end));
  return min <= number && number <= max && Number.isFinite(number) && (!kind.includes('Int') || Number.isInteger(number));
}

export class Address {
  /** @type {Map<string, {model: Model, view: string}>} */ #controls = new Map();
  #timer = 0;

  /** @param {import('./session.mjs').PlannedView[]} views @param {import('./model.mjs').ModelStore} store */
  constructor(views, store) {
    const found = views.flatMap(({ model: view }) => store.inside(view).map((model) => ({ model, view })));
    const seen = new Set();
    for (const { model, view } of found) {
      if (seen.has(model) || !model.canBeSet) continue;
      seen.add(model);
      this.#controls.set(this.#free(slug(model)), { model, view });
    }
  }

  /** @param {string} key */
  #free(key) {
    for (let n = 2, free = key; ; n += 1) {
      if (!this.#controls.has(free)) return free;
      free = `${key}-${n}`;
    }
  }

  /** What an address sets, by view; what no control here could be set to is passed over. @param {string} hash @returns {Map<string, {model: Model, state: State}[]>} */
  read(hash) {
    const values = new URLSearchParams(hash.replace(/^#/, '').split('&').filter((part) => part.includes('=')).join('&'));
    const moves = new Map();
    for (const [key, { model, view }] of this.#controls) {
      const state = values.has(key) ? fromTexts(model, values.getAll(key)) : null;
      if (state) moves.set(view, [...(moves.get(view) ?? []), { model, state }]);
    }
    return moves;
  }

  /** What follows "#" for an anchor and all that is set otherwise than saved, in the page or in one view. @param {string} anchor @param {string} [only] */
  write(anchor, only) {
    const values = new URLSearchParams();
    for (const [key, { model, view }] of this.#controls) {
      if (!model.isChanged || (only && view !== only)) continue;
      const texts = toTexts(model);
      (texts.length ? texts : ['']).forEach((text) => values.append(key, text));
    }
    return [anchor, String(values)].filter(Boolean).join('&');
  }

  /** Have the page's address follow, once the reader rests. */
  follow() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const hash = this.write(anchorOf(location.hash));
      history.replaceState(history.state, '', `${location.pathname}${location.search}${hash && `#${hash}`}`);
    }, 200);
  }
}

/** Put a link into the clipboard; return "" or, where no way leads there, the link. @param {string} link */
export async function copy(link) {
  try {
    await navigator.clipboard.writeText(link); // not there without https
    return '';
  } catch {
    return link;
  }
}
