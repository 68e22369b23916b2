"""A cell's source as plain Python.

IPython's own transformer reads the dialect of notebooks: `%magic`, `!shell`, `help?`. What it makes of them are
calls of `get_ipython()`, which a browser does not have. A magic that runs Python, such as `%time`, is replaced by
what it runs; one that only shows something is left out; and where a name is bound to the result of one, as in
`files = !ls`, the statement stays as it is, for `foreign` to recognise.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager

METHODS = ("run_line_magic", "run_cell_magic", "system", "getoutput")
RUNS_ITS_LINE = ("time", "prun")
RUNS_ITS_BODY = ("time", "prun", "capture")
OPTIONS = re.compile(r"^(\s*(-[lsTD]\s+\S+|-[rq]\b|--no-raise-error))*\s*")  # of %prun and %time
RESULT_OPTION = re.compile(r"--(?:out|err|proc)[ =]([A-Za-z_]\w*)")  # %%bash --out files
COMMAND_LINE = re.compile(r"[a-z_]\w*(\s+[-\w./~].*)?")  # `ls -l`: IPython takes it for %ls -l
Edit = tuple[int, int, str]  # from byte, to byte, what stands there instead


@lru_cache(maxsize=1024)
def plain_python(source: str) -> str:
    """Return a cell's source as Python, each statement in its line.

    Raises SyntaxError where it is neither Python nor IPython's dialect of it.
    """
    text = ipython_python(source)
    if text == source and "get_ipython" not in text:
        return text
    return _edited(text, _replacements(text))


def ipython_python(source: str) -> str:
    """Return what IPython makes of a cell's source: Python, with calls of `get_ipython()` for its dialect."""
    text = source.replace("\r\n", "\n").rstrip("\n")
    if COMMAND_LINE.fullmatch(text.strip()) and not _is_python(text):
        text = f"%{text.strip()}"
    blank = len(text) - len(text.lstrip("\n"))  # which IPython drops
    python: str = TransformerManager().transform_cell(text)  # type: ignore[no-untyped-call]
    return "\n" * blank + python.rstrip("\n")


def magics(source: str) -> list[str]:
    """Return the parts of a cell that only IPython understands, as their author wrote them."""
    try:
        tree = ast.parse(ipython_python(source))
    except SyntaxError:
        return []
    return [_written(part) for part in ast.walk(tree) if _is_magic(part)]


def foreign(node: ast.AST) -> str:
    """Return the part of a statement of plain Python that only IPython can run, as its author wrote it; or ""."""
    return next((_written(part) for part in ast.walk(node) if _is_magic(part)), "")


def without(text: str, statements: Iterable[ast.stmt]) -> str:
    """Return plain Python without some of its top-level statements, the others in their lines."""
    return _edited(text, [(*_span(text, node), "") for node in statements])


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _is_magic(node: ast.AST) -> bool:
    """Return whether a node is `get_ipython().run_line_magic(…)` or another such call."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"), args=[]), attr=method)):
            return method in METHODS
    return False


def _parts(node: ast.AST) -> tuple[str, list[str]]:
    """Return a magic call's method and its texts."""
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    texts = [str(each.value) if isinstance(each, ast.Constant) else ast.unparse(each) for each in node.args]
    return node.func.attr, [*texts, "", "", ""]


def _written(node: ast.AST) -> str:
    method, (first, second, *_) = _parts(node)
    if method in ("system", "getoutput"):
        return f"!{first}"
    return f"{'%' if method == 'run_line_magic' else '%%'}{first} {second.strip()}".rstrip()


def _replacements(text: str) -> Iterator[Edit]:
    """Yield what to put in the place of magic calls that are not foreign."""
    tree = ast.parse(text)
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not _is_magic(node):
            continue
        code = _what_runs(node)
        if id(node) in statements:
            start, end = _span(text, node)
            assert isinstance(node, ast.Call)
            yield start, end, code or ("pass" if node.col_offset else "")
        elif code and _is_expression(code):
            yield *_span(text, node), f"({code})"


def _what_runs(node: ast.AST) -> str:
    """Return the Python that a magic runs among the notebook's names, empty where it runs none."""
    method, (name, line, body, *_) = _parts(node)
    if method == "run_line_magic" and name in RUNS_ITS_LINE:
        return plain_python(OPTIONS.sub("", line))
    if method != "run_cell_magic":
        return ""
    code = "\n" + plain_python(body) if name in RUNS_ITS_BODY else ""
    results = (
        [word for word in line.split() if word.isidentifier()] if name == "capture" else RESULT_OPTION.findall(line)
    )
    call = f"get_ipython().run_cell_magic({name!r}, {line!r}, '')"
    return "; ".join(f"{result} = {call}" for result in results) + code


def _is_expression(code: str) -> bool:
    try:
        ast.parse(code.strip(), mode="eval")
    except SyntaxError:
        return False
    return True


def _span(text: str, node: ast.AST) -> tuple[int, int]:
    """Return the bytes of `text` that a node takes."""
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None and node.end_col_offset is not None
    starts = [0]
    for line in text.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def _edited(text: str, edits: Iterable[Edit]) -> str:
    data = text.encode()
    for start, end, code in sorted(edits, reverse=True):
        data = data[:start] + code.encode() + data[end:]
    return data.decode()
