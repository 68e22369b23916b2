/** Brings a built page to life: reads its plan, draws controls over the static views, joins them to a session. */
import { Address, anchorOf, copy } from './address.mjs';
import { drawWidget } from './controls.mjs';
import { noteSeconds } from './estimate.mjs';
import { ExerciseView } from './exercise.mjs';
import { ModelStore } from './model.mjs';
import { Drawing } from './outputs.mjs';
import { Session } from './session.mjs';
import { StatusLine } from './status.mjs';

/** Tells each view what concerns it, and the page how far Python is. @implements {import('./session.mjs').Reporter} */
class Views {
  /** @type {StatusLine[]} */ lines = [];
  /** @type {StatusLine | undefined} The view that the reader touched last. */ active;

  entered(phase) { document.documentElement.dataset.livePython = phase; }
  loading(progress) { this.#concerned().forEach((line) => line.loading(progress)); }
  ready(ms) {
    noteSeconds(ms / 1000);
    this.#concerned().forEach((line) => line.ready());
  }
  running() { this.#waiting().forEach((line) => line.running()); }
  slow() { this.#waiting().forEach((line) => line.slow()); }
  done(ms, number) { this.lines.forEach((line) => (line.isWaiting ? line.done(ms, number) : line.unchanged(number))); }
  unchanged(number) { this.lines.forEach((line) => line.unchanged(number)); }
  failed(text, number) { this.#concerned().forEach((line) => line.failed(text, number)); }
  stopped() { this.#concerned().forEach((line) => line.stopped()); }

  /** The views in which a move waits for its answer. */
  #waiting() { return this.lines.filter((line) => line.isWaiting); }

  /** Those that wait, for an answer or for Python; else the one touched last. */
  #concerned() {
    const lines = this.lines.filter((line) => line.isWaiting || line.isLoading);
    return lines.length || !this.active ? lines : [this.active];
  }
}

/** One view brought to life: its controls, its line, and what the reader does with them. */
class LiveView {
  #isDrawn = false;

  /** @param {HTMLElement} host The static view. @param {import('./session.mjs').PlannedView} planned @param {Page} page */
  constructor(host, planned, page) {
    Object.assign(this, { host, planned, page });
    const { session, store } = page;
    const drawing = new Drawing();
    this.line = new StatusLine(host, drawing, {
      stop: () => session.stop(),
      retry: () => this.#move(() => session.retry()),
      reset: () => this.set(this.#changed().map((model) => ({ model, state: model.saved }))),
      copy: () => copy(this.#link()),
    });
    const context = {
      store,
      drawing,
      alt: planned.alt,
      send: (model, state) => this.set([{ model, state }]),
      click: (model) => this.#click(model),
      takeSaved: (model) => [...(host.querySelector(`[data-live-output="${model.id}"]`)?.childNodes ?? [])],
      redrawn: () => this.#isDrawn && this.line.place(),
    };
    host.replaceChildren(drawWidget(store.get(planned.model), context));
    this.#isDrawn = true;
    this.line.place();
    this.line.begin();
    for (const event of ['pointerdown', 'keydown', 'input', 'change']) {
      host.addEventListener(event, (happened) => this.#touch(happened), { capture: true });
    }
  }

  /** How wide its figure may be, in CSS pixels; 0 where it is not shown. */
  get width() {
    return (this.host.querySelector('.live-output') ?? this.host).clientWidth;
  }

  /** The reader sets values, by a control, a button or the address. @param {import('./session.mjs').Move[]} moves */
  set(moves) {
    moves.forEach(({ model }) => { model.view = this.planned.model; });
    this.#move(() => this.page.session.move(...moves));
    this.page.address.follow();
  }

  #click(model) {
    model.view = this.planned.model;
    this.#move(() => this.page.session.click(model));
  }

  /** @param {() => void} act */
  #move(act) {
    this.page.views.active = this.line;
    this.line.moved(this.page.session.nextMove());
    act();
  }

  #changed() {
    return this.page.store.inside(this.planned.model).filter((model) => model.isChanged);
  }

  /** The address of this view as it is set now. */
  #link() {
    const anchor = this.host.closest('section[id]')?.id ?? '';
    return `${location.href.split('#')[0]}#${this.page.address.write(anchor, this.planned.model)}`;
  }

  /** A touch of a control starts the loading, where it has not begun, and this view tells of it. @param {Event} event */
  #touch(event) {
    if (!event.target.closest('input, select, textarea, button') || event.target.closest('.live-say')) return;
    if (event.type === 'keydown' && ['Tab', 'Shift', 'Escape'].includes(event.key)) return;
    this.page.views.active = this.line;
    this.page.session.prepare();
  }
}

/** All live views and exercises of a page, the Python behind them, and the address above them. */
class Page {
  views = new Views();
  /** @type {Map<string, LiveView>} By their models. */ #live = new Map();

  /** @param {import('./session.mjs').Plan} plan */
  constructor(plan) {
    this.store = new ModelStore(plan.models);
    this.address = new Address(plan.views, this.store);
    this.session = new Session(plan, this.store, this.views, (view) => this.#widthOf(view));
    for (const planned of plan.views) {
      const host = document.querySelector(`[data-live-view="${planned.model}"]`);
      if (!host || !this.store.get(planned.model)) continue;
      const view = new LiveView(host, planned, this);
      this.#live.set(planned.model, view);
      this.views.lines.push(view.line);
    }
    for (const planned of plan.exercises) this.#open(planned);
  }

  /** @param {import('./exercise.mjs').PlannedExercise} planned */
  #open(planned) {
    const host = document.getElementById(planned.name);
    if (!host) return;
    new ExerciseView(host, planned, this.session);
    host.addEventListener('focusin', () => { this.views.active = undefined; });
  }

  /** Set what the address says, and go where it points: a browser does so only for an anchor alone. */
  restore() {
    for (const [view, moves] of this.address.read(location.hash)) this.#live.get(view)?.set(moves);
    if (location.hash.includes('=')) document.getElementById(anchorOf(location.hash))?.scrollIntoView();
  }

  /** Start Python once a view is less than a screen away. It is many megabytes: not where the reader pays for each. */
  startNearScreen() {
    const line = navigator.connection;
    if (line?.saveData || line?.type === 'cellular' || matchMedia('(prefers-reduced-data: reduce)').matches) return;
    const eye = new IntersectionObserver((seen) => {
      if (!seen.some((each) => each.isIntersecting)) return;
      eye.disconnect();
      this.session.foresee();
    }, { rootMargin: '100% 0px' });
    this.#live.forEach(({ host }) => eye.observe(host));
  }

  /** @param {string | null} view Null for any. */
  #widthOf(view) {
    const live = view ? [this.#live.get(view)] : [...this.#live.values()];
    return live.map((each) => each?.width).find(Boolean) ?? 0;
  }
}

function start() {
  const text = document.getElementById('live-plan')?.textContent;
  if (!text) return;
  const page = new Page(JSON.parse(text));
  page.restore();
  addEventListener('hashchange', () => page.restore());
  page.startNearScreen();
}

start();
