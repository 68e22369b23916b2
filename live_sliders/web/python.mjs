/**
 * Starts Pyodide: from the memory of an earlier start where the browser kept one, else from the beginning.
 *
 * Most of a start is Python importing its own standard library. The memory after that is the same for every page,
 * so the first page of a visit saves it, and the next ones skip those seconds. Any trouble with that (an old
 * browser, a private window, no room) leads to the plain start.
 */

const STORE = 'live-sliders-memory';
/** The parts of the standard library that ipywidgets and Matplotlib import in any case. */
const EARLY = {
  always: ['datetime', 'email', 'importlib.metadata', 'logging', 'numbers', 'tarfile', 'uuid', 'zipfile'],
  matplotlib: ['argparse', 'calendar', 'ctypes', 'decimal', 'difflib', 'fractions', 'gzip', 'hashlib', 'html',
    'importlib.resources', 'ipaddress', 'pickle', 'platform', 'plistlib', 'pprint', 'shlex', 'sysconfig',
    'unicodedata', 'unittest', 'urllib.parse', 'xml.parsers.expat', 'zoneinfo'],
};

/**
 * @param {string} indexURL The folder with Pyodide's files.
 * @param {string[]} packages
 * @returns {Promise<{python: any, keep: () => Promise<void>}>} Python, and what saves its memory when there is time.
 */
export async function startPython(indexURL, packages) {
  const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
  const quiet = { indexURL, stdout() {}, stderr() {} };
  const memory = await savedMemory(indexURL);
  if (memory) {
    try {
      const python = await loadPyodide({ ...quiet, _loadSnapshot: memory });
      python.runPython('import sys; "random" in sys.modules and sys.modules["random"].seed()');
      return { python, keep: async () => undefined };
    } catch {
      await caches.delete(STORE);
    }
  }
  const python = await loadPyodide({ ...quiet, _makeSnapshot: true });
  const early = [...EARLY.always, ...(packages.includes('matplotlib') ? EARLY.matplotlib : [])];
  python.runPython(`import ${early.join(', ')}`);
  return { python, keep: keeper(python, indexURL) };
}

/** @param {string} key @returns {Promise<Uint8Array | null>} */
async function savedMemory(key) {
  try {
    const answer = await (await caches.open(STORE)).match(key);
    return answer ? new Uint8Array(await answer.arrayBuffer()) : null;
  } catch {
    return null;
  }
}

/** Take the memory now, before packages are loaded; write it later. @param {any} python @param {string} key */
function keeper(python, key) {
  let memory;
  try {
    memory = python.makeMemorySnapshot();
  } catch {
    return async () => undefined;
  }
  return async () => {
    try {
      await caches.delete(STORE); // of an earlier release
      await (await caches.open(STORE)).put(key, new Response(memory));
    } catch { /* no room, or not allowed: the next page starts from the beginning */ }
    memory = undefined;
  };
}
