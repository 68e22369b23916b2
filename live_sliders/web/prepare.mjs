/**
 * What every page's Python does before it loads anything with machine code of its own: the memory after this is the
 * same for all pages, and can be kept. Run in the page's worker, and by node while a book is built.
 */

/** The parts of the standard library that ipywidgets and Matplotlib import in any case. */
const EARLY = {
  ipywidgets: ['datetime', 'email', 'importlib.metadata', 'logging', 'numbers', 'tarfile', 'uuid', 'zipfile'],
  matplotlib: ['argparse', 'calendar', 'ctypes', 'decimal', 'difflib', 'fractions', 'gzip', 'hashlib', 'html',
    'importlib.resources', 'ipaddress', 'pickle', 'platform', 'plistlib', 'pprint', 'shlex', 'sysconfig',
    'unicodedata', 'unittest', 'urllib.parse', 'xml.parsers.expat', 'xml.etree.ElementTree', 'zoneinfo',
    'cycler', 'dateutil.parser', 'dateutil.rrule', 'dateutil.tz', 'packaging.version', 'pyparsing'],
};
export const KERNEL_FILES = ['__init__.py', 'shell.py', 'figures.py', 'speed.py', 'attempts.py', 'kernel.py'];
export const SITE = '/lib/python3.14/site-packages';

/** Packages with all that they need. @param {Record<string, {depends: string[]}>} known @param {string[]} names @returns {string[]} */
export function closure(known, names) {
  const found = new Set();
  const want = (name) => {
    if (found.has(name)) return;
    found.add(name);
    known[name].depends.forEach(want);
  };
  names.forEach(want);
  return [...found];
}

/** Whether a wheel holds Python alone. @param {{file_name: string}} entry */
export function isPure({ file_name: name }) {
  return name.endsWith('-none-any.whl');
}

/** @param {any} python @param {ArrayBuffer[]} wheels */
export function unpack(python, wheels) {
  wheels.forEach((wheel) => python.unpackArchive(wheel, 'wheel', { extractDir: SITE }));
}

/**
 * @param {any} python A Pyodide that has just started.
 * @param {ArrayBuffer[]} kernel The files named by KERNEL_FILES.
 * @param {ArrayBuffer[]} wheels The pure ones that the packages need.
 * @param {string[]} packages
 */
export function prepare(python, kernel, wheels, packages) {
  const folder = '/lib/live/live_kernel';
  python.FS.mkdirTree(folder);
  kernel.forEach((file, i) => python.FS.writeFile(`${folder}/${KERNEL_FILES[i]}`, new Uint8Array(file)));
  unpack(python, wheels);
  const early = Object.keys(EARLY).flatMap((name) => (packages.includes(name) ? EARLY[name] : []));
  python.runPython(`import sys; sys.path.insert(0, "/lib/live"); import ${early.join(', ')}`);
  python.runPython('from live_kernel import kernel; kernel.start(); import linecache; linecache.clearcache()');
}
