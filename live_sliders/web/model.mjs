/**
 * Widget models as the page knows them.
 *
 * A model saved with the page keeps its object for as long as the page lives; each time Python starts, the model
 * that the cells create anew is bound to it. So controls, focus and listeners survive a restart.
 *
 * @typedef {Record<string, any>} State
 */

const REFERENCE = 'IPY_MODEL_';
const SHOWN_ONLY = new Set(['Label', 'HTML', 'HTMLMath', 'IntProgress', 'FloatProgress']);

/** One widget: its kind, its state, and who wants to know about changes. */
export class Model {
  /** @type {string | null} The id that the running Python knows it by. */
  liveId = null;
  /** @type {State} What the reader has set and Python has not changed since. */
  moved = {};
  /** @type {string | null} The view in which the reader moved it last. */
  view = null;
  /** @type {Set<(patch: State) => void>} */
  #listeners = new Set();

  /** @param {string} id @param {string} kind @param {State} state */
  constructor(id, kind, state) {
    Object.assign(this, { id, kind, state });
    /** What it was set to when it was made, to go back to. */ this.saved = this.setting;
  }

  /** The part of the state that a reader sets: an index into options, or a value. @returns {State} */
  get setting() {
    const key = '_options_labels' in this.state ? 'index' : 'value';
    return key in this.state ? { [key]: this.state[key] } : {};
  }

  /** Whether it is one that a reader sets. */
  get canBeSet() {
    return !SHOWN_ONLY.has(this.kind) && Object.keys(this.setting).length > 0;
  }

  /** Whether it is set otherwise than at first. */
  get isChanged() {
    return this.canBeSet && !this.has(this.saved);
  }

  /** @param {(patch: State) => void} listener */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** Whether these values are set already. @param {State} values */
  has(values) {
    return Object.entries(values).every(([key, value]) => JSON.stringify(this.state[key]) === JSON.stringify(value));
  }

  /** Take over changed values, from Python. @param {State} patch */
  update(patch) {
    for (const key of Object.keys(patch)) delete this.moved[key];
    this.#apply(patch);
  }

  /** Take over values that the reader set. @param {State} patch */
  move(patch) {
    Object.assign(this.moved, patch);
    this.#apply(patch);
  }

  /** @param {State} patch */
  #apply(patch) {
    Object.assign(this.state, patch);
    this.#listeners.forEach((listener) => listener(patch));
  }
}

/** All models of a page, by saved id and by live id. */
export class ModelStore {
  /** @type {Map<string, Model>} */ #saved = new Map();
  /** @type {Map<string, Model>} */ #live = new Map();

  /** @param {Record<string, {kind: string, state: State}>} models As the page's plan holds them. */
  constructor(models) {
    for (const [id, { kind, state }] of Object.entries(models)) this.#saved.set(id, new Model(id, kind, state));
  }

  /** @param {string} reference A model's id, with or without Jupyter's prefix. @returns {Model | undefined} */
  get(reference) {
    const id = reference.replace(REFERENCE, '');
    return this.#live.get(id) ?? this.#saved.get(id);
  }

  /** A model and all inside it, in the order shown. @param {string} reference @returns {Model[]} */
  inside(reference) {
    const model = this.get(reference);
    return model ? [model, ...(model.state.children ?? []).flatMap((child) => this.inside(child))] : [];
  }

  /** All models that the reader has moved. @returns {Model[]} */
  moved() {
    const models = new Set([...this.#saved.values(), ...this.#live.values()]);
    return [...models].filter((model) => model.liveId && Object.keys(model.moved).length);
  }

  /** Forget the running Python. */
  unbindAll() {
    this.#live.forEach((model) => { model.liveId = null; });
    this.#live.clear();
  }

  /** Note a model that Python created. @param {string} id @param {State} state */
  open(id, state) {
    const model = new Model(id, state._model_name.replace(/Model$/, ''), state);
    model.liveId = id;
    this.#live.set(id, model);
  }

  /** Join a saved view to the one that the cells have just shown. @param {string} savedId @param {string} liveId */
  bind(savedId, liveId) {
    const saved = this.#saved.get(savedId.replace(REFERENCE, ''));
    const live = this.#live.get(liveId.replace(REFERENCE, ''));
    if (!saved || !live || saved.kind !== live.kind) return false;
    const [old, fresh] = [saved.state.children ?? [], live.state.children ?? []];
    if (saved.canBeSet && !live.has(saved.setting)) Object.assign(saved.moved, saved.setting); // it begins elsewhere
    saved.liveId = live.liveId;
    this.#live.set(/** @type {string} */ (live.liveId), saved);
    const same = old.length === fresh.length && old.every((child, i) => this.bind(child, fresh[i]));
    if (!same) saved.update({ children: fresh });
    return true;
  }
}
