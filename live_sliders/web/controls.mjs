/**
 * Native controls for widgets. Each is drawn from its model and follows it; what the reader does goes to `send`.
 *
 * @typedef {import('./model.mjs').Model} Model
 * @typedef {import('./model.mjs').State} State
 * @typedef {{store: import('./model.mjs').ModelStore, drawing: import('./outputs.mjs').Drawing, alt: string,
 *   send(model: Model, state: State): void, click(model: Model): void, takeSaved(model: Model): Node[],
 *   redrawn(): void}} Context
 * @typedef {(model: Model, context: Context) => HTMLElement} Draw
 */
import { element } from './dom.mjs';
import { renderOutput } from './outputs.mjs';
import { follow, group, nextSerial, row } from './row.mjs';
import { sanitize } from './sanitize.mjs';
import { logSlider, numberField, rangeSlider, selectionSlider, slider } from './sliders.mjs';

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
  const name = `live-group-${nextSerial()}`;
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
  const frame = element('div', { className: 'live-frame' }, area); // what is laid over the area stays when it is filled anew
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
  return frame;
}

/** @type {Draw} */
function box(model, context) {
  const made = element('div', { className: model.kind === 'HBox' ? 'live-hbox' : 'live-box' });
  const show = () => {
    made.replaceChildren(...model.state.children.flatMap((child) => {
      const inner = context.store.get(child);
      return inner ? [drawWidget(inner, context)] : [];
    }));
    context.redrawn();
  };
  model.onChange((patch) => 'children' in patch && show());
  show();
  return made;
}
