/** What a reader commits to before the first run: a number or a choice, kept in the page. */
import { element } from './dom.mjs';

export class Prediction {
  /** @param {string} name The exercise's. @param {import('./exercise.mjs').PlannedPrediction} planned @param {() => void} changed */
  constructor(name, { ask, choices, unit }, changed) {
    Object.assign(this, { unit });
    const id = `${name}-prediction`;
    this.inputs = choices.length
      ? choices.map((value) => element('input', { type: 'radio', name: id, value }))
      : [element('input', { type: 'text', inputMode: 'decimal', id, autocomplete: 'off', 'aria-label': `Your prediction${unit && `, in ${unit}`}` })];
    const fields = choices.length
      ? this.inputs.map((input) => element('label', {}, input, ` ${input.value}`))
      : [...this.inputs, element('span', { className: 'live-unit', textContent: unit })];
    const legend = element('legend', {}, element('strong', { textContent: 'Predict first. ' }), ask);
    this.element = element('fieldset', { className: 'live-predict' }, legend, element('div', { className: 'live-choices' }, ...fields));
    this.element.addEventListener('input', changed);
  }

  get #value() {
    const input = this.inputs.length > 1 ? this.inputs.find((each) => each.checked) : this.inputs[0];
    return input?.value.trim() ?? '';
  }

  /** Whether there is a choice or, where a number is asked for, a digit. */
  get isMade() {
    return this.inputs.length > 1 ? this.#value !== '' : /\d/.test(this.#value);
  }

  get text() {
    return `${this.#value} ${this.unit}`.trim();
  }

  get state() {
    return { value: this.#value, isCommitted: this.element.disabled };
  }

  /** From the first run on it stands. */
  commit() {
    this.element.disabled = true;
  }

  /** @param {{value: string, isCommitted: boolean}} state */
  set({ value, isCommitted }) {
    if (this.inputs.length > 1) this.inputs.forEach((each) => { each.checked = each.value === value; });
    else this.inputs[0].value = value;
    this.element.disabled = isCommitted && this.isMade;
  }

  focus() {
    this.inputs[0].focus();
  }
}
