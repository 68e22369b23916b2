/**
 * A new element with properties and children.
 *
 * @param {string} tag
 * @param {Record<string, any>} [properties] `aria-…` and `data-…` become attributes, undefined ones are left out.
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.includes('-') || key === 'role') made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}
