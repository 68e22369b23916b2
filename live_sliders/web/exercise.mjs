/**
 * An exercise in the page: a prediction, code to write, the page's Python to run it, and what its check says.
 *
 * @typedef {{ask: string, choices: string[], unit: string}} PlannedPrediction
 * @typedef {{name: string, title: string, starter: string, check: string, predict: PlannedPrediction | null}} PlannedExercise
 */
import { element } from './dom.mjs';
import { editor, fill, selectLine } from './editor.mjs';
import { renderOutput } from './outputs.mjs';
import { Prediction } from './prediction.mjs';

const KEYS = 'Ctrl+Enter runs it. Tab indents; Escape, then Tab leaves the field.';
const SAYS = {
  saved: '',
  unpredicted: 'First your prediction, then the code runs.',
  loading: 'Python is starting; then your code runs.',
  running: 'Running …',
  passed: 'Right: the check is passed.',
  wrong: 'Not yet. The check says:',
  unanswered: 'No answer yet: write yours in the place of the three dots.',
  error: 'Python stopped:',
  stopped: 'Stopped. Run starts Python again.',
  failed: 'Python could not be started here. Run tries again.',
};

/**
 * Shows one exercise and its state in the host's attributes: `data-live-status` is a key of SAYS, `data-live-attempt`
 * the number of the reader's last attempt, `data-live-answered` of the last whose end the page shows.
 */
export class ExerciseView {
  #attempts = 0;
  /** What Reset took away, until something else is typed. */ #before = null;

  /** @param {HTMLElement} host @param {PlannedExercise} planned @param {import('./session.mjs').Session} session */
  constructor(host, planned, session) {
    Object.assign(this, { host, planned, session });
    this.key = `live-exercise ${location.pathname} ${planned.name}`;
    this.#draw();
    this.#restore();
    for (const event of ['pointerdown', 'keydown', 'input']) {
      host.addEventListener(event, (happened) => this.#touch(happened), { capture: true });
    }
    this.#show('saved');
  }

  #draw() {
    const { host, planned } = this;
    const id = `${planned.name}-code`;
    this.field = editor(id, { changed: () => this.#changed(), run: () => this.#run() });
    this.prediction = planned.predict && new Prediction(planned.name, planned.predict, () => this.#changed());
    const label = element('label', { htmlFor: id, textContent: 'Your code' });
    const keys = element('p', { className: 'live-note', id: `${id}-keys`, textContent: KEYS });
    this.runButton = button('Run', () => this.#run(), `Run: ${planned.title}`);
    this.runButton.classList.add('live-go');
    this.stopButton = button('Stop', () => this.session.stop());
    this.resetButton = button('Reset', () => this.#reset());
    const buttons = element('div', { className: 'live-buttons' }, this.runButton, this.stopButton, this.resetButton);
    this.line = element('p', { className: 'live-status' });
    this.area = element('div', { className: 'live-output' });
    const said = element('div', { className: 'live-result', role: 'status' }, this.line, this.area);
    host.querySelector('.live-starter').replaceWith(label, this.field, keys);
    if (this.prediction) host.querySelector('.live-predict').replaceWith(this.prediction.element);
    host.append(buttons, said);
  }

  /** A touch starts the loading, where it has not begun: before the first run needs it. @param {Event} event */
  #touch(event) {
    if (!event.target.closest('textarea, input, .live-buttons')) return;
    if (event.type === 'keydown' && ['Tab', 'Shift', 'Escape'].includes(event.key)) return;
    this.session.prepare();
  }

  #run() {
    if (this.#isBusy) return;
    if (this.prediction && !this.prediction.isMade) {
      this.#answer('unpredicted', []);
      this.prediction.focus();
      return;
    }
    this.prediction?.commit();
    this.#save();
    this.host.dataset.liveAttempt = String((this.#attempts += 1));
    this.area.replaceChildren();
    this.session.execute({
      code: this.field.value,
      check: this.planned.check,
      loading: () => this.#show('loading'),
      running: () => this.#show('running'),
      done: (attempt) => this.#tell(attempt),
      stopped: () => this.#answer('stopped', []),
      failed: (text) => this.#answer('failed', [folded(text)]),
    });
  }

  /** @param {import('./session.mjs').Attempt} attempt */
  #tell({ outputs, trouble }) {
    const shown = outputs.map((output) => renderOutput(output, `Figure of ${this.planned.title}`, () => 'A widget.'));
    if (this.prediction) shown.unshift(element('p', { textContent: `You predicted: ${this.prediction.text}.` }));
    if (trouble) shown.push(...this.#explained(trouble));
    this.#answer(trouble?.kind ?? 'passed', shown);
  }

  /** What went wrong, with the reader's own line. @param {NonNullable<import('./session.mjs').Attempt['trouble']>} trouble */
  #explained({ kind, text, line, source, traceback }) {
    const said = text ? [element('pre', { textContent: text, className: 'live-said' })] : [];
    if (!line || kind === 'unanswered') return said;
    const go = button(`Line ${line}`, () => selectLine(this.field, line), `Go to line ${line} of your code`);
    const where = element('p', { className: 'live-where' }, go, ' ', element('code', { textContent: source }));
    return [...said, where, ...(kind === 'error' ? [folded(traceback)] : [])];
  }

  /** An attempt has its answer. @param {keyof SAYS} status @param {Node[]} shown */
  #answer(status, shown) {
    this.area.replaceChildren(...shown);
    this.#show(status);
    this.host.dataset.liveAnswered = String(this.#attempts);
  }

  get #isBusy() {
    return ['loading', 'running'].includes(this.host.dataset.liveStatus);
  }

  /** @param {keyof SAYS} status */
  #show(status) {
    this.host.dataset.liveStatus = status;
    this.line.textContent = SAYS[status];
    this.stopButton.hidden = !this.#isBusy;
    this.resetButton.textContent = this.#before ? 'Undo reset' : 'Reset';
  }

  /** Put everything back as the page came; or, pressed again, as it was before. */
  #reset() {
    if (this.#isBusy) this.session.stop();
    const before = this.#before ? null : this.#state();
    this.#set(this.#before ?? {});
    this.#before = before;
    this.#save();
    this.#answer('saved', []);
  }

  #changed() {
    this.#before = null;
    this.resetButton.textContent = 'Reset';
    this.#save();
  }

  #state() {
    return { code: this.field.value, prediction: this.prediction?.state };
  }

  /** @param {{code?: string, prediction?: {value: string, isCommitted: boolean}}} state */
  #set({ code, prediction }) {
    fill(this.field, code ?? this.planned.starter);
    this.prediction?.set(prediction ?? { value: '', isCommitted: false });
  }

  #save() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.#state()));
    } catch { /* storage is switched off or full: then a reload forgets */ }
  }

  #restore() {
    try {
      this.#set(JSON.parse(localStorage.getItem(this.key) ?? '{}'));
    } catch {
      this.#set({});
    }
  }
}

/** @param {string} text @param {() => void} act @param {string} [name] What screen readers say, where the text says too little. */
function button(text, act, name) {
  const made = element('button', { type: 'button', className: 'live-button', textContent: text, 'aria-label': name });
  made.addEventListener('click', act);
  return made;
}

/** @param {string} text */
function folded(text) {
  const pre = element('pre', { tabIndex: 0, textContent: text });
  return element('details', {}, element('summary', { textContent: 'What Python said' }), pre);
}
