"""House rules: NumPy is enough, floors import downwards, what is public is documented, no machine's paths."""

import ast
import doctest
import importlib.util
import json
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
    done = python(block, *LIGHT)
    assert done.returncode == 0, done.stderr
    done = python(block, "numpy.typing")
    assert done.returncode != 0
    assert "numpy.typing" in done.stderr


# --- floors ----------------------------------------------------------------------------------------------------

FLOORS = [
    {"catalog", "checks", "text", "arrays", "lab"},
    {"arch"},
    {"roofline", "traces", "sweep"},  # what hardware does in a second, what traffic looks like, many runs
    {"moe", "attention", "hybrid", "cache", "speculative", "chips", "nn"},  # the levers
    {"prices", "serving"},
    {"claims", "levers", "limits", "prompts"},
    {"cli", "explore"},
]
LEVERS = FLOORS[3] - {"nn"}  # nn runs what the levers compute, and may use them; torch keeps them from using it
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


def circles(graph):
    """Groups of modules of which each reaches all others: Tarjan's strongly connected components of two and more."""
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph.get(name, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            found.extend([set(group)] if len(group) > 1 else [])

    for name in graph:
        if name not in index:
            visit(name)
    return found


def imported_modules(name):
    """The modules that a module names in its imports; `from costlab.cache import tiers` names the module tiers."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "costlab":
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (each if each in MODULES else node.module for each in full)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def test_no_modules_import_one_another_in_a_circle():
    graph = {name: set(imported_modules(name)) - {name, "costlab"} for name in MODULES}
    assert sum(map(len, graph.values())) > 200
    assert circles(graph) == []
    assert circles({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []}) == [{"b", "c"}]
    assert circles({"a": ["b", "c"], "b": [], "c": ["a"]}) == [{"a", "c"}]


@pytest.mark.parametrize("name", list(MODULES))
def test_no_module_imports_a_private_name(name):
    """What another module needs is public there, and documented."""
    found = (
        node for node in ast.walk(tree(name)) if isinstance(node, ast.ImportFrom) and "costlab" in str(node.module)
    )
    private = [alias.name for node in found for alias in node.names if re.match("_[a-z]", alias.name)]
    assert not private, f"{name} imports {private}"


@pytest.mark.parametrize("text", [ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text())), "README.md"])
def test_the_map_shows_the_rooms_on_their_floors(text):
    """README's map of the code and the package's own name each room once, higher floors first."""
    text = (ROOT / text).read_text() if text == "README.md" else text
    lines = [line.strip() for line in text.splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith("cli  explore"))
    last = next(i for i, line in enumerate(lines) if line.startswith("catalog  "))
    rows = [set(re.split(r"\s{3,}", line)[0].split()) for line in lines[first : last + 1]]
    rooms = {room_of(name) for name in MODULES} - {""}
    assert sorted(room for row in rows for room in row) == sorted(rooms)
    floors = [{FLOOR[room] for room in row} for row in rows]
    assert all(len(floor) == 1 for floor in floors)
    assert sorted(floors, key=max, reverse=True) == floors


def test_imports_are_seen():
    """The walk above finds what there is to find."""
    assert set(imported("costlab.arch.model")) >= {"costlab.catalog", "costlab.arch.attention"}
    assert {room_of(n) for n in imported("costlab.cli.cache")} >= {"cache", "catalog", "traces"}


# --- documentation ---------------------------------------------------------------------------------------------


def public(body, prefix=""):
    """(name, node) of public functions, methods and classes."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("name", list(MODULES))
def test_everything_public_is_documented(name):
    """A docstring on each module, class, function, method and property."""
    assert ast.get_docstring(tree(name)), f"{name} has no docstring"
    for path, node in public(tree(name).body):
        assert ast.get_docstring(node), f"{name}.{path} has no docstring"


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if ">>> " in path.read_text()])
def test_examples_in_docstrings_give_what_they_say(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


def chapters():
    """The chapter that each module names; its package's chapter is that of the modules that name none."""
    found = {name: CHAPTER.findall(MODULES[name].read_text()) for name in MODULES}
    assert all(len(slugs) < 2 for slugs in found.values()), "once per module"
    return {name: slugs[0] for name, slugs in found.items() if slugs}


def shown(slug):
    """The words in a chapter's code, and in its prose between backticks."""
    cells = json.loads((ROOT / "book" / f"{slug}.ipynb").read_text())["cells"]
    sources = {kind: "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == kind) for kind in KINDS}
    return set(re.findall(r"\w+", " ".join([sources["code"], *re.findall("`([^`]+)`", sources["markdown"])])))


KINDS = ("code", "markdown")


@pytest.mark.parametrize(("name", "slug"), list(chapters().items()))
def test_the_chapter_that_a_module_names_shows_it(name, slug):
    """Something public that the module defines, or a package exports, stands in that chapter."""
    assert f"book/{slug}" in (ROOT / "_toc.yml").read_text()
    body = tree(name).body
    defined = {path for path, _ in public(body)} | {name.rpartition(".")[2]}
    defined |= {alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert defined & shown(slug), f"{name} names {slug}, which shows nothing of it"


def test_each_lever_and_floor_names_its_chapter():
    named = chapters()
    rooms = {room_of(name) for name in named}
    assert {"arch", "attention", "cache", "catalog", "claims", "hybrid", "moe", "prices", "roofline", "traces"} <= rooms
    assert {"prices", "roofline", "moe", "attention", "hybrid", "cache"} <= set(named.values())


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

#: Names that two packages define on purpose, because they are the same thing twice. NumPy and torch:
NUMBERS_AND_MODULES = {
    "attend": {"costlab.attention", "costlab.nn.attention"},
    "rotate": {"costlab.attention", "costlab.nn.attention"},
    "SCORES": {"costlab.moe", "costlab.nn.moe"},
    "limit_groups": {"costlab.moe", "costlab.nn.moe"},
    "load_entropy": {"costlab.moe", "costlab.nn.experiments"},  # measured; watched in training
    "switch_loss": {"costlab.moe", "costlab.nn.experiments"},  # computed; trained on
    "top_k": {"costlab.attention", "costlab.moe", "costlab.nn.moe"},  # best first, the lower index first in a tie
    "KINDS": {"costlab.arch.attention", "costlab.levers"},  # of attention; of tokens
    "token_costs": {"costlab.levers", "costlab.explore"},  # computed; drawn
    "main": {"costlab.cli", "costlab.lab"},  # what a shell calls
    "softmax": {"costlab.attention", "costlab.moe"},  # both NumPy: levers do not import one another
}
#: The dimensions of an attention kind, which are counted, and its layer, which runs.
KINDS_OF_ATTENTION = ("CSA", "DSA", "GatedDelta", "HCA", "MLA", "SharedWindow")
COUNTED_AND_RUN = {name: {"costlab.arch.attention", "costlab.nn.attention"} for name in KINDS_OF_ATTENTION}
TWINS = NUMBERS_AND_MODULES | COUNTED_AND_RUN


def defined(name):
    """Public names that a module defines: functions, classes and constants, but no type variables."""
    for node in tree(name).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value and "TypeVar(" not in ast.unparse(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


def package_of(name):
    """The package that a module lies in; a room of one file is its own."""
    parent = name.rpartition(".")[0]
    return name if parent in ("", "costlab") or MODULES[name].name == "__init__.py" else parent


def test_no_name_means_two_things_in_two_packages():
    packages = {}
    for name in MODULES:
        for each in defined(name):
            if not each.startswith("_"):
                packages.setdefault(each, set()).add(package_of(name))
    assert len(packages) > 500
    assert {each: found for each, found in packages.items() if len(found) > 1} == TWINS


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


@pytest.mark.parametrize("package", ["costlab.serving", "costlab.serving.plan", "costlab.nn.serving"])
def test_a_package_of_many_modules_says_what_they_do(package):
    """Its docstring is the only map that a newcomer has: each module stands there, and none that is gone."""
    story = ast.get_docstring(tree(package)).split(">>>")[0]
    named = set(re.findall(r"`(\w+)`", story))
    assert submodules(package) <= named
    gone = named - submodules(package) - set(bound(package, tree(package).body))
    assert not gone, f"{package} tells of {gone}"


def test_hidden_modules_can_be_seen():
    assert {"tiers", "sim", "store"} <= submodules("costlab.cache")
    code = "from a.run import run\nfrom a import store, b as plan\nimport sweeps.x\ndef look(): pass\npools: int = 1"
    assert set(bound("a", ast.parse(code).body)) == {"run", "plan", "sweeps", "look", "pools"}


# --- fields ----------------------------------------------------------------------------------------------------


def records():
    """(module, class) of every public dataclass and named tuple that has public fields of its own."""
    for name in MODULES:
        for path, node in public(tree(name).body):
            if isinstance(node, ast.ClassDef) and is_record(node) and fields(node):
                yield pytest.param(name, node, id=f"{name}.{path}")


def is_record(node):
    return any("dataclass" in ast.unparse(d) for d in node.decorator_list) or "NamedTuple" in map(
        ast.unparse, node.bases
    )


def fields(node):
    """A class's own public fields, by name."""
    own = (each for each in node.body if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each))
    return {each.target.id: each for each in own if not each.target.id.startswith("_")}


def unsaid(node, lines):
    """Fields that have neither a comment behind them nor one directly above."""
    return [
        name
        for name, field in fields(node).items()
        if "  # " not in lines[field.end_lineno - 1] and not lines[field.lineno - 2].strip().startswith("# ")
    ]


@pytest.mark.parametrize(("name", "node"), list(records()))
def test_each_field_has_its_line(name, node):
    """Meaning and unit beside each field, or the class says whose fields its own are."""
    missing = unsaid(node, MODULES[name].read_text().splitlines())
    if same := re.search(r"fields are those of `(\w+)`", ast.get_docstring(node)):
        others = [fields(param.values[1]) for param in records() if param.values[1].name == same[1]]
        assert missing and set(missing) <= others[0].keys()
    else:
        assert not missing, f"{node.name} says nothing of {missing}"


def test_an_unsaid_field_can_be_seen():
    text = "class A(NamedTuple):\n    a: int\n    b: int  # tokens\n    # bytes\n    c: int\n    d: int\n    _e: int"
    assert unsaid(ast.parse(text).body[0], text.splitlines()) == ["a", "d"]


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
