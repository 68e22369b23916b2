/** The line under a view that says what happens, with the means to stop it or to try again. */
import { element } from './dom.mjs';

const WELCOME = 'Saved figure. Move a control to compute it anew, in Python, in this page.';
const LOADING = { start: 'Loading', Python: 'Loading Python', packages: 'Unpacking packages', widgets: 'Starting widgets' };

/**
 * Shows one view's state, in words and in the view's attributes: `data-live-move` is the number of the reader's last
 * move in it, `data-live-shown` of the page's last move that it shows, `data-live-failed` of the last that failed.
 */
export class StatusLine {
  #moved = 0;
  /** Python has answered the moves up to this one; the view may still be drawing the answer. */ #answered = 0;
  /** What the line said last: who wants to speak after a wait may find that it is too late. */ #said = {};

  /** @param {HTMLElement} view @param {import('./outputs.mjs').Drawing} drawing @param {{stop(): void, retry(): void}} actions */
  constructor(view, drawing, { stop, retry }) {
    Object.assign(this, { view, drawing });
    this.line = element('p', { className: 'live-status', role: 'status', textContent: WELCOME });
    this.stopButton = element('button', { type: 'button', className: 'live-button', textContent: 'Stop', hidden: true });
    this.retryButton = element('button', { type: 'button', className: 'live-button', textContent: 'Try again', hidden: true });
    this.errorText = element('pre', { tabIndex: 0 });
    this.fold = element('details', { hidden: true }, element('summary', { textContent: 'What Python said' }), this.errorText);
    this.stopButton.addEventListener('click', stop);
    this.retryButton.addEventListener('click', retry);
    this.element = element('div', { className: 'live-foot' }, this.line, this.stopButton, this.retryButton, this.fold);
    this.#show('saved', WELCOME);
  }

  /** The view's controls stand in the page, and answer. */
  begin() {
    return this.unchanged(0);
  }

  /** Whether the reader has made a move here that Python has not answered. */
  get isWaiting() {
    return this.#moved > this.#answered;
  }

  get isLoading() {
    return this.view.dataset.liveStatus === 'loading';
  }

  /** The reader made a move here. @param {number} number */
  moved(number) {
    this.#moved = number;
    this.#count('liveMove', number);
  }

  /** @param {string} step @param {number} ms */
  loading(step, ms) {
    performance.mark(`live:${step}`);
    const text = LOADING[step] ?? `Running ${step}`;
    this.#show('loading', `${text} … ${(ms / 1000).toFixed(1)} s (once per page)`);
  }

  ready() {
    performance.mark('live:ready');
    this.#show('ready', 'Python is ready. Move a control to compute the figure anew.');
  }

  running() {
    this.#show('running', 'Computing …');
  }

  slow() {
    this.#show('slow', 'Still computing. You can wait, or stop it.', { stop: true });
  }

  /** Python has computed the moves up to a number. @param {number} ms @param {number} number */
  done(ms, number) {
    return this.#afterDrawing('liveShown', number, () => {
      performance.mark('live:done');
      this.#show('done', `Computed by Python in this page in ${ms} ms.`);
    });
  }

  /** The view need not change for the moves up to a number. @param {number} number */
  unchanged(number) {
    return this.#afterDrawing('liveShown', number, () => undefined);
  }

  /** @param {string} text @param {number} number */
  failed(text, number) {
    return this.#afterDrawing('liveFailed', number, () => {
      this.errorText.textContent = text;
      this.#show('failed', 'That did not work; the last good result is still shown.', { failed: true });
    });
  }

  stopped() {
    this.#show('stopped', 'Stopped. The next move starts Python again.');
  }

  /** An answer counts once the reader can see it. @param {string} counter @param {number} number @param {() => void} say */
  async #afterDrawing(counter, number, say) {
    this.#answered = Math.max(this.#answered, number);
    const said = this.#said;
    await this.drawing.settled();
    this.#count(counter, number);
    if (this.#said === said) say();
  }

  /** Numbers only grow: an answer that took longer to draw than a later one changes nothing. @param {string} counter @param {number} number */
  #count(counter, number) {
    this.view.dataset[counter] = String(Math.max(number, Number(this.view.dataset[counter] ?? 0)));
  }

  /** @param {string} name @param {string} text @param {{stop?: boolean, failed?: boolean}} [offers] */
  #show(name, text, { stop = false, failed = false } = {}) {
    this.#said = {};
    this.view.dataset.liveStatus = name;
    this.view.setAttribute('aria-busy', String(['loading', 'running', 'slow'].includes(name)));
    this.line.textContent = text;
    this.stopButton.hidden = !stop;
    this.retryButton.hidden = this.fold.hidden = !failed;
  }
}
