/**
 * The worker that holds Python. It answers `start` with steps and then `ready`, each `run` with one `result`.
 *
 * @typedef {{index: number, source: string, shows: boolean}} LiveCell
 * @typedef {{kind: 'start', runtime: string, wheels: string[], packages: string[], figure: object,
 *   cells: LiveCell[], width: number}} StartMessage
 * @typedef {{kind: 'run', moves: object[], again: boolean}} RunMessage
 */
import { startPython } from './python.mjs';

const KERNEL_FILES = ['__init__.py', 'shell.py', 'figures.py', 'speed.py', 'kernel.py'];
const began = performance.now();
let kernel;

/** @param {string} step @param {number} [at] The how many-th of how many of its kind. @param {number} [of] */
function progress(step, at = 0, of = 1) {
  postMessage({ kind: 'progress', progress: { step, at, of, ms: Math.round(performance.now() - began) } });
}

/** @type {Map<string, Promise<Response>>} Files on their way before Pyodide asks for them. */
const early = new Map();

/**
 * Cells have no business outside the site; the page's own policy does not reach into a worker. And what was asked
 * for early is handed over here, since not every host lets the browser's cache do so.
 */
function guardFetch() {
  const fetchAnywhere = self.fetch;
  self.fetch = (resource, options) => {
    const url = new URL(resource.url ?? resource, location.href);
    if (url.origin !== location.origin) return Promise.reject(new TypeError(`no request leaves this site: ${url}`));
    const waiting = early.get(url.href);
    early.delete(url.href);
    return waiting ?? fetchAnywhere(resource, options);
  };
  for (const name of ['XMLHttpRequest', 'WebSocket', 'WebTransport', 'EventSource']) delete self[name];
}

/** @param {string} place A file beside this one. @returns {Promise<ArrayBuffer>} */
async function load(place) {
  const answer = await fetch(new URL(place, import.meta.url));
  if (!answer.ok) throw new Error(`${place}: the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

/** Have the packages' files on their way while Python starts. @param {string} runtime @param {string[]} packages */
async function prefetch(runtime, packages) {
  const lock = await (await fetch(new URL(`${runtime}pyodide-lock.json`, import.meta.url))).json();
  const wanted = new Set();
  const want = (name) => {
    if (wanted.has(name)) return;
    wanted.add(name);
    lock.packages[name].depends.forEach(want);
  };
  packages.forEach(want);
  for (const name of wanted) {
    const { href } = new URL(runtime + lock.packages[name].file_name, import.meta.url);
    const answer = fetch(href);
    answer.catch(() => undefined); // whoever asks for it hears of it
    early.set(href, answer);
  }
}

/** @param {any} python @param {ArrayBuffer[]} files */
function installKernel(python, files) {
  const folder = '/lib/live/live_kernel';
  python.FS.mkdirTree(folder);
  files.forEach((file, i) => python.FS.writeFile(`${folder}/${KERNEL_FILES[i]}`, new Uint8Array(file)));
  python.runPython('import sys; sys.path.insert(0, "/lib/live")');
}

/** @param {StartMessage} message */
async function start({ runtime, wheels, packages, figure, cells, width }) {
  progress('Python');
  const files = Promise.all(KERNEL_FILES.map((name) => load(`python/${name}`)));
  const archives = Promise.all(wheels.map(load));
  prefetch(runtime, packages).catch(() => undefined); // loading them in earnest reports what is wrong
  const { python, keep } = await startPython(new URL(runtime, import.meta.url).href, packages);
  progress('packages');
  await python.loadPackage(packages, { messageCallback() {} });
  (await archives).forEach((archive) => python.unpackArchive(archive, 'wheel'));
  installKernel(python, await files);
  progress('widgets');
  kernel = python.pyimport('live_kernel.kernel').start(JSON.stringify(figure), width);
  return { events: runCells(cells), keep };
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

guardFetch();
self.onmessage = async ({ data: message }) => {
  try {
    if (message.kind === 'run') return run(message);
    const { events, keep } = await start(message);
    postMessage({ kind: 'ready', events, ms: Math.round(performance.now() - began) });
    setTimeout(keep, 3000); // the reader's first result comes first
  } catch (error) {
    postMessage({ kind: 'crash', text: String(error?.message ?? error) });
  }
};
