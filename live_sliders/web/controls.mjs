/**
 * Native controls for widgets. Each is drawn from its model and follows it; what the reader does goes to `send`.
 *
 * @typedef {import('./model.mjs').Model} Model
 * @typedef {import('./model.mjs').State} State
 * @typedef {{store: import('./model.mjs').ModelStore, drawing: import('./outputs.mjs').Drawing, alt: string,
 *   send(model: Model, state: State): void, click(model: Model): void, takeSaved(model: Model): Node[]}} Context
 * @typedef {(model: Model, context: Context) => HTMLElement} Draw
 */
import { element } from './dom.mjs';
import { formatNumber } from './format.mjs';
import { renderOutput } from './outputs.mjs';
import { sanitize } from './sanitize.mjs';

let serial = 0;

/** @type {Record<string, Draw>} */
const DRAW = {
  IntSlider: slider,
  FloatSlider: slider,
  FloatLogSlider: logSlider,
  SelectionSlider: selectionSlider,
  IntRangeSlider: rangeSlider,
  FloatRangeSlider: rangeSlider,
  IntText: numberField,
  FloatText: numberField,
  BoundedIntText: numberField,
  BoundedFloatText: numberField,
  IntProgress: progressBar,
  FloatProgress: progressBar,
  Dropdown: dropdown,
  Select: dropdown,
  SelectMultiple: multipleChoice,
  RadioButtons: radioGroup,
  ToggleButtons: radioGroup,
  Checkbox: checkbox,
  ToggleButton: toggleButton,
  Text: textField,
  Textarea: textField,
  Button: button,
  Label: label,
  HTML: html,
  HTMLMath: html,
  Output: outputArea,
  Box: box,
  HBox: box,
  VBox: box,
  GridBox: box,
};

/** @type {Draw} */
export function drawWidget(model, context) {
  const draw = DRAW[model.kind];
  if (!draw) return element('p', { textContent: `No live control for ${model.kind}.` });
  const drawn = draw(model, context);
  drawn.dataset.liveModel = model.id;
  return drawn;
}

/** Draw now and at every change. @param {Model} model @param {() => void} show */
function follow(model, show) {
  model.onChange(show);
  show();
}

/** A labelled row. @param {Model} model @param {HTMLElement} control @param {...Node} more */
function row(model, control, ...more) {
  control.id = `live-control-${(serial += 1)}`;
  const name = element('label', { htmlFor: control.id, textContent: model.state.description || model.kind });
  const title = model.state.tooltip || undefined;
  return element('div', { className: 'live-row', title }, name, control, ...more);
}

/**
 * A range input with its value beside it.
 *
 * @param {Model} model
 * @param {Context} context
 * @param {{bounds: () => [number, number, number], read: (position: number) => State, position: () => number,
 *   text: () => string}} scale How positions and values belong together.
 */
function rangeInput(model, context, { bounds, read, position, text }) {
  const input = element('input', { type: 'range' });
  const readout = element('output', { 'aria-hidden': 'true' }); // the input itself says its value
  const event = model.state.continuous_update === false ? 'change' : 'input';
  input.addEventListener(event, () => context.send(model, read(Number(input.value))));
  follow(model, () => {
    [input.min, input.max, input.step] = bounds().map(String);
    if (Number(input.value) !== position()) input.value = String(position());
    input.disabled = Boolean(model.state.disabled);
    input.setAttribute('aria-valuetext', text());
    readout.textContent = model.state.readout === false ? '' : text();
  });
  return row(model, input, readout);
}

/** @type {Draw} */
function slider(model, context) {
  const { state } = model;
  return rangeInput(model, context, {
    bounds: () => [state.min, state.max, state.step || 1e-9],
    read: (value) => ({ value }),
    position: () => state.value,
    text: () => formatNumber(state.value, state.readout_format),
  });
}

/** @type {Draw} */
function logSlider(model, context) {
  const { state } = model;
  const exponent = (value) => Math.log(value) / Math.log(state.base);
  return rangeInput(model, context, {
    bounds: () => [state.min, state.max, state.step],
    read: (position) => ({ value: state.base ** position }),
    position: () => Number(exponent(state.value).toFixed(9)),
    text: () => formatNumber(state.value, state.readout_format),
  });
}

/** @type {Draw} */
function selectionSlider(model, context) {
  const { state } = model;
  return rangeInput(model, context, {
    bounds: () => [0, state._options_labels.length - 1, 1],
    read: (index) => ({ index }),
    position: () => state.index,
    text: () => state._options_labels[state.index],
  });
}

/** Two range inputs, one for each end. @type {Draw} */
function rangeSlider(model, context) {
  const { state } = model;
  const ends = [0, 1].map((end) => element('input', {
    type: 'range', 'aria-label': `${state.description} ${end ? 'to' : 'from'}`,
  }));
  const readout = element('output', { 'aria-hidden': 'true' });
  const read = (moved) => {
    const [low, high] = ends.map((end) => Number(end.value));
    return { value: low <= high ? [low, high] : Array(2).fill(moved ? low : high).map((_, i) => (moved ? low : high)) };
  };
  ends.forEach((end, i) => end.addEventListener('input', () => context.send(model, read(i))));
  follow(model, () => {
    ends.forEach((end, i) => {
      Object.assign(end, { min: state.min, max: state.max, step: state.step, disabled: Boolean(state.disabled) });
      end.value = String(state.value[i]);
    });
    readout.textContent = state.value.map((each) => formatNumber(each, state.readout_format)).join(' – ');
  });
  return group(model, element('div', { className: 'live-ends' }, ...ends), readout);
}

/** A set of controls under one name. @param {Model} model @param {...Node} children */
function group(model, ...children) {
  const legend = element('legend', { textContent: model.state.description || model.kind });
  return element('fieldset', { className: 'live-row' }, legend, ...children);
}

/** @type {Draw} */
function numberField(model, context) {
  const { state } = model;
  const input = element('input', { type: 'number' });
  const whole = model.kind.includes('Int');
  input.addEventListener('change', () => {
    const value = Number(input.value);
    if (input.value !== '') context.send(model, { value: whole ? Math.trunc(value) : value });
  });
  follow(model, () => {
    Object.assign(input, { min: state.min ?? '', max: state.max ?? '', step: state.step ?? (whole ? 1 : 'any') });
    input.value = String(state.value);
    input.disabled = Boolean(state.disabled);
  });
  return row(model, input);
}

/** @type {Draw} */
function progressBar(model) {
  const { state } = model;
  const bar = element('progress');
  follow(model, () => {
    bar.max = state.max - state.min;
    bar.value = state.value - state.min;
  });
  return row(model, bar);
}

/** Fill a list with its options. @param {HTMLSelectElement} list @param {string[]} labels */
function fillOptions(list, labels) {
  const shown = [...list.options].map((option) => option.text);
  if (JSON.stringify(shown) === JSON.stringify(labels)) return;
  list.replaceChildren(...labels.map((text, i) => new Option(text, String(i))));
}

/** @type {Draw} */
function dropdown(model, context) {
  const { state } = model;
  const list = element('select', { size: model.kind === 'Select' ? state.rows ?? 5 : 0 });
  list.addEventListener('change', () => context.send(model, { index: list.selectedIndex }));
  follow(model, () => {
    fillOptions(list, state._options_labels);
    list.selectedIndex = state.index ?? -1;
    list.disabled = Boolean(state.disabled);
  });
  return row(model, list);
}

/** @type {Draw} */
function multipleChoice(model, context) {
  const { state } = model;
  const list = element('select', { multiple: true, size: state.rows ?? 5 });
  list.addEventListener('change', () => {
    context.send(model, { index: [...list.selectedOptions].map((option) => option.index) });
  });
  follow(model, () => {
    fillOptions(list, state._options_labels);
    [...list.options].forEach((option, i) => { option.selected = state.index.includes(i); });
    list.disabled = Boolean(state.disabled);
  });
  return row(model, list);
}

/** @type {Draw} */
function radioGroup(model, context) {
  const { state } = model;
  const name = `live-group-${(serial += 1)}`;
  const choices = element('div', { className: 'live-choices' });
  const choice = (text, i) => {
    const input = element('input', { type: 'radio', name, value: String(i), checked: i === state.index });
    input.disabled = Boolean(state.disabled);
    input.addEventListener('change', () => context.send(model, { index: i }));
    return element('label', {}, input, ` ${text}`);
  };
  const labels = () => [...choices.children].map((each) => each.textContent.trim()).join('\n');
  follow(model, () => {
    if (labels() !== state._options_labels.join('\n')) choices.replaceChildren(...state._options_labels.map(choice));
    choices.querySelectorAll('input').forEach((input, i) => { input.checked = i === state.index; });
  });
  return group(model, choices);
}

/** @type {Draw} */
function checkbox(model, context) {
  const input = element('input', { type: 'checkbox' });
  input.addEventListener('change', () => context.send(model, { value: input.checked }));
  follow(model, () => {
    input.checked = Boolean(model.state.value);
    input.disabled = Boolean(model.state.disabled);
  });
  return row(model, input);
}

/** @type {Draw} */
function toggleButton(model, context) {
  const made = element('button', { type: 'button', className: 'live-button' });
  made.addEventListener('click', () => context.send(model, { value: !model.state.value }));
  follow(model, () => {
    made.textContent = model.state.description || model.state.tooltip || 'Toggle';
    made.setAttribute('aria-pressed', String(Boolean(model.state.value)));
    made.disabled = Boolean(model.state.disabled);
  });
  return made;
}

/** @type {Draw} */
function textField(model, context) {
  const { state } = model;
  const input = model.kind === 'Textarea' ? element('textarea', { rows: state.rows ?? 3 }) : element('input', { type: 'text' });
  const event = state.continuous_update === false ? 'change' : 'input';
  input.addEventListener(event, () => context.send(model, { value: input.value }));
  follow(model, () => {
    input.placeholder = state.placeholder ?? '';
    if (input.value !== state.value) input.value = state.value;
    input.disabled = Boolean(state.disabled);
  });
  return row(model, input);
}

/** @type {Draw} */
function button(model, context) {
  const made = element('button', { type: 'button', className: 'live-button' });
  made.addEventListener('click', () => context.click(model));
  follow(model, () => {
    made.textContent = model.state.description || model.state.tooltip || 'Run';
    made.disabled = Boolean(model.state.disabled);
  });
  return made;
}

/** @type {Draw} */
function label(model) {
  const made = element('div', { className: 'live-text' });
  follow(model, () => { made.textContent = model.state.value; });
  return made;
}

/** @type {Draw} */
function html(model, context) {
  const made = element('div', { className: 'live-text' });
  follow(model, () => {
    made.replaceChildren(sanitize(model.state.value));
    const typeset = model.kind === 'HTMLMath' && globalThis.MathJax?.typesetPromise?.([made]);
    if (typeset) context.drawing.wait(made, typeset);
  });
  return made;
}

/** What was computed: first the saved nodes of the page, later each new set of outputs. @type {Draw} */
function outputArea(model, context) {
  const saved = context.takeSaved(model);
  const area = element('div', { className: 'live-output' }, ...saved);
  const draw = (id) => {
    const inner = context.store.get(id);
    return inner ? drawWidget(inner, context) : document.createTextNode('');
  };
  const show = () => {
    const nodes = (model.state.outputs ?? []).map((output) => renderOutput(output, context.alt, draw));
    context.drawing.replace(area, nodes);
  };
  model.onChange((patch) => 'outputs' in patch && show());
  if (!saved.length) show();
  return area;
}

/** @type {Draw} */
function box(model, context) {
  const made = element('div', { className: model.kind === 'HBox' ? 'live-hbox' : 'live-box' });
  const show = () => made.replaceChildren(...model.state.children.flatMap((child) => {
    const inner = context.store.get(child);
    return inner ? [drawWidget(inner, context)] : [];
  }));
  model.onChange((patch) => 'children' in patch && show());
  show();
  return made;
}
