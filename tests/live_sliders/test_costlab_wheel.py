"""The wheel of costlab that the book's pages load."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from live_book import REPOSITORY

from live_sliders import wheel

MOST_BYTES = 900_000  # a thirtieth of the Python that it comes with
# Imports every module, as in a browser: without torch, and with a NumPy that came without its typing.
IMPORT_ALL = """
import importlib, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
sys.modules |= {"torch": None, "numpy.typing": None}
names = [".".join(path.relative_to(folder).with_suffix("").parts) for path in sorted(folder.rglob("*.py"))]
for name in names:
    module = importlib.import_module(name.removesuffix(".__init__"))
    assert pathlib.Path(module.__file__).is_relative_to(folder), module
print(len(names))
"""


@pytest.fixture(scope="module")
def archive() -> bytes:
    """The wheel, with what the book's configuration leaves out."""
    options = yaml.safe_load((REPOSITORY / "_config.yml").read_text())["sphinx"]["config"]
    folders = [REPOSITORY / folder for folder in options["live_wheels"]]
    (project,) = wheel.read_projects(folders, options["live_wheel_excludes"])
    return wheel.build_wheel(project)


def test_it_is_small_and_carries_neither_torch_code_nor_weights(archive: bytes) -> None:
    assert len(archive) < MOST_BYTES
    names = zipfile.ZipFile(BytesIO(archive)).namelist()
    assert "costlab/catalog/__init__.py" in names
    assert not [name for name in names if name.startswith("costlab/nn/")]


def test_each_module_imports_where_there_is_no_torch(archive: bytes, tmp_path: Path) -> None:
    zipfile.ZipFile(BytesIO(archive)).extractall(tmp_path)
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, tmp_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
