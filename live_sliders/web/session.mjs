/**
 * The life of a page's Python: started when a view comes near or is touched, one computation at a time, stopped by
 * ending its worker.
 *
 * @typedef {import('./model.mjs').Model} Model
 * @typedef {import('./model.mjs').State} State
 * @typedef {import('./queue.mjs').Move} Move
 * @typedef {{model: string, cell: number, nth: number, alt: string}} PlannedView
 * @typedef {{views: PlannedView[], models: Record<string, {kind: string, state: State}>, cells: object[],
 *   packages: string[], exercises: object[], figure: object, runtime: string, memory: string, memory_key: string, wheels: string[],
 *   stop_after_s: number}} Plan
 * @typedef {{kind: string, id?: string, cell?: number, state?: State, output?: any}} PythonEvent
 * @typedef {{entered(phase: string): void, loading(progress: Progress): void, ready(ms: number): void, running(): void,
 *   slow(): void, done(ms: number, number: number): void, unchanged(number: number): void,
 *   failed(text: string, number: number): void, stopped(): void}} Reporter  Shows the reader what happens; the number
 *   is that of the last move that it happened to.
 * @typedef {{code: string, check: string, loading(): void, running(): void, done(result: Attempt): void, stopped(): void,
 *   failed(text: string): void}} Job  A reader's own code, run once by itself, and who hears of it.
 * @typedef {{outputs: object[], trouble: null | {kind: string, text: string, line: number | null, source: string,
 *   traceback: string}, ms: number}} Attempt
 * @typedef {{step: string, at: number, of: number, ms: number}} Progress  A step of the start, the how many-th of how
 *   many of its kind, and the time since the start.
 */
import { MoveQueue } from './queue.mjs';
import { ModelStore } from './model.mjs';

export class Session {
  /** @type {Worker | null} */ #worker = null;
  /** @type {'off' | 'loading' | 'idle' | 'running'} */ #phase = 'off';
  #queue = new MoveQueue();
  /** @type {Move[]} The moves that failed, for another try. */ #failed = [];
  #error = '';
  /** @type {Move[]} The moves being computed. */ #current = [];
  #again = false;
  /** @type {Job[]} Jobs that wait for Python. */ #jobs = [];
  /** @type {Job | null} The job being run. */ #job = null;
  /** How many moves the reader has made, which numbers them. */ #moves = 0;
  /** The number of the last move being computed. */ #reached = 0;
  /** Whether some move has no answer yet, or Python is gone and its answers with it. */ #behind = false;
  #hasComputed = false;
  #slowTimer = 0;
  #hasStarted = false;
  /** @type {Progress} */ #progress = { step: 'start', at: 0, of: 1, ms: 0 };

  /** @param {Plan} plan @param {ModelStore} store @param {Reporter} report @param {(view: string | null) => number} widthOf A view's width for outputs, in CSS pixels. */
  constructor(plan, store, report, widthOf) {
    Object.assign(this, { plan, store, report, widthOf });
    report.entered('off');
  }

  /** The reader makes a move: its number. */
  nextMove() {
    return (this.#moves += 1);
  }

  /** A view comes near: start Python, once in the page's life, so that it is there when the reader reaches for it. */
  foresee() {
    if (!this.#hasStarted) this.#start();
  }

  /** The reader reaches for a control: start loading, before the first value arrives. */
  prepare() {
    if (this.#phase === 'off') this.#start();
    else if (this.#phase === 'loading') this.report.loading(this.#progress);
  }

  /** The reader set values in one view. Those that the models have already need no computation. @param {...Move} moves */
  move(...moves) {
    const fresh = moves.filter(({ model, state }) => !model.has(state));
    moves.forEach((move) => move.model.move(fresh.includes(move) ? move.state : {}));
    const views = moves.map(({ model }) => model.view);
    if (fresh.length) this.#push(...fresh);
    else if (this.#behind) this.#pump();
    else if (this.#failed.some(({ model }) => views.includes(model.view))) this.report.failed(this.#error, this.#moves);
    else this.report.unchanged(this.#moves);
  }

  /** The reader pressed a button. @param {Model} model */
  click(model) {
    this.#push({ model });
  }

  /** Run a reader's own code, once Python has time for it. @param {Job} job */
  execute(job) {
    this.#jobs.push(job);
    job.loading();
    this.#pump();
  }

  /** Compute again what failed; start again where starting failed. */
  retry() {
    this.#again = true;
    this.#push(...this.#failed);
  }

  /** End the running computation. Only ending its worker can; the next move starts a new one. */
  stop() {
    const jobs = this.#end();
    this.report.stopped();
    jobs.forEach((job) => job.stopped());
  }

  /** @param {...Move} moves */
  #push(...moves) {
    this.#behind = true;
    moves.forEach((move) => this.#queue.push(move));
    this.#pump();
  }

  #pump() {
    if (this.#phase === 'off') this.#start();
    else if (this.#phase === 'loading') this.report.loading(this.#progress);
    if (this.#job && !this.#queue.isEmpty) this.report.running(); // views wait for a reader's code
    if (this.#phase !== 'idle') return;
    if (this.#queue.isEmpty) {
      this.#catchUp();
      return this.#runJob();
    }
    this.#current = this.#queue.takeAll();
    this.#reached = this.#moves;
    const moves = this.#current.map(({ model, state }) => ({ id: model.liveId, state, width: this.widthOf(model.view) }));
    this.#enter('running');
    this.report.running();
    this.#worker?.postMessage({ kind: 'run', moves, again: this.#again });
    this.#again = false;
  }

  #runJob() {
    this.#job = this.#jobs.shift() ?? null;
    if (!this.#job) return;
    const { code, check } = this.#job;
    this.#enter('running');
    this.#job.running();
    this.#worker?.postMessage({ kind: 'attempt', code, check });
  }

  #start() {
    this.#hasStarted = true;
    this.#enter('loading');
    this.#tell({ step: 'start', at: 0, of: 1, ms: 0 });
    this.#worker = new Worker(new URL('./worker.mjs', import.meta.url), { type: 'module' });
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = (event) => this.#fail(event.message || 'the worker could not be started');
    const { runtime, memory, memory_key: key, wheels, packages, figure, cells } = this.plan;
    const width = this.widthOf(null);
    this.#worker.postMessage({ kind: 'start', runtime, memory, key, wheels, packages, figure, cells, width });
  }

  /** @param {Progress} progress */
  #tell(progress) {
    this.#progress = progress;
    performance.mark(`live:${progress.step}`);
    this.report.loading(progress);
  }

  /** @param {any} message */
  #hear(message) {
    if (message.kind === 'progress') this.#tell(message.progress);
    else if (message.kind === 'ready') this.#becomeReady(message);
    else if (message.kind === 'result') this.#take(message);
    else if (message.kind === 'attempted') this.#finishJob(message);
    else if (message.kind === 'crash') this.#fail(message.text);
  }

  /** @param {{events: PythonEvent[], restored: boolean, ms: number}} message All that the cells sent while they ran; whether Python began from a memory; what the start took. */
  #becomeReady({ events, restored, ms }) {
    if (restored) performance.mark('live:restored');
    const shown = new Map();
    for (const event of events) {
      if (event.kind !== 'display') this.#apply(event);
      const id = event.output?.data?.['application/vnd.jupyter.widget-view+json']?.model_id;
      if (id) shown.set(event.cell, [...(shown.get(event.cell) ?? []), id]);
    }
    for (const { model, cell, nth } of this.plan.views) this.store.bind(model, shown.get(cell)?.[nth] ?? '');
    this.#queue.dropValues();
    this.store.moved().forEach((model) => this.#queue.push({ model, state: { ...model.moved } }));
    this.#again = this.#hasComputed; // the page may show other values than those that this Python began with
    this.#enter('idle');
    this.report.ready(ms);
    this.#pump();
  }

  /** Nothing is left to compute. */
  #catchUp() {
    if (this.#behind) this.report.unchanged(this.#moves);
    this.#behind = false;
  }

  /** @param {{events: PythonEvent[], error: string | null, ms: number}} result */
  #take({ events, error, ms }) {
    this.#enter('idle');
    lastOutputs(events).forEach((event) => this.#apply(event, Boolean(error)));
    this.#hasComputed = true;
    this.#note(error);
    this.#behind = !this.#queue.isEmpty;
    if (!this.#behind) this.#reached = this.#moves; // moves made meanwhile set what was set already
    if (error) this.report.failed(error, this.#reached);
    else this.report.done(ms, this.#reached);
    this.#pump();
  }

  /** @param {Attempt} attempt */
  #finishJob(attempt) {
    const job = this.#job;
    this.#job = null;
    this.#enter('idle');
    job?.done(attempt);
    this.#pump();
  }

  /** Remember the moves that failed, until their view succeeds. @param {string | null} error */
  #note(error) {
    const views = this.#current.map(({ model }) => model.view);
    this.#failed = this.#failed.filter(({ model }) => !views.includes(model.view));
    if (error === null) return;
    this.#failed.push(...this.#current);
    this.#error = error;
  }

  /** @param {PythonEvent} event @param {boolean} [keepOutputs] After an error the last good figure stays. */
  #apply(event, keepOutputs = false) {
    if (event.kind === 'open') this.store.open(event.id ?? '', event.state ?? {});
    if (event.kind !== 'update' || (keepOutputs && event.state && 'outputs' in event.state)) return;
    this.store.get(event.id ?? '')?.update(event.state ?? {});
  }

  /** Python could not be started, or died. @param {string} text */
  #fail(text) {
    const jobs = this.#end();
    this.report.failed(text, this.#moves);
    jobs.forEach((job) => job.failed(text));
  }

  /** End the worker. @returns {Job[]} The jobs that now nobody does. */
  #end() {
    if (this.#worker) this.#worker.onmessage = this.#worker.onerror = null;
    this.#worker?.terminate();
    this.#worker = null;
    this.#failed = []; // what was set is sent anew after a start
    this.store.unbindAll();
    this.#queue.dropValues();
    this.#behind = true;
    const jobs = [this.#job ?? [], this.#jobs].flat();
    [this.#job, this.#jobs] = [null, []];
    this.#enter('off');
    return jobs;
  }

  /** @param {'off' | 'loading' | 'idle' | 'running'} phase */
  #enter(phase) {
    this.#phase = phase;
    performance.mark(`live:${phase}`);
    this.report.entered(phase);
    clearTimeout(this.#slowTimer);
    if (phase === 'running') this.#slowTimer = setTimeout(() => this.report.slow(), this.plan.stop_after_s * 1000);
  }
}

/** Without what was an area's output only on the way to the last one. @param {PythonEvent[]} events */
function lastOutputs(events) {
  const isOutput = ({ kind, state }) => kind === 'update' && 'outputs' in (state ?? {});
  const last = new Map(events.filter(isOutput).map((event) => [event.id, event]));
  return events.filter((event) => !isOutput(event) || last.get(event.id) === event);
}
