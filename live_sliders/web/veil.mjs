/** What lies over a view's figure while the reader waits for it: a thin veil, a bar and words, without moving anything. */
import { element } from './dom.mjs';

const WORDS = {
  start: 'Starting Python', Python: 'Starting Python', packages: 'Unpacking its libraries',
  widgets: 'Setting up the controls', cells: 'Preparing this page', compute: 'Drawing the figure',
};
/** Up to which part of the whole each step reaches. */
const REACHES = { start: 0.01, Python: 0.5, packages: 0.65, widgets: 0.7, cells: 0.93, compute: 1 };
const STEPS = Object.keys(REACHES);

export class Veil {
  constructor() {
    this.title = element('strong');
    this.words = element('span');
    this.fill = element('div', { className: 'live-fill' });
    this.track = element('div', { className: 'live-track' }, this.fill);
    const card = element('div', { className: 'live-card' }, this.title, this.words, this.track);
    this.element = element('div', { className: 'live-veil', 'aria-hidden': 'true' }, card); // the status line says it too
  }

  /** Lie over the first area of a view that shows outputs. @param {HTMLElement} view */
  place(view) {
    const frame = view.querySelector('.live-frame');
    if (this.element.parentElement !== frame) frame?.append(this.element);
  }

  /**
   * Show how far the start is, with the bar on its way to the step's end.
   *
   * @param {string} title
   * @param {import('./session.mjs').Progress} progress
   * @param {number} seconds What the whole is expected to take.
   */
  progress(title, { step, at, of }, seconds) {
    const before = REACHES[STEPS[STEPS.indexOf(step) - 1]] ?? 0;
    const place = (part) => before + (REACHES[step] - before) * (part / of);
    const key = `${step} ${at}`;
    if (this.isDrawn && this.key === key) return; // it moves by itself
    this.key = key;
    this.#show(title, WORDS[step]);
    this.track.hidden = false;
    this.fill.style.setProperty('--live-from', String(place(at)));
    this.fill.style.setProperty('--live-to', String(place(at + 1)));
    this.fill.style.setProperty('--live-seconds', `${(place(at + 1) - place(at)) * seconds}s`);
    this.track.replaceChildren(this.fill); // so that its animation begins anew
  }

  /** Show that a figure is on its way, nobody knows how far. @param {string} words */
  wait(words) {
    this.#show('', words);
    this.track.hidden = true;
  }

  get isDrawn() {
    return this.element.classList.contains('live-drawn');
  }

  lift() {
    this.element.classList.remove('live-drawn');
  }

  /** @param {string} title @param {string} words */
  #show(title, words) {
    this.title.textContent = title;
    this.words.textContent = words;
    this.element.classList.add('live-drawn');
  }
}
