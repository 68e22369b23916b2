/** What a view says of itself: a line between its controls and its figure, its buttons, a veil over the figure while it waits. */
import { element } from './dom.mjs';
import { expectedSeconds } from './estimate.mjs';
import { Veil } from './veil.mjs';

const WELCOME = 'Saved figure. Move a control to compute it anew.';

/**
 * Shows one view's state, in words and in the view's attributes: `data-live-move` is the number of the reader's last
 * move in it, `data-live-shown` of the page's last move that it shows, `data-live-failed` of the last that failed.
 */
export class StatusLine {
  #moved = 0;
  /** Python has answered the moves up to this one; the view may still be drawing the answer. */ #answered = 0;
  /** What the line said last: who wants to speak after a wait may find that it is too late. */ #said = {};
  #isFirst = true;

  /**
   * @param {HTMLElement} view
   * @param {import('./outputs.mjs').Drawing} drawing
   * @param {{stop(): void, retry(): void, reset(): void, copy(): Promise<string>}} actions
   */
  constructor(view, drawing, { stop, retry, reset, copy }) {
    Object.assign(this, { view, drawing });
    this.veil = new Veil();
    this.line = element('p', { className: 'live-status', role: 'status', textContent: WELCOME });
    this.stopButton = button('Stop', stop);
    this.retryButton = button('Try again', retry);
    const always = [button('Reset', reset), button('Copy link', () => this.#copied(copy()))];
    this.link = element('input', { type: 'text', readOnly: true, hidden: true, 'aria-label': 'Link to this view as it is set' });
    this.errorText = element('pre', { tabIndex: 0 });
    this.fold = element('details', { hidden: true }, element('summary', { textContent: 'What Python said' }), this.errorText);
    const buttons = element('div', { className: 'live-buttons' }, this.stopButton, this.retryButton, ...always);
    this.element = element('div', { className: 'live-say' }, this.line, buttons, this.link, this.fold);
    this.#show('saved', WELCOME);
  }

  /** Stand above the view's first figure, and lay the veil over it: wherever the view's parts lie now. */
  place() {
    const frame = this.view.querySelector('.live-frame');
    if (frame && frame.previousElementSibling !== this.element) frame.before(this.element);
    else if (!frame) this.view.append(this.element);
    this.veil.place(this.view);
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

  /** @param {import('./session.mjs').Progress} progress */
  loading(progress) {
    const seconds = expectedSeconds();
    const left = Math.max(1, Math.round(seconds - progress.ms / 1000));
    if (!this.isLoading) this.#show('loading', `Python is starting: about ${left} s, once per page.`);
    if (this.isWaiting) this.veil.progress(`First move: about ${left} s, after that at once`, progress, seconds);
  }

  ready() {
    this.#show('ready', 'Python is ready. Move a control.');
  }

  running() {
    if (this.#isFirst) this.veil.progress('First move, after that at once', { step: 'compute', at: 0, of: 1, ms: 0 }, expectedSeconds());
    else this.veil.wait('Computing …');
    this.#show('running', 'Computing …');
  }

  slow() {
    this.#show('slow', 'Still computing. You can wait, or stop it.', { stop: true });
  }

  /** Python has computed the moves up to a number. @param {number} ms @param {number} number */
  done(ms, number) {
    this.#isFirst = false;
    return this.#afterDrawing('liveShown', number, () => this.#show('done', `Computed by Python in this page in ${ms} ms.`));
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

  /** Say whether a link is in the clipboard; where it could not be put there, offer it. @param {Promise<string>} copying Gives the link, or "" once it is copied. */
  async #copied(copying) {
    const link = await copying;
    this.link.hidden = !link;
    this.line.textContent = link ? 'Copy this link:' : 'Link to this view, as it is set, copied.';
    this.link.value = link;
    if (link) this.link.select();
  }

  /** An answer counts once the reader can see it. @param {string} counter @param {number} number @param {() => void} say */
  async #afterDrawing(counter, number, say) {
    this.#answered = Math.max(this.#answered, number);
    const said = this.#said;
    await this.drawing.settled();
    this.#count(counter, number);
    if (this.#said !== said) return;
    if (!this.isWaiting) this.veil.lift();
    say();
  }

  /** Numbers only grow: an answer that took longer to draw than a later one changes nothing. @param {string} counter @param {number} number */
  #count(counter, number) {
    this.view.dataset[counter] = String(Math.max(number, Number(this.view.dataset[counter] ?? 0)));
  }

  /** @param {string} name @param {string} text @param {{stop?: boolean, failed?: boolean}} [offers] */
  #show(name, text, { stop = false, failed = false } = {}) {
    this.#said = {};
    const isBusy = ['loading', 'running', 'slow'].includes(name);
    this.view.dataset.liveStatus = name;
    this.view.setAttribute('aria-busy', String(isBusy));
    this.line.textContent = text;
    this.stopButton.hidden = !stop;
    this.retryButton.hidden = this.fold.hidden = !failed;
    if (!isBusy) this.veil.lift();
  }
}

/** @param {string} text @param {() => void} act */
function button(text, act) {
  const made = element('button', { type: 'button', className: 'live-button', textContent: text });
  made.addEventListener('click', act);
  return made;
}
