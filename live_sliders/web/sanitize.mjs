/**
 * HTML from a cell's output, made safe to put into the page by DOMPurify; the build does the same with nh3.
 * What may stay is one list for both, `allowed.json`, which the build writes as a module too. The result is never
 * turned into text again.
 */
import ALLOWED from './allowed.mjs';
import DOMPurify from './vendor/dompurify/purify.es.mjs';

const IMAGE = new RegExp(`^data:image/(${ALLOWED.image_types.join('|').replaceAll('+', '\\+')})[;,]`, 'i');
const LINK = new RegExp(`^((${ALLOWED.link_schemes.join('|')}):|[^:]*([/?#]|$))`, 'i');
const purify = DOMPurify(window); // an instance of our own, for its hook
purify.setConfig({
  ALLOWED_TAGS: ALLOWED.elements,
  FORBID_CONTENTS: ALLOWED.dropped,
  ALLOWED_ATTR: ALLOWED.attributes['*'],
  ADD_ATTR: (name, element) => ALLOWED.attributes[element]?.includes(name) ?? false,
  ADD_URI_SAFE_ATTR: ALLOWED.attributes['*'],
  ALLOWED_URI_REGEXP: LINK,
  ALLOW_DATA_ATTR: false,
  FORCE_BODY: true, // as a fragment, like the build
  RETURN_DOM_FRAGMENT: true,
});
purify.addHook('uponSanitizeAttribute', (_, attribute) => {
  if (attribute.attrName === 'style') attribute.attrValue = safeStyle(attribute.attrValue);
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
