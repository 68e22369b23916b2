/**
 * Starts Pyodide: from memory where there is some, else from the beginning.
 *
 * Most of a start is Python importing its own standard library and ipywidgets. The memory after that is the same for
 * every page. A book that was built where node is brings it along; else the first page of a visit saves it for the
 * next ones. Any trouble with it (an old browser, a private window, no room) leads to the plain start.
 */
import { prepare } from './prepare.mjs';

const STORE = 'live-sliders-memory';

/**
 * @param {string} indexURL The folder with Pyodide's files.
 * @param {{shipped: string, key: string}} from The address of the memory that the book brings, or ""; what a kept one must be of.
 * @param {string[]} packages
 * @param {() => Promise<[ArrayBuffer[], ArrayBuffer[]]>} parts The kernel's files, and the pure wheels of the packages.
 * @returns {Promise<{python: any, restored: boolean, keep: () => Promise<void>}>} Python; whether from memory, and so without
 *   the files that it was made from; and what saves its memory when there is time.
 */
export async function startPython(indexURL, { shipped, key }, packages, parts) {
  const place = `${indexURL}?${key}`;
  const bringing = shipped ? shippedMemory(shipped) : null;
  const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
  const quiet = { indexURL, env: { HOME: '/home/pyodide' }, stdout() {}, stderr() {} };
  const memory = (await bringing) ?? (await savedMemory(place));
  if (memory) {
    try {
      const python = await loadPyodide({ ...quiet, _loadSnapshot: memory });
      python.runPython('import sys; "random" in sys.modules and sys.modules["random"].seed()');
      return { python, restored: true, keep: async () => undefined };
    } catch {
      await globalThis.caches?.delete(STORE); // not there without https
    }
  }
  const python = await loadPyodide({ ...quiet, _makeSnapshot: true });
  prepare(python, ...(await parts()), packages);
  return { python, restored: false, keep: keeper(python, place) };
}

/** @param {string} address @returns {Promise<Uint8Array | null>} */
async function shippedMemory(address) {
  try {
    const answer = await fetch(address);
    if (!answer.ok) return null;
    const inflated = answer.body.pipeThrough(new DecompressionStream('gzip'));
    return new Uint8Array(await new Response(inflated).arrayBuffer());
  } catch {
    return null;
  }
}

/** @param {string} place @returns {Promise<Uint8Array | null>} */
async function savedMemory(place) {
  try {
    const answer = await (await caches.open(STORE)).match(place);
    return answer ? new Uint8Array(await answer.arrayBuffer()) : null;
  } catch {
    return null;
  }
}

/** Take the memory now, before packages with machine code are loaded; write it later. @param {any} python @param {string} place */
function keeper(python, place) {
  let memory;
  try {
    memory = python.makeMemorySnapshot();
  } catch {
    return async () => undefined;
  }
  return async () => {
    try {
      await caches.delete(STORE); // of an earlier release
      await (await caches.open(STORE)).put(place, new Response(memory));
    } catch { /* no room, or not allowed: the next page starts from the beginning */ }
    memory = undefined;
  };
}
