/**
 * The life of a page's Python: started on first touch, one computation at a time, stopped by ending its worker.
 *
 * @typedef {import('./model.mjs').Model} Model
 * @typedef {import('./model.mjs').State} State
 * @typedef {import('./queue.mjs').Move} Move
 * @typedef {{model: string, cell: number, nth: number, alt: string}} PlannedView
 * @typedef {{views: PlannedView[], models: Record<string, {kind: string, state: State}>, cells: object[],
 *   packages: string[], figure: object, runtime: string, wheels: string[], stop_after_s: number}} Plan
 * @typedef {{kind: string, id?: string, cell?: number, state?: State, output?: any}} PythonEvent
 * @typedef {{loading(step: string, ms: number): void, ready(): void,
 *   running(): void, slow(): void, done(ms: number): void,
 *   failed(text: string): void, stopped(): void}} Reporter  Shows the reader what happens.
 */
import { MoveQueue } from './queue.mjs';
import { ModelStore } from './model.mjs';

export class Session {
  /** @type {Worker | null} */ #worker = null;
  /** @type {'off' | 'loading' | 'idle' | 'running'} */ #phase = 'off';
  #queue = new MoveQueue();
  /** @type {Move[]} The moves that failed, for another try. */ #failed = [];
  /** @type {Move[]} The moves being computed. */ #current = [];
  #again = false;
  #slowTimer = 0;

  /** @param {Plan} plan @param {ModelStore} store @param {Reporter} report */
  constructor(plan, store, report) {
    Object.assign(this, { plan, store, report });
  }

  /** What the foot of a view offers. */
  get actions() {
    return { stop: () => this.stop(), retry: () => this.retry() };
  }

  /** The reader reaches for a control: start loading, before the first value arrives. */
  prepare() {
    if (this.#phase === 'off') this.#start();
  }

  /** The reader set a value. @param {Model} model @param {State} state */
  move(model, state) {
    model.move(state);
    this.#queue.push({ model, state });
    this.#pump();
  }

  /** The reader pressed a button. @param {Model} model */
  click(model) {
    this.#queue.push({ model });
    this.#pump();
  }

  /** Compute again what failed; start again where starting failed. */
  retry() {
    this.#failed.forEach((move) => this.#queue.push(move));
    this.#again = this.#phase === 'idle';
    this.#pump();
  }

  /** End the running computation. Only ending its worker can; the next move starts a new one. */
  stop() {
    this.#end();
    this.report.stopped();
  }

  #pump() {
    if (this.#phase === 'off') this.#start();
    if (this.#phase !== 'idle' || this.#queue.isEmpty) return;
    this.#current = this.#queue.takeAll();
    this.#failed = [];
    const moves = this.#current.map(({ model, state }) => ({ id: model.liveId, state }));
    this.#enter('running');
    this.report.running();
    this.#worker?.postMessage({ kind: 'run', moves, again: this.#again });
    this.#again = false;
  }

  #start() {
    this.#enter('loading');
    this.report.loading('start', 0);
    this.#worker = new Worker(new URL('./worker.mjs', import.meta.url), { type: 'module' });
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = (event) => this.#fail(event.message || 'the worker could not be started');
    const { runtime, wheels, packages, figure, cells } = this.plan;
    this.#worker.postMessage({ kind: 'start', runtime, wheels, packages, figure, cells });
  }

  /** @param {any} message */
  #hear(message) {
    if (message.kind === 'progress') this.report.loading(message.step, message.ms);
    else if (message.kind === 'ready') this.#becomeReady(message.events);
    else if (message.kind === 'result') this.#take(message);
    else if (message.kind === 'crash') this.#fail(message.text);
  }

  /** @param {PythonEvent[]} events All that the cells sent while they ran. */
  #becomeReady(events) {
    const shown = new Map();
    for (const event of events) {
      if (event.kind !== 'display') this.#apply(event);
      const id = event.output?.data?.['application/vnd.jupyter.widget-view+json']?.model_id;
      if (id) shown.set(event.cell, [...(shown.get(event.cell) ?? []), id]);
    }
    for (const { model, cell, nth } of this.plan.views) this.store.bind(model, shown.get(cell)?.[nth] ?? '');
    this.#queue.dropValues();
    this.store.moved().forEach((model) => this.#queue.push({ model, state: { ...model.moved } }));
    this.#enter('idle');
    this.report.ready();
    this.#pump();
  }

  /** @param {{events: PythonEvent[], error: string | null, ms: number}} result */
  #take({ events, error, ms }) {
    this.#enter('idle');
    events.forEach((event) => this.#apply(event, Boolean(error)));
    if (error) this.#failed = this.#current;
    if (error && this.#queue.isEmpty) this.report.failed(error);
    else this.report.done(ms);
    this.#pump();
  }

  /** @param {PythonEvent} event @param {boolean} [keepOutputs] After an error the last good figure stays. */
  #apply(event, keepOutputs = false) {
    if (event.kind === 'open') this.store.open(event.id ?? '', event.state ?? {});
    if (event.kind !== 'update' || (keepOutputs && event.state && 'outputs' in event.state)) return;
    this.store.get(event.id ?? '')?.update(event.state ?? {});
  }

  /** Python could not be started, or died. @param {string} text */
  #fail(text) {
    this.#end();
    this.report.failed(text);
  }

  #end() {
    this.#worker?.terminate();
    this.#worker = null;
    this.store.unbindAll();
    this.#queue.dropValues();
    this.#enter('off');
  }

  /** @param {'off' | 'loading' | 'idle' | 'running'} phase */
  #enter(phase) {
    this.#phase = phase;
    clearTimeout(this.#slowTimer);
    if (phase === 'running') this.#slowTimer = setTimeout(() => this.report.slow(), this.plan.stop_after_s * 1000);
  }
}
