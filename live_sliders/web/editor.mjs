/** A field for code: it keeps the indentation, Tab indents, and Escape before Tab leaves it. */
import { element } from './dom.mjs';

const STEP = '    ';
const LEAST_ROWS = 3;
const MOST_ROWS = 24;

/** @param {string} id @param {{changed(): void, run(): void}} actions @returns {HTMLTextAreaElement} */
export function editor(id, { changed, run }) {
  const field = element('textarea', {
    id, className: 'live-code', spellcheck: false, wrap: 'off', autocapitalize: 'off', autocomplete: 'off',
    'aria-describedby': `${id}-keys`,
  });
  let mayLeave = false;
  field.addEventListener('input', () => {
    fit(field);
    changed();
  });
  field.addEventListener('keydown', (event) => {
    const { key } = event;
    const act = key === 'Enter' && (event.ctrlKey || event.metaKey) ? run : editOf(field, event, mayLeave);
    if (key !== 'Shift') mayLeave = key === 'Escape';
    if (!act) return;
    event.preventDefault();
    act();
  });
  return field;
}

/** Set a field's text and its height. @param {HTMLTextAreaElement} field @param {string} text */
export function fill(field, text) {
  field.value = text;
  fit(field);
}

/** Put the focus on a line. @param {HTMLTextAreaElement} field @param {number} line From 1. */
export function selectLine(field, line) {
  const lines = field.value.split('\n');
  const start = lines.slice(0, line - 1).join('\n').length + (line > 1 ? 1 : 0);
  field.focus();
  field.setSelectionRange(start, start + (lines[line - 1] ?? '').length);
}

/** @param {HTMLTextAreaElement} field */
function fit(field) {
  field.rows = Math.min(MOST_ROWS, Math.max(LEAST_ROWS, field.value.split('\n').length + 1));
}

/** What a key does to the text; nothing where the browser should do as usual. @param {HTMLTextAreaElement} field @param {KeyboardEvent} event @param {boolean} mayLeave */
function editOf(field, { key, shiftKey, ctrlKey, altKey, metaKey, isComposing }, mayLeave) {
  if (ctrlKey || altKey || metaKey || isComposing) return null;
  if (key === 'Enter') return () => insert(field, `\n${nextIndent(field)}`);
  if (key !== 'Tab' || mayLeave) return null;
  if (shiftKey) return () => shiftLines(field, (line) => line.replace(/^ {1,4}/, ''));
  if (field.selectionStart !== field.selectionEnd) return () => shiftLines(field, (line) => (line ? STEP + line : line));
  return () => insert(field, STEP);
}

/** The indentation of a line that follows the one at the cursor. @param {HTMLTextAreaElement} field */
function nextIndent(field) {
  const line = field.value.slice(0, field.selectionStart).split('\n').at(-1) ?? '';
  return (/^ */.exec(line)?.[0] ?? '') + (line.trimEnd().endsWith(':') ? STEP : '');
}

/** Change the lines that the selection touches. @param {HTMLTextAreaElement} field @param {(line: string) => string} change */
function shiftLines(field, change) {
  const { value } = field;
  const start = value.lastIndexOf('\n', field.selectionStart - 1) + 1;
  const next = value.indexOf('\n', field.selectionEnd);
  const end = next < 0 ? value.length : next;
  const changed = value.slice(start, end).split('\n').map(change).join('\n');
  if (changed === value.slice(start, end)) return;
  const isOne = field.selectionStart === field.selectionEnd;
  const place = Math.max(start, field.selectionStart + changed.length - (end - start));
  field.setSelectionRange(start, end);
  insert(field, changed);
  field.setSelectionRange(isOne ? place : start, isOne ? place : start + changed.length);
}

/** Put text in the selection's place so that the browser can undo it. @param {HTMLTextAreaElement} field @param {string} text */
function insert(field, text) {
  const isDone = text ? document.execCommand('insertText', false, text) : document.execCommand('delete');
  if (isDone) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, 'end');
  field.dispatchEvent(new Event('input', { bubbles: true }));
}
