"""The course's package as a wheel, made by writing a zip: no build backend, no network, the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

EPOCH = (1980, 1, 1, 0, 0, 0)  # one date for all files, so that equal sources give equal wheels
SKIPPED_PARTS = {"__pycache__", ".mypy_cache", ".ipynb_checkpoints"}


@dataclass(frozen=True)
class Project:
    """A pure Python project: a folder with `pyproject.toml` and one package named like it."""

    name: str
    version: str
    package: Path
    excludes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The wheel's file name."""
        return f"{self.name}-{self.version}-py3-none-any.whl"

    def files(self) -> list[Path]:
        """Return the files that the wheel carries, in a fixed order."""
        return [path for path in self.paths() if not self._is_excluded(path)]

    def left_out(self) -> list[Path]:
        """Return the package's files that the wheel does not carry."""
        return [path for path in self.paths() if self._is_excluded(path)]

    def paths(self) -> list[Path]:
        """Return all files of the package."""
        paths = sorted(path for path in self.package.rglob("*") if path.is_file())
        return [path for path in paths if not SKIPPED_PARTS & set(path.parts)]

    def place(self, path: Path) -> str:
        """Return a file's place in the wheel, such as `package/part/module.py`."""
        return path.relative_to(self.package.parent).as_posix()

    def _is_excluded(self, path: Path) -> bool:
        return any(_matches(self.place(path), pattern) for pattern in self.excludes)


def _matches(name: str, pattern: str) -> bool:
    """Return whether a pattern matches a file or a folder that it lies in."""
    path = PurePosixPath(name)
    return any(fnmatchcase(each.as_posix(), pattern) for each in (path, *path.parents[:-1]))


def read_projects(folders: Iterable[Path], excludes: Sequence[str] = ()) -> list[Project]:
    """Read the projects in `folders`, whose wheels leave out the files and folders that `excludes` match.

    Raises ValueError for a pattern that matches nothing in any of them.
    """
    projects = [replace(read_project(folder), excludes=tuple(excludes)) for folder in folders]
    names = [project.place(path) for project in projects for path in project.paths()]
    for pattern in excludes:
        if not any(_matches(name, pattern) for name in names):
            packages = ", ".join(repr(project.name) for project in projects) or "no package"
            raise ValueError(
                f"live_wheel_excludes: {pattern!r} matches no file or folder of {packages}; "
                "a pattern is written from the package on, as 'package/part' or '*/weights'"
            )
    return projects


def read_project(folder: Path) -> Project:
    """Read name, version and package folder of the project in `folder`."""
    path = folder / "pyproject.toml"
    if not path.is_file():
        raise FileNotFoundError(f"live_wheels names {str(folder)!r}, but it holds no pyproject.toml")
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    if not {"name", "version"} <= table.keys():
        raise ValueError(f"{path}: [project] needs a name and a version written out")
    name = table["name"].replace("-", "_")
    return Project(name, table["version"], _package_folder(folder, name))


def _package_folder(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / "src" / name):
        if (candidate / "__init__.py").is_file():
            return candidate
    raise FileNotFoundError(f"no package {name!r} in {str(folder)!r} nor in its src folder")


def build_wheel(project: Project) -> bytes:
    """Return the wheel's bytes."""
    return pack(project.name, project.version, {project.place(path): path.read_bytes() for path in project.files()})


def pack(name: str, version: str, files: dict[str, bytes]) -> bytes:
    """Return a wheel of some files by their places in it, such as `package/module.py`."""
    import io

    info = f"{name}-{version}.dist-info"
    contents = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()}
    contents[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: live_sliders\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    contents[f"{info}/RECORD"] = _record(contents, f"{info}/RECORD")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for place, data in contents.items():
            archive.writestr(zipfile.ZipInfo(place, EPOCH), data, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _record(contents: dict[str, bytes], own_name: str) -> bytes:
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in contents.items()]
    return ("\n".join([*rows, f"{own_name},,"]) + "\n").encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
