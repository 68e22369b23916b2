/**
 * Sliders and number fields: a number can be dragged, or typed.
 *
 * @typedef {import('./model.mjs').Model} Model
 * @typedef {import('./model.mjs').State} State
 * @typedef {import('./controls.mjs').Context} Context
 * @typedef {import('./controls.mjs').Draw} Draw
 * @typedef {{value: number | null, said: string}} Typed  What a typed text comes to, and what the reader must hear of it.
 */
import { element } from './dom.mjs';
import { formatNumber, readNumber, unitOf, withUnit } from './format.mjs';
import { follow, group, nameOf, row } from './row.mjs';

/** @type {Draw} */
export function slider(model, context) {
  const { state } = model;
  return rangeInput(model, context, {
    bounds: () => [state.min, state.max, state.step || 1e-9],
    read: (value) => ({ value }),
    position: () => state.value,
    text: () => formatNumber(state.value, state.readout_format),
    limits: () => [state.min, state.max],
  });
}

/** @type {Draw} */
export function logSlider(model, context) {
  const { state } = model;
  const exponent = (value) => Math.log(value) / Math.log(state.base);
  return rangeInput(model, context, {
    bounds: () => [state.min, state.max, state.step],
    read: (position) => ({ value: state.base ** position }),
    position: () => Number(exponent(state.value).toFixed(9)),
    text: () => formatNumber(state.value, state.readout_format),
    limits: () => [state.base ** state.min, state.base ** state.max],
  });
}

/** @type {Draw} */
export function selectionSlider(model, context) {
  const { state } = model;
  return rangeInput(model, context, {
    bounds: () => [0, state._options_labels.length - 1, 1],
    read: (index) => ({ index }),
    position: () => state.index,
    text: () => state._options_labels[state.index],
  });
}

/**
 * A range input with its value beside it: as a field to type in where the value is a number.
 *
 * @param {Model} model
 * @param {Context} context
 * @param {{bounds: () => [number, number, number], read: (position: number) => State, position: () => number,
 *   text: () => string, limits?: () => [number, number]}} scale How positions and values belong together.
 */
function rangeInput(model, context, { bounds, read, position, text, limits }) {
  const input = element('input', { type: 'range' });
  const event = model.state.continuous_update === false ? 'change' : 'input';
  input.addEventListener(event, () => context.send(model, read(Number(input.value))));
  follow(model, () => {
    [input.min, input.max, input.step] = bounds().map(String);
    if (Number(input.value) !== position()) input.value = String(position());
    input.disabled = Boolean(model.state.disabled);
    input.setAttribute('aria-valuetext', withUnit(text(), model.state));
  });
  if (model.state.readout === false) return row(model, input);
  return row(model, input, ...(limits ? typedValue(model, context, text, limits) : [readout(model, text)]));
}

/** The value in words; the input itself says it to those who cannot see it. @param {Model} model @param {() => string} text */
function readout(model, text) {
  const shown = element('output', { 'aria-hidden': 'true' });
  follow(model, () => { shown.textContent = withUnit(text(), model.state); });
  return shown;
}

/** A field that shows a slider's number and takes a typed one. @param {Model} model @param {Context} context @param {() => string} text @param {() => [number, number]} limits */
function typedValue(model, context, text, limits) {
  const field = element('input', {
    type: 'text', inputMode: 'decimal', className: 'live-field', autocomplete: 'off', 'aria-label': `Type a value for ${nameOf(model)}`,
  });
  const unit = element('span', { className: 'live-unit', textContent: unitOf(model.state) });
  let typing = false;
  field.addEventListener('input', () => { typing = true; });
  const hint = takeTyped(model, context, field, () => readNumber(field.value, model.state, limits()[1]), limits);
  field.addEventListener('change', () => { typing = false; field.value = text(); });
  follow(model, () => {
    if (!typing) field.value = text();
    field.disabled = Boolean(model.state.disabled);
  });
  return [element('span', { className: 'live-value' }, field, unit), hint];
}

/** Send what is typed into a field, within its limits, and say where that is not what was typed. @returns {HTMLElement} The place for saying so. */
function takeTyped(model, context, field, read, limits) {
  const hint = element('p', { className: 'live-hint', 'aria-live': 'polite', hidden: true });
  let about;
  const say = (said) => {
    hint.textContent = said;
    hint.hidden = !said;
    about = model.state.value;
  };
  field.addEventListener('change', () => {
    const { value, said } = settle(field.value, read(), model, limits());
    if (value !== null) context.send(model, { value });
    say(said);
  });
  model.onChange(() => { if (model.state.value !== about) say(''); });
  return hint;
}

/** @param {string} typed @param {number} number @param {Model} model @param {[number, number]} limits @returns {Typed} */
function settle(typed, number, model, [min, max]) {
  const whole = model.kind.includes('Int');
  const shown = (value) => withUnit(formatNumber(value, model.state.readout_format), model.state);
  if (!Number.isFinite(number)) return { value: null, said: `“${typed}” is no number; the value stays ${shown(model.state.value)}.` };
  if (number < min) return { value: min, said: `The least here is ${shown(min)}.` };
  if (number > max) return { value: max, said: `The most here is ${shown(max)}.` };
  return { value: whole ? Math.round(number) : number, said: '' };
}

/** Two range inputs, one for each end. @type {Draw} */
export function rangeSlider(model, context) {
  const { state } = model;
  const ends = [0, 1].map((end) => element('input', {
    type: 'range', 'aria-label': `${state.description} ${end ? 'to' : 'from'}`,
  }));
  const shown = element('output', { 'aria-hidden': 'true' });
  const read = (moved) => {
    const [low, high] = ends.map((end) => Number(end.value));
    return { value: low <= high ? [low, high] : Array(2).fill(moved ? low : high).map((_, i) => (moved ? low : high)) };
  };
  ends.forEach((end, i) => end.addEventListener('input', () => context.send(model, read(i))));
  follow(model, () => {
    ends.forEach((end, i) => {
      Object.assign(end, { min: state.min, max: state.max, step: state.step, disabled: Boolean(state.disabled) });
      end.value = String(state.value[i]);
      end.setAttribute('aria-valuetext', withUnit(formatNumber(state.value[i], state.readout_format), state));
    });
    shown.textContent = withUnit(state.value.map((each) => formatNumber(each, state.readout_format)).join(' – '), state);
  });
  return group(model, element('div', { className: 'live-ends' }, ...ends), shown);
}

/** @type {Draw} */
export function numberField(model, context) {
  const { state } = model;
  const input = element('input', { type: 'number' });
  const limits = () => [state.min ?? -Infinity, state.max ?? Infinity];
  const hint = takeTyped(model, context, input, () => (input.value === '' ? NaN : Number(input.value)), limits);
  input.addEventListener('change', () => { input.value = String(state.value); });
  follow(model, () => {
    Object.assign(input, { min: state.min ?? '', max: state.max ?? '', step: state.step ?? (model.kind.includes('Int') ? 1 : 'any') });
    input.value = String(state.value);
    input.disabled = Boolean(state.disabled);
  });
  return row(model, input, element('span', { className: 'live-unit', textContent: unitOf(state) }), hint);
}
