/** Brings a built page to life: reads its plan, draws controls over the static views, joins them to a session. */
import { drawWidget } from './controls.mjs';
import { ModelStore } from './model.mjs';
import { Drawing } from './outputs.mjs';
import { Session } from './session.mjs';
import { StatusLine } from './status.mjs';

/** Tells each view what concerns it. @implements {import('./session.mjs').Reporter} */
class Views {
  /** @type {StatusLine[]} */ lines = [];
  /** @type {StatusLine | undefined} The view that the reader touched last. */ active;

  loading(step, ms) { this.#concerned().forEach((line) => line.loading(step, ms)); }
  ready() { this.#concerned().forEach((line) => line.ready()); }
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

/** @param {HTMLElement} host The static view. @param {import('./session.mjs').PlannedView} planned @param {Session} session @param {Views} views */
function enliven(host, planned, session, views) {
  const root = session.store.get(planned.model);
  if (!root) return;
  const drawing = new Drawing();
  const move = (act) => {
    views.active = line;
    line.moved(session.nextMove());
    act();
  };
  const moveModel = (model, act) => {
    model.view = planned.model;
    move(act);
  };
  const line = new StatusLine(host, drawing, {
    stop: () => session.stop(),
    retry: () => move(() => session.retry()),
  });
  const context = {
    store: session.store,
    drawing,
    alt: planned.alt,
    send: (model, state) => moveModel(model, () => session.move(model, state)),
    click: (model) => moveModel(model, () => session.click(model)),
    takeSaved: (model) => [...(host.querySelector(`[data-live-output="${model.id}"]`)?.childNodes ?? [])],
  };
  host.replaceChildren(drawWidget(root, context), line.element);
  line.begin();
  views.lines.push(line);
  for (const event of ['pointerdown', 'keydown', 'input', 'change']) {
    host.addEventListener(event, (happened) => touch(happened, line, session, views), { capture: true });
  }
}

/** The first touch of a control starts the loading, and this view tells of it. */
function touch(event, line, session, views) {
  if (!event.target.closest('input, select, textarea, button') || event.target.closest('.live-foot')) return;
  if (event.type === 'keydown' && ['Tab', 'Shift', 'Escape'].includes(event.key)) return;
  views.active = line;
  session.prepare();
}

function start() {
  const text = document.getElementById('live-plan')?.textContent;
  if (!text) return;
  const plan = JSON.parse(text);
  const views = new Views();
  const session = new Session(plan, new ModelStore(plan.models), views);
  plan.views.forEach((planned) => {
    const host = document.querySelector(`[data-live-view="${planned.model}"]`);
    if (host) enliven(host, planned, session, views);
  });
}

start();
