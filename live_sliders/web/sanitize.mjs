/**
 * HTML from a cell's output, made safe to put into the page.
 *
 * The text is parsed into a document that never runs scripts, and copied element by element: what is not on the
 * lists below is left out, so nothing has to be recognised as dangerous. The copy is never turned into text again.
 */

const ELEMENTS = new Set(`a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption
  figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody
  td tfoot th thead tr u ul var`.split(/\s+/));
const ATTRIBUTES = new Set(`abbr align alt class colspan dir headers height href lang open role rowspan scope span
  src start style title valign width`.split(/\s+/));
/** Elements whose content is not text for a reader either. */
const DROPPED = new Set(['script', 'style', 'template', 'noscript', 'iframe', 'object', 'embed', 'svg', 'math',
  'head', 'title', 'textarea', 'select', 'noembed', 'noframes', 'xmp', 'plaintext']);
const SAFE_IMAGE = /^data:image\/(png|jpeg|gif|webp|svg\+xml)[;,]/i;
const SAFE_STYLE = /^(color|background-color|font-(weight|style|size|family)|text-(align|decoration|indent)|vertical-align|white-space|width|height|(min|max)-(width|height)|(margin|padding|border)(-(top|right|bottom|left|color|style|width|radius|collapse|spacing))*|list-style-type)$/;

/** @param {string} html @returns {DocumentFragment} */
export function sanitize(html) {
  const parsed = new DOMParser().parseFromString(html, 'text/html');
  const fragment = document.createDocumentFragment();
  copyChildren(parsed.body, fragment);
  return fragment;
}

/** @param {Node} source @param {Node} target */
function copyChildren(source, target) {
  for (const child of source.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) target.appendChild(document.createTextNode(child.data));
    else if (child.nodeType === Node.ELEMENT_NODE) copyElement(/** @type {Element} */ (child), target);
  }
}

/** @param {Element} source @param {Node} target */
function copyElement(source, target) {
  const name = source.localName;
  if (DROPPED.has(name) || source.namespaceURI !== 'http://www.w3.org/1999/xhtml') return;
  if (!ELEMENTS.has(name)) return copyChildren(source, target); // unknown: keep its text
  const copy = document.createElement(name);
  for (const { name: key, value } of source.attributes) copyAttribute(copy, key, value);
  copyChildren(source, copy);
  target.appendChild(copy);
}

/** @param {HTMLElement} element @param {string} key @param {string} value */
function copyAttribute(element, key, value) {
  if (!ATTRIBUTES.has(key) && !key.startsWith('aria-')) return;
  if (key === 'style') copyStyle(element, value);
  else if (key === 'src') SAFE_IMAGE.test(value) && element.setAttribute(key, value);
  else if (key === 'href') isSafeLink(value) && element.setAttribute(key, value);
  else element.setAttribute(key, value);
}

/** Keep plain properties: nothing that loads, covers the page or reads it. @param {HTMLElement} element @param {string} text */
function copyStyle(element, text) {
  const scratch = document.createElement('span');
  scratch.style.cssText = text;
  for (const property of scratch.style) {
    const value = scratch.style.getPropertyValue(property);
    if (SAFE_STYLE.test(property) && !/url|image|var|expression/i.test(value)) element.style.setProperty(property, value);
  }
}

/** @param {string} value */
function isSafeLink(value) {
  try {
    return ['http:', 'https:', 'mailto:'].includes(new URL(value, 'https://page.invalid/').protocol);
  } catch {
    return false;
  }
}
