/** What all controls are made of: a labelled row that follows its model. */
import { element } from './dom.mjs';

let serial = 0;

/** A number that no other control of the page has. */
export function nextSerial() {
  return (serial += 1);
}

/** Draw now and at every change. @param {import('./model.mjs').Model} model @param {() => void} show */
export function follow(model, show) {
  model.onChange(show);
  show();
}

/** @param {import('./model.mjs').Model} model */
export function nameOf(model) {
  return model.state.description || model.kind;
}

/** A labelled row. @param {import('./model.mjs').Model} model @param {HTMLElement} control @param {...Node} more */
export function row(model, control, ...more) {
  control.id = `live-control-${nextSerial()}`;
  const name = element('label', { htmlFor: control.id, textContent: nameOf(model) });
  const title = model.state.tooltip || undefined;
  return element('div', { className: 'live-row', title }, name, control, ...more);
}

/** A set of controls under one name. @param {import('./model.mjs').Model} model @param {...Node} children */
export function group(model, ...children) {
  const legend = element('legend', { textContent: nameOf(model) });
  return element('fieldset', { className: 'live-row' }, legend, ...children);
}
