/**
 * Outputs of cells as elements: text, pictures, tables. Pictures are `<img>`, so scripts in an SVG never run.
 *
 * @typedef {{output_type: string, name?: string, text?: string | string[], ename?: string, evalue?: string,
 *   data?: Record<string, any>, metadata?: Record<string, any>}} Output
 */
import { element } from './dom.mjs';
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

/** Put new nodes into an area once their pictures are decoded, so that nothing flickers. @param {Element} area @param {Node[]} nodes */
export async function replaceWhenDrawn(area, nodes) {
  const pictures = nodes.filter((node) => node instanceof HTMLImageElement);
  const turn = Symbol('turn');
  area.liveTurn = turn;
  await Promise.all(pictures.map((each) => each.decode().catch(() => undefined)));
  if (area.liveTurn === turn) area.replaceChildren(...nodes);
}
