/**
 * HTML from a cell's output, made safe to put into the page by DOMPurify; the build does the same with nh3.
 * What may stay is one list for both, `allowed.json`, which the build writes as a module too. The result is never
 * turned into text again.
 */
import ALLOWED from './allowed.mjs';
import DOMPurify from './vendor/dompurify/purify.es.mjs';

const IMAGE = new RegExp(`^data:image/(${ALLOWED.image_types.join('|').replaceAll('+', '\\+')})[;,]`, 'i');
const LINK = new RegExp(`^((${ALLOWED.link_schemes.join('|')}):|[^:]*([/?#]|$))`, 'i');
const LOADING = /url\s*\(|\\/i; // in an attribute such as SVG's fill: it would fetch something
/** Names as DOMPurify compares them. @type {Record<string, string[]>} */
const OF_ELEMENT = Object.fromEntries(Object.entries(ALLOWED.attributes)
  .map(([element, names]) => [element.toLowerCase(), names.map((name) => name.toLowerCase())]));
const purify = DOMPurify(window); // an instance of our own, for its hook
purify.setConfig({
  ALLOWED_TAGS: ALLOWED.elements,
  FORBID_CONTENTS: ALLOWED.dropped,
  ALLOWED_ATTR: ALLOWED.attributes['*'],
  ADD_ATTR: (name, element) => OF_ELEMENT[element]?.includes(name) ?? false,
  ADD_URI_SAFE_ATTR: [...ALLOWED.attributes['*'], ...Object.keys(ALLOWED.attribute_values)],
  ALLOWED_URI_REGEXP: LINK,
  ALLOW_DATA_ATTR: false,
  FORCE_BODY: true, // as a fragment, like the build
  RETURN_DOM_FRAGMENT: true,
});
purify.addHook('uponSanitizeAttribute', (_, attribute) => {
  if (attribute.attrName === 'style') attribute.attrValue = safeStyle(attribute.attrValue);
  const form = ALLOWED.attribute_values[attribute.attrName];
  if (form) attribute.keepAttr = new RegExp(form).test(attribute.attrValue);
  else if (LOADING.test(attribute.attrValue) && OF_ELEMENT['*'].includes(attribute.attrName)) attribute.keepAttr = false;
  if (attribute.attrName === 'src') attribute.keepAttr = IMAGE.test(attribute.attrValue);
});

/** @param {string} html @returns {DocumentFragment} */
export function sanitize(html) {
  return purify.sanitize(html);
}

/** Keep plain properties: nothing that loads, covers the page or reads it. @param {string} text */
function safeStyle(text) {
  const [given, kept] = [document.createElement('span').style, document.createElement('span').style];
  given.cssText = text;
  for (const name of ALLOWED.style_properties.filter((each) => text.toLowerCase().includes(each))) {
    const value = given.getPropertyValue(name);
    const isSafe = !ALLOWED.unsafe_in_style.some((part) => value.toLowerCase().includes(part));
    if (value && isSafe) kept.setProperty(name, value, given.getPropertyPriority(name));
  }
  return kept.cssText;
}
