/** Brings a built page to life: reads its plan, draws controls over the static views, joins them to a session. */
import { drawWidget } from './controls.mjs';
import { ModelStore } from './model.mjs';
import { Session } from './session.mjs';
import { StatusLine } from './status.mjs';

/** Tells the view that the reader touched last. @implements {import('./session.mjs').Reporter} */
class ActiveView {
  /** @type {StatusLine | undefined} */ line;
  loading(step, ms) { this.line?.loading(step, ms); }
  ready() { this.line?.ready(); }
  running() { this.line?.running(); }
  slow() { this.line?.slow(); }
  done(ms) { this.line?.done(ms); }
  failed(text) { this.line?.failed(text); }
  stopped() { this.line?.stopped(); }
}

/** @param {HTMLElement} host The static view. @param {import('./session.mjs').PlannedView} planned @param {Session} session @param {ActiveView} active */
function enliven(host, planned, session, active) {
  const root = session.store.get(planned.model);
  if (!root) return;
  const line = new StatusLine(host, session.actions);
  const context = {
    store: session.store,
    alt: planned.alt,
    send: (model, state) => session.move(model, state),
    click: (model) => session.click(model),
    takeSaved: (model) => [...(host.querySelector(`[data-live-output="${model.id}"]`)?.childNodes ?? [])],
  };
  host.replaceChildren(drawWidget(root, context), line.element);
  for (const event of ['pointerdown', 'keydown', 'input', 'change']) {
    host.addEventListener(event, (happened) => touch(happened, line, session, active), { capture: true });
  }
}

/** The first touch of a control starts the loading; the view touched last does the talking. */
function touch(event, line, session, active) {
  if (!event.target.closest('input, select, textarea, button') || event.target.closest('.live-foot')) return;
  if (event.type === 'keydown' && ['Tab', 'Shift', 'Escape'].includes(event.key)) return;
  active.line = line;
  session.prepare();
}

function start() {
  const text = document.getElementById('live-plan')?.textContent;
  if (!text) return;
  const plan = JSON.parse(text);
  const active = new ActiveView();
  const session = new Session(plan, new ModelStore(plan.models), active);
  plan.views.forEach((planned) => {
    const host = document.querySelector(`[data-live-view="${planned.model}"]`);
    if (host) enliven(host, planned, session, active);
  });
}

start();
