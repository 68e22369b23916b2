"""The browser's Python: Pyodide and packages, gathered into the built site and checked against the lock.

Each file comes from the first place that has it: the book's own cache, the folder that `COSTLAB_LIVE_RUNTIME`
names, or its release over https. A file is known by its SHA-256; the lock lists for each package the builds that
are accepted, best first. Nothing unverified reaches the site, and Pyodide's own lock file is written from ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "COSTLAB_LIVE_RUNTIME"
LOCK_PATH = Path(__file__).with_name("runtime-lock.json")
MEMORY_SCRIPT = Path(__file__).with_name("memory.mjs")
TIMEOUT_S = 20.0
MEMORY_TIMEOUT_S = 300.0
Fetch = Callable[[str], bytes]


class RuntimeMissing(Exception):
    """Raised where no place has a file that the runtime needs."""


class HashMismatch(Exception):
    """Raised for a file that is not the one that the lock names."""


@dataclass(frozen=True)
class Build:
    """One accepted build of a file."""

    file: str
    sha256: str
    url: str = ""


@dataclass(frozen=True)
class Package:
    """A package: the modules it offers, what it needs, and its accepted builds."""

    name: str
    imports: tuple[str, ...]
    depends: tuple[str, ...]
    builds: tuple[Build, ...]


@dataclass(frozen=True)
class Lock:
    """The files that make up the runtime."""

    pyodide: str
    info: dict[str, str]
    core: tuple[Build, ...]
    packages: tuple[Package, ...]

    @property
    def modules(self) -> dict[str, str]:
        """Package names by the modules that they offer."""
        return {module: package.name for package in self.packages for module in package.imports}

    @property
    def digest(self) -> str:
        """A short name for exactly this runtime, used in its address so that browsers may keep it for ever."""
        files = [build.sha256 for package in self.packages for build in package.builds]
        return hashlib.sha256("".join(files + [build.sha256 for build in self.core]).encode()).hexdigest()[:8]


def read_lock(path: Path = LOCK_PATH) -> Lock:
    """Read the lock that travels with this package."""
    table = json.loads(path.read_text(encoding="utf-8"))
    core = tuple(Build(name, entry["sha256"], entry["url"]) for name, entry in table["core"].items())
    packages = tuple(_package(name, entry) for name, entry in table["packages"].items())
    return Lock(table["pyodide"], table["info"], core, packages)


def _package(name: str, entry: dict[str, Any]) -> Package:
    builds = tuple(Build(each["file"], each["sha256"], each.get("url", "")) for each in entry["builds"])
    return Package(name, tuple(entry["imports"]), tuple(entry["depends"]), builds)


def download(url: str) -> bytes:
    """Fetch one file over https."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        data: bytes = answer.read()
    return data


@dataclass(frozen=True)
class Source:
    """Where the runtime's files come from, in order: cache, folder, release."""

    cache: Path
    folder: Path | None = None
    fetch: Fetch | None = download

    def get(self, builds: tuple[Build, ...]) -> tuple[Build, bytes]:
        """Return the first accepted build that some place has, and its bytes.

        Raises RuntimeMissing where no place has one, HashMismatch where one is not as the lock says.
        """
        for place in filter(None, (self.cache, self.folder)):
            for name in dict.fromkeys(build.file for build in builds):
                if (place / name).is_file():
                    return self._keep(_check(builds, name, (place / name).read_bytes(), str(place / name)))
        return self._keep(self._from_release(builds))

    def _from_release(self, builds: tuple[Build, ...]) -> tuple[Build, bytes]:
        build = next((each for each in builds if each.url), None)
        if build is None or self.fetch is None:
            raise RuntimeMissing(f"{builds[0].file} is nowhere at hand")
        try:
            data = self.fetch(build.url)
        except (urllib.error.URLError, OSError) as error:
            raise RuntimeMissing(f"{build.url}: {error}") from error
        return _check((build,), build.file, data, build.url)

    def _keep(self, found: tuple[Build, bytes]) -> tuple[Build, bytes]:
        build, data = found
        path = self.cache / build.file
        if not path.is_file():
            self.cache.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return found


def source_from_environment(cache: Path) -> Source:
    """Return the usual source: `cache`, then the folder that the environment names, then the release."""
    folder = os.environ.get(FOLDER_VARIABLE, "")
    if folder and not Path(folder).is_dir():
        raise FileNotFoundError(f"{FOLDER_VARIABLE} names {folder!r}, which is not a folder")
    return Source(cache, Path(folder) if folder else None)


def _check(builds: tuple[Build, ...], name: str, data: bytes, origin: str) -> tuple[Build, bytes]:
    digest = hashlib.sha256(data).hexdigest()
    for build in builds:
        if (build.file, build.sha256) == (name, digest):
            return build, data
    wanted = " or ".join(build.sha256 for build in builds if build.file == name)
    raise HashMismatch(f"{origin} has SHA-256 {digest}, but the lock of live sliders wants {wanted}")


def assemble(lock: Lock, source: Source, target: Path) -> None:
    """Put the runtime into `target`, with a lock file for Pyodide. All files are at hand before any is written."""
    core = [source.get((build,)) for build in lock.core]
    packages = [(package, *source.get(package.builds)) for package in lock.packages]
    target.mkdir(parents=True, exist_ok=True)
    for build, data in [*core, *((build, data) for _, build, data in packages)]:
        (target / build.file).write_bytes(data)
    entries = dict(_pyodide_entry(package, build) for package, build, _ in packages)
    table = {"info": lock.info, "packages": entries}
    (target / "pyodide-lock.json").write_text(json.dumps(table, indent=1), encoding="utf-8")


def _pyodide_entry(package: Package, build: Build) -> tuple[str, dict[str, Any]]:
    return package.name, {
        "name": package.name,
        "version": build.file.split("-")[1],
        "file_name": build.file,
        "install_dir": "site",
        "sha256": build.sha256,
        "package_type": "package",
        "imports": list(package.imports),
        "depends": list(package.depends),
        "unvendored_tests": False,
    }


def memory_key(runtime: Path, scripts: Path) -> str:
    """Return a hash of all that a page's Python does before its own cells: memories of others must not be used.

    runtime: an assembled runtime. scripts: the folder with the page's scripts, `prepare.mjs` among them.
    """
    inputs = [runtime / "pyodide-lock.json", MEMORY_SCRIPT, scripts / "prepare.mjs"]
    parts = [path.read_bytes() for path in [*inputs, *sorted(scripts.glob("python/*.py"))]]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:8]


def write_memory(runtime: Path, scripts: Path, cache: Path) -> Path | None:
    """Have node start the assembled runtime and write its memory into `scripts`; return None where that fails.

    Pages then start from it, seconds sooner. Its name holds its key, and `cache` keeps it.
    """
    kept = cache / f"memory-{memory_key(runtime, scripts)}.bin"
    if not kept.is_file() and not _make_memory(runtime, kept):
        return None
    return Path(shutil.copy(kept, scripts))


def _make_memory(runtime: Path, target: Path) -> bool:
    node = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if node is None:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    try:
        subprocess.run(
            [node, str(MEMORY_SCRIPT), str(runtime), str(partial)],
            check=True,
            capture_output=True,
            timeout=MEMORY_TIMEOUT_S,
        )
    except (subprocess.SubprocessError, OSError):
        return False
    partial.replace(target)
    return True


def files_in(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the names and sizes of an assembled runtime's files, for a report."""
    for path in sorted(folder.iterdir()):
        yield path.name, path.stat().st_size
