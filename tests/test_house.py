"""House rules: NumPy is enough, floors import downwards, what is public names its chapter, no machine's paths."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "costlab"
CHAPTER = re.compile(r"\bChapter: ([a-z-]+)")


def name_of(path):
    """The dotted name of a module's file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def tree(name):
    return ast.parse(MODULES[name].read_text())


# --- torch only in nn ------------------------------------------------------------------------------------------

LIGHT = [name for name in MODULES if not name.startswith("costlab.nn")]
IMPORT_ALL = """
import sys
sys.modules["torch"] = None  # any import of it raises
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
heavy = {"torch", "transformers", "pandas", "scipy"} & {n.split(".")[0] for n, m in sys.modules.items() if m}
assert not heavy, heavy
"""


def python(code, *names):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    return subprocess.run([sys.executable, "-c", code, *names], env=env, capture_output=True, text=True, timeout=600)


def test_all_but_nn_imports_without_torch():
    assert "costlab" in LIGHT
    assert "costlab.explore.prices" in LIGHT
    done = python(IMPORT_ALL, *LIGHT)
    assert done.returncode == 0, done.stderr


def test_the_block_blocks():
    """The test above can fail: a module of nn does not get past it."""
    blocked = [n for n in MODULES if n.startswith("costlab.nn.")]
    if not blocked:
        pytest.skip("no costlab.nn")
    done = python(IMPORT_ALL, "costlab.nn.attention")
    assert done.returncode != 0
    assert "torch" in done.stderr


def test_below_explore_numpy_is_all():
    """Catalog, arch, roofline, prices and the command line run where matplotlib is missing too."""
    code = IMPORT_ALL.replace('"transformers"', '"transformers", "matplotlib", "ipywidgets"')
    done = python(code, *(n for n in LIGHT if not n.startswith("costlab.explore")))
    assert done.returncode == 0, done.stderr


def test_nobody_needs_numpys_types_at_run_time():
    """The NumPy that a browser loads may come without `numpy.typing`; `costlab.arrays` names the types."""
    block = IMPORT_ALL.replace("import importlib", 'sys.modules["numpy.typing"] = None\nimport importlib')
    done = python(block, *LIGHT, "costlab.nn.reference")
    assert done.returncode == 0, done.stderr
    done = python(block, "numpy.typing")
    assert done.returncode != 0
    assert "numpy.typing" in done.stderr


# --- floors ----------------------------------------------------------------------------------------------------

FLOORS = [
    {"catalog", "arrays", "checks"},
    {"arch"},
    {"roofline", "sweep"},  # what hardware does in a second; many runs on many cores
    {"moe", "hybrid", "cache", "speculative", "serving", "chips", "nn"},  # the levers
    {"prices", "claims"},
    {"cli", "explore"},
]
LEVERS = FLOORS[3]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(name):
    """catalog for costlab.catalog.decoding; "" for costlab itself."""
    return [*name.split("."), ""][1]


def imported(name):
    """Dotted names of the costlab modules that a module imports, wherever in its code."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "costlab")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            if base == "costlab":
                yield from (f"costlab.{alias.name}" for alias in node.names)
            elif base.startswith("costlab."):
                yield base


def test_every_room_has_a_floor():
    rooms = {room_of(name) for name in MODULES} - {""}
    assert {"catalog", "arch", "roofline", "prices", "cli", "explore"} <= rooms <= FLOOR.keys()


@pytest.mark.parametrize("name", list(MODULES))
def test_no_module_imports_from_above(name):
    own = room_of(name)
    for other in imported(name):
        room = room_of(other)
        if room in ("__version__", own):
            continue
        assert own, f"{name} is the ground: it imports no room, but {other}"
        assert FLOOR[room] <= FLOOR[own], f"{name} imports {other} from a floor above"
        assert not {own, room} <= LEVERS, f"{name} imports {other}: levers do not import one another"


def test_imports_are_seen():
    """The walk above finds what there is to find."""
    assert set(imported("costlab.arch.model")) >= {"costlab.catalog", "costlab.arch.attention"}
    assert {room_of(n) for n in imported("costlab.cli")} >= {"arch", "catalog", "prices", "roofline"}


# --- documentation ---------------------------------------------------------------------------------------------


def is_property(node):
    return any(ast.unparse(d).split(".")[-1] in ("property", "cached_property") for d in node.decorator_list)


def public(body, prefix="", of=""):
    """(name, node, chapter's text) of public functions, methods and classes; a method may lean on its class's."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            doc = ast.get_docstring(node) or ""
            yield prefix + node.name, node, doc + of
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.", doc)


@pytest.mark.parametrize("name", list(MODULES))
def test_everything_public_is_documented(name):
    """A docstring on each module, class, function, method and property; functions and methods name their chapter.

    A method may leave that to its class; properties read as fields, which their class describes.
    """
    assert ast.get_docstring(tree(name)) or not tree(name).body, f"{name} has no docstring"
    for path, node, text in public(tree(name).body):
        assert ast.get_docstring(node), f"{name}.{path} has no docstring"
        if not isinstance(node, ast.ClassDef) and not is_property(node):
            assert CHAPTER.search(text), f"{name}.{path} names no chapter"


def chapters():
    found = {}
    for name in MODULES:
        for slug in CHAPTER.findall(MODULES[name].read_text()):
            found.setdefault(slug, name)
    return found


@pytest.mark.parametrize(("slug", "name"), list(chapters().items()))
def test_every_named_chapter_exists(slug, name):
    assert (ROOT / "book" / f"{slug}.ipynb").is_file(), f"{name} points to book/{slug}.ipynb"
    assert f"book/{slug}" in (ROOT / "_toc.yml").read_text()


def test_chapters_are_named():
    assert {"prices", "roofline", "attention"} <= chapters().keys()


@pytest.mark.parametrize("name", [n for n in MODULES if n.count(".") == 1 or n.startswith("costlab.catalog")])
def test_what_a_room_exports_exists(name):
    """`__all__` is sorted, without doubles, and holds every name that it promises."""
    if name.startswith("costlab.nn"):
        return
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(set(exported)) == len(exported)
    assert all(hasattr(module, each) for each in exported)


# --- one name, one thing ---------------------------------------------------------------------------------------


def submodules(package):
    """Names of the modules and packages that lie in a package."""
    return {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == package}


def bound(package, body):
    """Names that a package's own code binds to something else than its submodules."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            same = {alias.name for alias in node.names if node.module == package and alias.asname in (None, alias.name)}
            yield from {alias.asname or alias.name for alias in node.names} - same
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        else:
            yield from (each.id for each in ast.walk(node) if isinstance(each, ast.Name) and not is_read(each))


def is_read(name):
    return isinstance(name.ctx, ast.Load)


@pytest.mark.parametrize("package", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_no_package_hides_its_own_modules(package):
    """Else `import costlab.cache.run as m` gives a function."""
    hidden = submodules(package) & set(bound(package, tree(package).body))
    assert not hidden, f"{package} binds {hidden} to something else than its modules of that name"


def test_hidden_modules_can_be_seen():
    assert {"run", "plan", "store"} <= submodules("costlab.cache")
    code = "from a.run import run\nfrom a import store, b as plan\nimport pools.x\ndef look(): pass\nlines: int = 1"
    assert set(bound("a", ast.parse(code).body)) == {"run", "plan", "pools", "look", "lines"}


# --- no machine's own paths ------------------------------------------------------------------------------------

# Folders where somebody's checkout or home lies. Addresses on the web and relative paths have a character before.
MACHINE_PATH = re.compile(r"(?<![\w.~/:-])/(?:home|root|Users|work|workspace|mnt|media|builds|scratch)/[\w.~-]")
WINDOWS_PATH = re.compile(r"\b[A-Z]:\\+Users\\")
TEXT = {
    ".py",
    ".toml",
    ".md",
    ".ipynb",
    ".yml",
    ".yaml",
    ".txt",
    ".cfg",
    ".css",
    ".js",
    ".html",
    ".svg",
    ".bib",
    ".json",
}


def project_files():
    """Files that are, or would be, part of the project: tracked, and new ones that git does not ignore."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def test_no_text_names_a_machines_path():
    files = [p for p in project_files() if p.suffix in TEXT or p.name in ("Makefile", "run", ".gitignore")]
    assert len(files) > 30
    own = {str(ROOT), str(Path.home())} - {"/", ""}
    for path in files:
        text = path.read_text(encoding="utf-8")
        for pattern in (MACHINE_PATH, WINDOWS_PATH):
            found = pattern.search(text)
            assert not found, f"{path.relative_to(ROOT)}: {text[max(0, found.start() - 40) : found.end() + 40]!r}"
        for folder in own:
            named = re.search(rf"(?<![\w./-]){re.escape(folder)}(?![\w.-])", text)
            assert not named, f"{path.relative_to(ROOT)} names {folder}"


def test_machine_paths_can_be_seen():
    slash = "/"
    assert MACHINE_PATH.search(f"open('{slash}home{slash}ann{slash}x')")
    assert MACHINE_PATH.search(f'"{slash}root{slash}x"')
    assert not MACHINE_PATH.search("https://example.org/home/x")
    assert not MACHINE_PATH.search("book/work/x and ./root")
