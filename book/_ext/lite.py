"""A JupyterLite beside the book, in which the labs open: `lite/` of the built site.

JupyterLite's own builder copies a second Python and indexes packages to install. This one takes the interface and the
kernel's worker from the two packages, and points them at the Python and the wheel that the live sliders use: nothing
is there twice, and nothing is asked of another host.

| part | from |
|---|---|
| the interface of Jupyter Notebook | `jupyterlite-core`, without source maps and applications that nobody opens |
| the worker in which Python runs | `jupyterlite-pyodide-kernel` |
| Python, NumPy, Matplotlib, costlab | `_static/live_sliders/`, which the pages load too |
| IPython and what it imports | the environment that builds the book, as one wheel |
| a service worker | `service-worker.js` beside this file: it keeps what was loaded, and calls JupyterLite's own |
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
import zipfile
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path
from typing import Any

from live_sliders.wheel import Project, pack

OWN = Path(__file__).with_name("lite_files")
APPLICATIONS = ("notebooks", "tree")  # of Jupyter Notebook: a document, legible on a phone, and the list of files
EXTENSION = "@jupyterlite/pyodide-kernel-extension"
KERNEL_PLUGIN = f"{EXTENSION}:kernel"
# Of the interface: no source maps, no applications but one, no icons in formats that no browser of today reads.
LEFT_OUT = (
    "*.map", "rspack.config*", "*.schema.*", "*package.json", "bootstrap.js", "manifest.webmanifest", "icon-*",
    "lab/*", "repl/*", "consoles/*", "edit/*", "doc/*", "index.html",
    "build/lab/*", "build/repl/*", "build/consoles/*", "build/edit/*", "build/schemas/*/*",
    "build/fa-*.eot", "build/fa-*.svg", "build/fa-*.ttf", "build/fa-*.woff",
)  # fmt: skip
# The kernel's Python, as far as a cell, an error, a completion and a question mark need it.
CARRIED = {
    "ipython": ("IPython/*",),
    "pygments": ("pygments/*",),
    "executing": ("executing/*",),
    "asttokens": ("asttokens/*",),
    "pure_eval": ("pure_eval/*",),
    "stack-data": ("stack_data/*",),
    "matplotlib-inline": ("matplotlib_inline/*",),
    "ipython-pygments-lexers": ("ipython_pygments_lexers.py",),
}
NOT_CARRIED = (
    "pygments/lexers/[!_p]*", "pygments/lexers/p[!y]*", "pygments/sphinxext.py", "*.typed",
)  # fmt: skip
KERNEL_WHEELS = ("pyodide_kernel", "ipykernel")  # in the extension: the kernel, and a stand-in for ipykernel
NOT_FOR_LABS = ("costlab/nn/*",)  # torch, which no browser has
Files = dict[str, bytes]
TITLE = "Labs: why tokens got cheap"
# Settings of a reader who has none: a look like the system's, and saved at once, for Python scores the saved file.
SETTINGS = {
    "@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": 3},
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},
}
# When a file was built, said as if the reader had saved it then; and an icon that would come from a server.
UNUSED = ["@jupyter-notebook/notebook-extension:checkpoints", "@jupyter-notebook/notebook-extension:tab-icon"]
# What a server would answer: no translations and no settings of further extensions.
NONE = '{"data": {}, "message": ""}'
EMPTY = {"api/translations/all.json": NONE, "api/translations/en.json": NONE, "build/schemas/all_federated.json": "[]"}
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# JupyterLite reads this page's configuration, too; people come here by accident.
FRONT = f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{TITLE}</title><meta http-equiv="refresh" content="0; url=../book/labs.html"></head>
<body><script id="jupyter-config-data" type="application/json" data-jupyter-lite-root=".">{{}}</script>
<p><a href="../book/labs.html">The labs</a></p></body>
</html>
"""


@dataclass(frozen=True)
class Python:
    """What of Python the site has already: places from its root."""

    runtime: str  # the folder of `pyodide.mjs` and its lock
    wheels: tuple[str, ...]  # the course's own packages
    rest: tuple[Project, ...]  # the same as projects: the labs get what their wheels leave out for the pages


def build(site: Path, python: Python, notebooks: Files) -> Path:
    """Write the folder `lite/` of a site, with notebooks by their places, such as `moe.ipynb`; return it."""
    files = interface() | extension() | contents(notebooks) | packages(site, python)
    files |= pages(files, python) | service_worker(files, notebooks)
    target = site / "lite"
    shutil.rmtree(target, ignore_errors=True)
    for name, data in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return target


# -- the interface --------------------------------------------------------------------------------------------------


def interface() -> Files:
    """Return JupyterLite's files, without what no lab needs."""
    (path,) = (each for each in _files("jupyterlite-core") if each.match("jupyterlite-app-*.tgz"))
    with tarfile.open(path) as archive:
        members = {each.name.removeprefix("package/"): each for each in archive if each.isfile()}
        return {name: _read(archive, each) for name, each in members.items() if not _matches(name, LEFT_OUT)}


def extension() -> Files:
    """Return the files of the extension that offers Python as a kernel."""
    found = {}
    for path in _files("jupyterlite-pyodide-kernel"):
        place = path.as_posix().partition(f"labextensions/{EXTENSION}/")[2]
        if place and not _matches(place, ("*.map", "static/pypi/*", "static/schema/*", "install.json")):
            found[f"extensions/{EXTENSION}/{place}"] = path.read_bytes()
    return found


def _files(package: str) -> list[Path]:
    """Return the installed files of a package."""
    return [Path(str(each.locate())).resolve() for each in distribution(package).files or []]


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, member.name  # a file, as its entry says
    return file.read()


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


# -- Python ---------------------------------------------------------------------------------------------------------


def packages(site: Path, python: Python) -> Files:
    """Return the wheels that only the labs need, and a lock for Pyodide that names them and the site's own."""
    lock = json.loads((site / python.runtime / "pyodide-lock.json").read_text(encoding="utf-8"))
    entries: dict[str, Any] = lock["packages"]
    for entry in entries.values():
        entry["file_name"] = f"../{python.runtime}/{entry['file_name']}"
    wheels = [("pyodide-kernel", pack("pyodide_kernel", "1", kernel())), ("micropip", pack("micropip", "1", {}))]
    stand_in = {
        "piplite/__init__.py": b"from .piplite import install as install\n",
        "piplite/piplite.py": (OWN / "piplite.py").read_bytes(),
    }
    wheels += [("piplite", pack("piplite", "1", stand_in))]
    wheels += [(f"{each.name}-rest", pack(f"{each.name}_rest", each.version, rest(each))) for each in python.rest]
    found = {}
    for name, data in wheels:
        place = f"wheels/{_digest(data)}/{name.replace('-', '_')}-1-py3-none-any.whl"
        found[place] = data
        entries[name] = _entry(name, place, data)
    for project, place in zip(python.rest, python.wheels, strict=True):
        needs = ["numpy", f"{project.name}-rest"]
        entries[project.name] = _entry(project.name, f"../{place}", (site / place).read_bytes(), needs)
    entries["pyodide-kernel"]["depends"] = ["comm", "traitlets"]
    return found | {"pyodide-lock.json": json.dumps(lock).encode()}


def kernel() -> Files:
    """Return the Python part of the kernel: JupyterLite's own, and IPython with what it imports."""
    found = {}
    for path in _files("jupyterlite-pyodide-kernel"):
        if path.suffix == ".whl" and path.name.startswith(KERNEL_WHEELS):
            with zipfile.ZipFile(BytesIO(path.read_bytes())) as archive:
                found |= {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    for package, wanted in CARRIED.items():
        for each in distribution(package).files or []:
            if _matches(each.as_posix(), wanted) and not _matches(each.as_posix(), NOT_CARRIED):
                found[each.as_posix()] = each.read_binary()
    return found


def rest(project: Project) -> Files:
    """Return what the pages' wheel leaves out of a project and a lab may import."""
    left = {project.place(path): path for path in project.left_out()}
    return {place: path.read_bytes() for place, path in left.items() if not _matches(place, NOT_FOR_LABS)}


def _entry(name: str, place: str, data: bytes, needs: Iterable[str] = ()) -> dict[str, Any]:
    """Return an entry of Pyodide's lock."""
    return {
        "name": name,
        "version": "1",
        "file_name": place,
        "install_dir": "site",
        "sha256": hashlib.sha256(data).hexdigest(),
        "package_type": "package",
        "imports": [name.replace("-", "_")],
        "depends": list(needs),
        "unvendored_tests": False,
    }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


# -- notebooks, pages and the service worker ------------------------------------------------------------------------


def contents(notebooks: Files) -> Files:
    """Return the notebooks as files, and the lists of them that JupyterLite reads in place of a server's answers."""
    found = {f"files/{place}": data for place, data in notebooks.items()}
    folders = {"", *(place.rpartition("/")[0] for place in notebooks)}
    for folder in sorted(folders):
        listing = [_file(place, data) for place, data in notebooks.items() if place.rpartition("/")[0] == folder]
        listing += [_folder(each) for each in sorted(folders) if each and each.rpartition("/")[0] == folder]
        model = _folder(folder) | {"content": listing, "format": "json"}
        found[f"api/contents/{folder}/all.json".replace("//", "/")] = json.dumps(model).encode()
    return found


def _file(place: str, data: bytes) -> dict[str, Any]:
    return _model(place, "notebook") | {"size": len(data), "mimetype": None}


def _folder(place: str) -> dict[str, Any]:
    return _model(place, "directory") | {"size": None, "mimetype": None}


def _model(place: str, kind: str) -> dict[str, Any]:
    """Return what Jupyter's contents interface says of every file; the dates are of no account."""
    dates = dict.fromkeys(("created", "last_modified"), "1980-01-01T00:00:00Z")
    name = place.rpartition("/")[2]
    return {"name": name, "path": place, "type": kind, "format": None, "content": None, "writable": True, **dates}


def pages(files: Files, python: Python) -> Files:
    """Return the pages and their configuration."""
    return {
        **{f"{name}/index.html": _page(files[f"{name}/index.html"].decode()).encode() for name in APPLICATIONS},
        "index.html": FRONT.encode(),
        "keep.mjs": (OWN / "keep.mjs").read_bytes(),
        "jupyter-lite.json": configuration(files, python),
        **{place: text.encode() for place, text in EMPTY.items()},
    }


def configuration(files: Files, python: Python) -> bytes:
    """Return JupyterLite's configuration with the kernel, where its Python lies, and the reader's defaults."""
    table = json.loads(files["jupyter-lite.json"])
    lab = json.loads(files[f"extensions/{EXTENSION}/package.json"])["jupyterlab"]["_build"]
    kernel = {
        "pyodideUrl": f"./../{python.runtime}/pyodide.mjs",
        "disablePyPIFallback": True,
        "loadPyodideOptions": {
            "lockFileURL": "pyodide-lock.json",
            "packages": ["micropip", "piplite", "pyodide-kernel", *(each.name for each in python.rest)],
        },
    }
    table["jupyter-config-data"] |= {
        "appName": TITLE,
        "appUrl": f"./{APPLICATIONS[0]}",
        "contentsAllJsonFile": "all.json",
        "federated_extensions": [{"name": EXTENSION, **lab}],
        "litePluginSettings": {KERNEL_PLUGIN: kernel},
        "settingsOverrides": SETTINGS,
        "disabledExtensions": UNUSED,
    }
    return json.dumps(table, indent=1).encode()


def service_worker(files: Files, notebooks: Files) -> Files:
    """Return the two service workers: ours, named by all that the folder holds, and JupyterLite's."""
    digest = _digest(b"".join(hashlib.sha256(name.encode() + data).digest() for name, data in sorted(files.items())))
    text = (OWN / "service-worker.js").read_text(encoding="utf-8")
    text = text.replace("@DIGEST@", digest).replace("@NOTEBOOKS@", json.dumps([f"files/{each}" for each in notebooks]))
    return {"service-worker.js": text.encode(), "jupyterlite-service-worker.js": files["service-worker.js"]}


def _page(html: str) -> str:
    """Return a page with our title, what keeps it for later, and a policy: nothing from another site.

    JupyterLab compiles the schemas of its settings, hence `unsafe-eval`.
    """
    html = re.sub(r"<title>.*?</title>", f"<title>{TITLE}</title>", html)
    html = re.sub(r'<link rel="manifest"[^>]*>', "", html).replace("<html>", '<html lang="en">')
    hashes = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in INLINE.findall(html)]
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    policy = (
        f"default-src 'self'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'"
    )
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    keep = '<script type="module" src="../keep.mjs"></script>'
    return html.replace("<head>", f"<head>\n{tag}", 1).replace("</head>", f"{keep}</head>")
