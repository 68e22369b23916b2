"""The parts of the build side, each by itself."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from live_hostile import HARMLESS, HOSTILE

from live_sliders import csp, extension, fallback, plan, runtime, wheel, widgets
from live_sliders.imports import ImportWalker
from live_sliders.notebook import Cell
from live_sliders.sanitize import sanitize
from live_sliders.slicing import SliceError, slice_cells

WEB = Path(runtime.__file__).with_name("web")


def sliced(*sources: str, tags: dict[int, list[str]] | None = None) -> list[str]:
    """The sources that the last cell needs, itself included."""
    cells = [Cell(i, source, {"tags": (tags or {}).get(i, [])}) for i, source in enumerate(sources)]
    return [cell.source for cell in slice_cells(cells, [len(cells) - 1])]


def test_slicing_keeps_definitions_in_use_and_drops_the_rest() -> None:
    assert sliced("import a, b\nx = a.f()\ny = b.g()", "print(x)", "show(x)") == ["import a, b\nx = a.f()", "show(x)"]


def test_slicing_follows_functions_into_their_bodies() -> None:
    assert sliced("k = 2", "def f(n):\n    return k * n", "show(f)")[0] == "k = 2"


def test_slicing_keeps_changes_of_data() -> None:
    sources = ["rows = []", "rows.append(1)\nother = 1", "rows[0] = 2", "n = 0", "n += len(rows)", "show(n)"]
    assert sliced(*sources) == ["rows = []", "rows.append(1)", "rows[0] = 2", "n = 0", "n += len(rows)", "show(n)"]


def test_slicing_drops_output_and_keeps_settings_of_modules() -> None:
    kept = sliced("import plt", "plt.style.use('x')", "plt.plot(1)\nplt.show()", "show(plt)")
    assert kept == ["import plt", "plt.style.use('x')", "show(plt)"]


def test_slicing_forgets_what_is_overwritten() -> None:
    assert sliced("x = slow()", "x = 1", "show(x)") == ["x = 1", "show(x)"]


def test_slicing_drops_magics_and_keeps_tagged_cells_whole() -> None:
    kept = sliced("fill(table)", "%matplotlib inline\n!ls\nshow()", tags={0: ["live"]})
    assert kept == ["fill(table)", "\n\nshow()"]


def test_slicing_refuses_what_is_tagged_not_live() -> None:
    with pytest.raises(SliceError, match=r"needs 'x' from cell 1, which is tagged 'not-live'"):
        sliced("x = 1", "show(x)", tags={0: ["not-live"]})


def test_slicing_names_the_cell_that_is_not_python() -> None:
    with pytest.raises(SliceError, match="cell 1 is not Python"):
        sliced("x = = 1", "show(x)")


def test_imports_are_followed_through_own_packages(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    files = {
        "__init__.py": "from . import a\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas",
        "a.py": "import numpy\ntry:\n    import scipy\nexcept ImportError:\n    pass\ndef f():\n    import matplotlib",
        "deep/__init__.py": "",
        "deep/b.py": "from ..nn import torch",
        "nn.py": "import torch",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    walker = ImportWalker({"course": tmp_path})
    walker.visit_cell("from course import a", "cell 1")
    assert walker.found.missing(["numpy"]) == {}
    assert {"matplotlib", "scipy"} <= walker.found.lazy
    walker.visit_cell("def f():\n    from course.deep import b", "cell 2")
    chain = walker.found.missing(["numpy"])["torch"]
    assert chain == ("cell 2", "course.deep.b", "course.nn", "torch")


def test_the_wheel_is_installable_and_always_the_same(tmp_path: Path) -> None:
    project = wheel.read_project(Path(__file__).parent / "book" / "toycost")
    data = wheel.build_wheel(project)
    assert data == wheel.build_wheel(project)
    names = zipfile.ZipFile(BytesIO(data)).namelist()
    assert {"toycost/__init__.py", "toycost-0.1.0.dist-info/RECORD"} <= set(names)
    path = tmp_path / project.file_name
    path.write_bytes(data)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        tmp_path / "to",
        path,
    ]
    subprocess.run(command, check=True)
    assert (tmp_path / "to" / "toycost" / "price.py").is_file()


def test_a_folder_without_a_project_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"live_wheels names .* holds no pyproject.toml"):
        wheel.read_project(tmp_path)


def test_a_wheel_leaves_out_what_the_book_says(tmp_path: Path) -> None:
    toycost = Path(__file__).parent / "book" / "toycost"

    def left(*excludes: str) -> set[str]:
        (project,) = wheel.read_projects([toycost], excludes)
        names = zipfile.ZipFile(BytesIO(wheel.build_wheel(project))).namelist()
        return {path.name for path in project.paths() if project.place(path) not in names}

    assert left() == set()
    assert left("toycost/nn.py") == left("*/nn*") == {"nn.py"}
    assert left("*/nn.py", "*/__init__.py") == {"nn.py", "__init__.py"}
    assert left("toycost") == {"__init__.py", "nn.py", "price.py"}
    for pattern in ("toycost/nm.py", "nn.py", "toycost/nn", ""):
        with pytest.raises(ValueError, match=f"{pattern!r} matches no file or folder of 'toycost'"):
            left("toycost/price.py", pattern)


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from toycost import nn", "toycost.nn"),
        ("def f():\n    import toycost.nn.deep", "toycost.nn"),
        ("from toycost import price_per_token", None),
    ],
)
def test_a_live_cell_that_needs_what_is_left_out_fails(source: str, module: str | None) -> None:
    folder = Path(__file__).parent / "book" / "toycost" / "toycost"
    state = {"w": {"model_name": "IntSliderModel", "state": {}}}
    cell = Cell(1, source)
    page = plan.Page("page", [cell], state, [plan.View(cell, "w")])
    available = plan.Available({}, {"toycost": folder}, frozenset({folder / "nn.py"}))
    if module is None:
        assert plan.make_plan(page, available)
        return
    with pytest.raises(plan.PageError) as error:
        plan.make_plan(page, available)
    said = f"page: cell 2 needs '{module}' (cell 2 → {module}), which 'live_wheel_excludes' leaves out; "
    assert str(error.value).startswith(said)
    assert "'not-live'" in str(error.value)
    assert "torch" not in str(error.value)  # what is left out is not looked into
    tagged = Cell(1, source, {"tags": ["not-live"]})
    assert plan.make_plan(plan.Page("page", [tagged], state, [plan.View(tagged, "w")]), available) is None


def test_nbclient_is_changed_only_while_a_build_lasts() -> None:
    from nbclient.output_widget import OutputWidget

    class App:
        config = None
        heard: ClassVar[dict[str, list[Any]]] = {}

        def connect(self, event: str, callback: Any, **_: Any) -> None:
            self.heard.setdefault(event, []).append(callback)

        def add_config_value(self, *_: Any) -> None: ...

        add_post_transform = add_role = add_transform = add_config_value

    plain = OutputWidget.send
    app = App()
    extension.setup(app)
    assert OutputWidget.send is plain
    for callback in app.heard["env-before-read-docs"]:
        callback(app, None, [])
    assert OutputWidget.send is not plain
    app.heard["build-finished"][0](app, None)
    assert OutputWidget.send is plain


def build_of(data: bytes, file: str = "f", url: str = "https://x/f") -> runtime.Build:
    """An accepted build with the given content."""
    return runtime.Build(file, hashlib.sha256(data).hexdigest(), url)


def test_files_come_from_cache_then_folder_then_release(tmp_path: Path) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "folder"
    folder.mkdir()
    asked: list[str] = []
    source = runtime.Source(cache, folder, lambda url: asked.append(url) or b"same")
    builds = (build_of(b"same"),)
    assert source.get(builds)[1] == b"same"
    assert asked == ["https://x/f"]
    assert source.get(builds)[1] == b"same"  # from the cache now
    assert len(asked) == 1
    (cache / "f").unlink()
    (folder / "f").write_bytes(b"same")
    source.get(builds)
    assert len(asked) == 1


def test_a_wrong_hash_is_never_used(tmp_path: Path) -> None:
    with pytest.raises(runtime.HashMismatch, match="https://x/f has SHA-256"):
        runtime.Source(tmp_path, None, lambda url: b"other").get((build_of(b"same"),))
    assert not list(tmp_path.iterdir())
    (tmp_path / "f").write_bytes(b"other")
    with pytest.raises(runtime.HashMismatch, match=str(tmp_path)):
        runtime.Source(tmp_path, None, None).get((build_of(b"same"),))


def test_a_release_out_of_reach_is_missing_not_wrong(tmp_path: Path) -> None:
    def offline(url: str) -> bytes:
        raise OSError("no route")

    with pytest.raises(runtime.RuntimeMissing, match=r"https://x/f: no route"):
        runtime.Source(tmp_path, None, offline).get((build_of(b"same"),))


def test_the_lock_can_be_had_from_public_releases_alone() -> None:
    lock = runtime.read_lock()
    assert all(build.url.startswith("https://") and len(build.sha256) == 64 for build in lock.core)
    assert all(any(build.url.startswith("https://") for build in package.builds) for package in lock.packages)
    names = {package.name for package in lock.packages}
    assert all(set(package.depends) <= names for package in lock.packages)


@pytest.mark.parametrize(("node", "made"), [("cat $1 > $3", True), ("exit 1", False), (None, False)])
def test_a_memory_is_made_where_node_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str | None, made: bool
) -> None:
    for folder in ("bin", "runtime", "scripts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "runtime" / "pyodide-lock.json").write_text("{}")
    (tmp_path / "scripts" / "prepare.mjs").write_text("// one")
    if node:
        (tmp_path / "bin" / "node").write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\n{node}\n")
        (tmp_path / "bin" / "node").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "/usr/local/none" if node is None else "/bin")

    def write() -> Path | None:
        return runtime.write_memory(tmp_path / "runtime", tmp_path / "scripts", tmp_path / "cache")

    first = write()
    assert (first is not None) is made
    if first:
        assert first.read_bytes() == runtime.MEMORY_SCRIPT.read_bytes()
        assert write() == first  # kept
        assert (tmp_path / "runs").read_text() == "run\n"
        (tmp_path / "scripts" / "prepare.mjs").write_text("// another")
        assert write() not in (None, first)


def test_policy_admits_the_themes_scripts_and_no_outputs() -> None:
    html = (
        '<html><head><meta charset="utf-8"><script>theme()</script></head><body><button onclick="go()">x</button>'
        '<div class="cell_output"><div><script>evil()</script></div></div><script>foot()</script></body></html>'
    )
    protected = csp.with_policy(html)
    assert protected == csp.with_policy(protected)
    policy = csp.policy(html)
    for text, admitted in {"theme()": True, "foot()": True, "go()": True, "evil()": False}.items():
        assert (csp._hash(text) in policy) is admitted
    assert protected.index("Content-Security-Policy") < protected.index("<script>")


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("<b>2</b><script>x</script>", "<b>2</b>"),
        ("<a href='java\tscript:x'>t</a>", "<a>t</a>"),
        ("<a href='#part'>t</a>", '<a href="#part">t</a>'),
        ("<p style='color: red; background: url(x)'>t", '<p style="color:red">t</p>'),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
    ],
)
def test_the_static_views_html_is_cleaned(html: str, clean: str) -> None:
    assert sanitize(html) == clean


@pytest.mark.parametrize("html", HOSTILE | HARMLESS)
def test_cleaning_twice_changes_nothing(html: str) -> None:
    assert sanitize(sanitize(html)) == sanitize(html)


@pytest.mark.parametrize("html", HOSTILE)
def test_styles_neither_load_nor_refer(html: str) -> None:
    assert not re.search(r'style="[^"]*(url|var|expression|position|\\)', sanitize(html))


def test_the_pages_sanitizer_is_the_released_file() -> None:
    folder = WEB / "vendor" / "dompurify"
    source = json.loads((folder / "SOURCE.json").read_text())
    text = (folder / source["file"]).read_bytes()
    assert hashlib.sha256(text).hexdigest() == source["sha256"]
    assert f"DOMPurify {source['version']} ".encode() in text.splitlines()[0]
    assert "Apache License" in (folder / "LICENSE").read_text()


def test_the_static_view_tells_values_and_shows_outputs() -> None:
    state = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_s", "IPY_MODEL_o"]}},
        "s": {
            "model_name": "DropdownModel",
            "state": {"description": "<kind>", "_options_labels": ["a", "b"], "index": 1},
        },
        "o": {
            "model_name": "OutputModel",
            "state": {"outputs": [{"output_type": "display_data", "data": {"image/png": "AA=="}}]},
        },
    }
    html = fallback.static_view(state, "box", 'a "figure"')
    assert "&lt;kind&gt;: <b>b</b>" in html
    assert '<img src="data:image/png;base64,AA==" alt="a &quot;figure&quot;">' in html
    assert widgets.has_figure(state, "box")
    assert widgets.unsupported({"x": {"model_name": "PlayModel", "state": {}}}, "x") == ["Play"]


def test_hastened_figures_are_the_same_to_the_pixel() -> None:
    script = Path(__file__).with_name("live_figures.py")
    done = subprocess.run([sys.executable, script, WEB / "python"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
