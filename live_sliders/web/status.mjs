/** The line under a view that says what happens, with the means to stop it or to try again. */
import { element } from './dom.mjs';

const WELCOME = 'Saved figure. Move a control to compute it anew, in Python, in this page.';
const LOADING = { start: 'Loading', Python: 'Loading Python', packages: 'Unpacking packages', widgets: 'Starting widgets' };

/** Shows one view's state. It is a Reporter for the session. */
export class StatusLine {
  /** @param {HTMLElement} view @param {{stop(): void, retry(): void}} actions */
  constructor(view, { stop, retry }) {
    this.view = view;
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

  /** @param {number} ms */
  done(ms) {
    performance.mark('live:done');
    this.view.dataset.liveRuns = String(Number(this.view.dataset.liveRuns ?? 0) + 1);
    this.#show('done', `Computed by Python in this page in ${ms} ms.`);
  }

  /** @param {string} text */
  failed(text) {
    this.errorText.textContent = text;
    this.#show('failed', 'That did not work; the last good result is still shown.', { failed: true });
  }

  stopped() {
    this.#show('stopped', 'Stopped. The next move starts Python again.');
  }

  /** @param {string} name @param {string} text @param {{stop?: boolean, failed?: boolean}} [offers] */
  #show(name, text, { stop = false, failed = false } = {}) {
    this.view.dataset.liveStatus = name;
    this.view.setAttribute('aria-busy', String(['loading', 'running', 'slow'].includes(name)));
    this.line.textContent = text;
    this.stopButton.hidden = !stop;
    this.retryButton.hidden = this.fold.hidden = !failed;
  }
}
