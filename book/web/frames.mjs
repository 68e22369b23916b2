/** Drawings in steps: one at a time, by buttons or the arrow keys. Without this script all stand one below the other. */

/** @param {string} tag @param {Record<string, any>} properties */
function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

/** @param {HTMLElement} host */
function enliven(host) {
  const frames = [...host.querySelectorAll(':scope > .drawing-frame')];
  const bar = element('div', { className: 'drawing-steps' });
  const back = element('button', { type: 'button', textContent: '← Back' });
  const next = element('button', { type: 'button', textContent: 'Next →' });
  const place = element('span', {});
  place.setAttribute('role', 'status');
  bar.append(back, next, place);
  let at = 0;
  const show = (to) => {
    at = Math.min(Math.max(to, 0), frames.length - 1);
    frames.forEach((frame, i) => { frame.hidden = i !== at; });
    back.disabled = at === 0;
    next.disabled = at === frames.length - 1;
    place.textContent = `Step ${at + 1} of ${frames.length}`;
    host.dataset.step = String(at + 1);
  };
  const go = (by) => {
    show(at + by);
    if (document.activeElement === document.body) (back.disabled ? next : back).focus(); // a disabled button lost it
  };
  back.addEventListener('click', () => go(-1));
  next.addEventListener('click', () => go(1));
  host.tabIndex = 0;
  host.setAttribute('role', 'group');
  host.setAttribute('aria-label', `${host.querySelector('.drawing-title')?.textContent} Arrow keys step.`);
  host.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation(); // the theme turns pages by arrow keys where that is switched on
    go(by);
  });
  frames[0].before(bar);
  show(0);
}

document.querySelectorAll('.drawing-frames').forEach(enliven);
