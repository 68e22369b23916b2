/**
 * The worker that holds Python. It answers `start` with steps and then `ready`, each `run` with one `result`, each
 * `attempt` at an exercise with one `attempted`.
 *
 * @typedef {{index: number, source: string, shows: boolean}} LiveCell
 * @typedef {{kind: 'start', runtime: string, memory: string, key: string, wheels: string[], packages: string[], figure: object,
 *   cells: LiveCell[], width: number}} StartMessage
 * @typedef {{kind: 'run', moves: object[], again: boolean}} RunMessage
 */
import { closure, isPure, KERNEL_FILES, unpack } from './prepare.mjs';
import { startPython } from './python.mjs';

const began = performance.now();
let kernel;

/** @param {string} step @param {number} [at] The how many-th of how many of its kind. @param {number} [of] */
function progress(step, at = 0, of = 1) {
  postMessage({ kind: 'progress', progress: { step, at, of, ms: Math.round(performance.now() - began) } });
}

/** Cells have no business outside the site; the page's own policy does not reach into a worker. */
function guardFetch() {
  const fetchAnywhere = self.fetch;
  self.fetch = (resource, options) => {
    const url = new URL(resource.url ?? resource, location.href);
    if (url.origin !== location.origin) return Promise.reject(new TypeError(`no request leaves this site: ${url}`));
    return fetchAnywhere(resource, options);
  };
  for (const name of ['XMLHttpRequest', 'WebSocket', 'WebTransport', 'EventSource']) delete self[name];
}

/** @param {string} place A file beside this one. @returns {Promise<ArrayBuffer>} */
async function load(place) {
  const answer = await fetch(new URL(place, import.meta.url));
  if (!answer.ok) throw new Error(`${place}: the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

/** The wheels that packages need, on their way: those of Python alone, and those with machine code. @param {string} runtime @param {string[]} packages */
async function fetchPackages(runtime, packages) {
  const known = JSON.parse(new TextDecoder().decode(await load(`${runtime}pyodide-lock.json`))).packages;
  const entries = closure(known, packages).map((name) => known[name]);
  const fetched = (wanted) => Promise.all(wanted.map(({ file_name: name }) => load(runtime + name)));
  return { pure: fetched(entries.filter(isPure)), others: fetched(entries.filter((entry) => !isPure(entry))) };
}

/** @param {StartMessage} message */
async function start({ runtime, memory, key, wheels, packages, figure, cells, width }) {
  progress('Python');
  const files = Promise.all(KERNEL_FILES.map((name) => load(`python/${name}`)));
  const fetching = fetchPackages(runtime, packages);
  const own = Promise.all(wheels.map(load));
  const parts = async () => Promise.all([files, (await fetching).pure]);
  const place = (name) => name && new URL(name, import.meta.url).href;
  const { python, restored, keep } = await startPython(place(runtime), { shipped: place(memory), key }, packages, parts);
  progress('packages');
  const { pure, others } = await fetching;
  unpack(python, [...(restored ? await pure : []), ...(await others), ...(await own)]);
  progress('widgets');
  kernel = python.pyimport('live_kernel.kernel').open_page(JSON.stringify(figure), width);
  return { events: runCells(cells), restored, keep };
}

/** @param {LiveCell[]} cells */
function runCells(cells) {
  const events = [];
  for (const [at, { index, source }] of cells.entries()) {
    progress('cells', at, cells.length);
    const report = JSON.parse(kernel.run_cell(index, source));
    if (report.error) throw new Error(report.error);
    events.push(...report.events);
  }
  kernel.settle();
  return events;
}

/** @param {RunMessage} message */
function run({ moves, again }) {
  const started = performance.now();
  const report = JSON.parse(kernel.deliver(JSON.stringify(moves), again));
  postMessage({ kind: 'result', ...report, ms: Math.round(performance.now() - started) });
}

/** @param {{code: string, check: string}} message A reader's code, and what runs after it. */
function attempt({ code, check }) {
  const started = performance.now();
  const report = JSON.parse(kernel.attempt(code, check));
  postMessage({ kind: 'attempted', ...report, ms: Math.round(performance.now() - started) });
}

guardFetch();
self.onmessage = async ({ data: message }) => {
  try {
    if (message.kind === 'run') return run(message);
    if (message.kind === 'attempt') return attempt(message);
    const { events, restored, keep } = await start(message);
    postMessage({ kind: 'ready', events, restored, ms: Math.round(performance.now() - began) });
    setTimeout(keep, 3000); // the reader's first result comes first
  } catch (error) {
    postMessage({ kind: 'crash', text: String(error?.message ?? error) });
  }
};
