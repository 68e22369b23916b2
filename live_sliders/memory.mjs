/**
 * Run by node while a book is built: writes the memory of a Python that has done what every page's does first.
 *
 *     node memory.mjs RUNTIME_FOLDER OUT
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { closure, isPure, KERNEL_FILES, prepare } from './web/prepare.mjs';

const [runtime, out] = process.argv.slice(2);
const read = (path) => new Uint8Array(readFileSync(path)).buffer;
const packages = ['ipywidgets', 'matplotlib'];
const known = JSON.parse(readFileSync(`${runtime}/pyodide-lock.json`, 'utf8')).packages;
const wheels = closure(known, packages).map((name) => known[name]).filter(isPure);
const { loadPyodide } = await import(pathToFileURL(`${runtime}/pyodide.mjs`).href);
const python = await loadPyodide({ indexURL: runtime, env: { HOME: '/home/pyodide' }, _makeSnapshot: true });
const kernel = KERNEL_FILES.map((name) => read(new URL(`web/python/${name}`, import.meta.url)));
prepare(python, kernel, wheels.map(({ file_name: name }) => read(`${runtime}/${name}`)), packages);
writeFileSync(out, gzipSync(python.makeMemorySnapshot()));
