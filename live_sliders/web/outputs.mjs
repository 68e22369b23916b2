/**
 * Outputs of cells as elements: text, pictures, tables. Pictures are `<img>`, so scripts in an SVG never run.
 *
 * @typedef {{output_type: string, name?: string, text?: string | string[], ename?: string, evalue?: string,
 *   data?: Record<string, any>, metadata?: Record<string, any>}} Output
 */
import { element } from './dom.mjs';
import { fillNumbers } from './numbers.mjs';
import { sanitize } from './sanitize.mjs';

const IMAGES = ['image/png', 'image/svg+xml', 'image/jpeg'];
const WIDGET = 'application/vnd.jupyter.widget-view+json';

/**
 * @param {Output} output
 * @param {string} alt What its pictures show.
 * @param {(modelId: string) => Node} drawWidget
 * @returns {Node}
 */
export function renderOutput(output, alt, drawWidget) {
  if (output.output_type === 'stream') return preformatted(output.text, `live-${output.name}`);
  if (output.output_type === 'error') return preformatted(`${output.ename}: ${output.evalue}`, 'live-stderr');
  const data = output.data ?? {};
  if (data[WIDGET]) return drawWidget(data[WIDGET].model_id);
  const mime = IMAGES.find((each) => data[each]);
  if (mime) return picture(mime, joined(data[mime]), output.metadata?.[mime] ?? {}, alt);
  if (data['text/html']) return element('div', { className: 'live-html' }, sanitize(joined(data['text/html'])));
  return preformatted(data['text/latex'] ?? data['text/markdown'] ?? data['text/plain'] ?? '');
}

/** @param {string} mime @param {string} content @param {{width?: number, height?: number}} size @param {string} alt */
function picture(mime, content, { width, height }, alt) {
  const src = mime === 'image/svg+xml'
    ? `data:${mime},${encodeURIComponent(content)}`
    : `data:${mime};base64,${content.trim()}`;
  return element('img', { src, alt, width, height });
}

/** @param {string | string[] | undefined} text @param {string} [className] */
function preformatted(text, className = '') {
  return element('pre', { textContent: joined(text), className });
}

/** @param {string | string[] | undefined} text */
function joined(text) {
  return Array.isArray(text) ? text.join('') : text ?? '';
}

/** What one view is drawing. Each area shows its newest outputs once their pictures are decoded, never older ones. */
export class Drawing {
  #turn = 0;
  /** @type {WeakMap<Element, number>} The turn that an area shows. */ #shown = new WeakMap();
  /** @type {Map<object, Promise<void>>} The newest drawing of each area, until it is shown. */ #underway = new Map();

  /** Put new nodes into an area once their pictures are decoded, so that nothing flickers. @param {Element} area @param {Node[]} nodes */
  replace(area, nodes) {
    const turn = (this.#turn += 1);
    this.wait(area, decoded(nodes).then(() => {
      if (turn < (this.#shown.get(area) ?? 0)) return;
      this.#shown.set(area, turn);
      area.replaceChildren(...nodes);
      fillNumbers(area);
    }));
  }

  /** Count a part of the view as not yet drawn until a promise is kept. @param {object} part @param {Promise<void>} drawn */
  wait(part, drawn) {
    const kept = drawn.catch(() => undefined).then(() => { if (this.#underway.get(part) === kept) this.#underway.delete(part); });
    this.#underway.set(part, kept);
  }

  /** All that is being drawn now stands in the page, or something newer does. */
  async settled() {
    await Promise.all(this.#underway.values());
  }
}

/** @param {Node[]} nodes */
async function decoded(nodes) {
  const pictures = nodes.filter((node) => node instanceof Element)
    .flatMap((node) => (node.matches('img') ? [node] : [...node.querySelectorAll('img')]));
  await Promise.all(pictures.map((each) => each.decode().catch(() => undefined)));
}
