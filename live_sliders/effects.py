"""What a notebook's statements define, use and change.

Names that may share their data are followed: after `row = rows[0]` a change of `row` is one of `rows`, and the other
way round; after `part = pick(rows)` a change of `part` may be one of `rows`. A call of the notebook's own function
changes what its body changes. Where Python alone cannot tell, a statement is said to change too much, not too little.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

# Calls on an imported module that change how later code computes or draws; all others are taken for output.
SETTING_CALLS = frozenset(
    """
    use rc rcdefaults set_printoptions seterr simplefilter filterwarnings set_matplotlib_formats
    """.split()  # noqa: SIM905
)
# Methods that change their object in Python's own types, in NumPy's arrays and in widgets.
CHANGING = frozenset(
    """
    add append appendleft clear difference_update discard extend extendleft fill insert intersection_update pop popleft
    popitem remove resize reverse rotate setdefault setflags sort subtract symmetric_difference_update update
    """.split()  # noqa: SIM905
)
# Methods that change nothing in any of them.
PURE = frozenset(
    """
    all any astype copy count endswith flatten format head index isdigit item items join keys lower lstrip max mean min
    most_common reshape round rstrip split splitlines startswith std strip sum tail title tobytes tolist upper values
    """.split()  # noqa: SIM905
)
KEEPING = frozenset({"add", "append", "appendleft", "extend", "insert", "setdefault", "update"})  # keep their argument
# Functions that show or store their arguments.
SHOWING = frozenset({"display", "dump", "glue", "pprint", "print", "save", "savefig", "savetxt", "savez", "show"})
CHANGING_BUILTINS = frozenset({"delattr", "eval", "exec", "next", "setattr"})
QUIET = frozenset({"IPython", "matplotlib", "myst_nb", "pylab"})  # packages that change no argument
CHANCE = frozenset({"random", "numpy.random"})  # modules that draw from one hidden state
OWN_CHANCE = frozenset({"Generator", "Random", "RandomState", "SeedSequence", "SystemRandom", "default_rng"})
CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
ANY = "*"  # what a star import defines


def scope(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """Return the notebook's names that a statement binds, and those that it reads, in function bodies too."""
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return frozenset(), frozenset()
    if isinstance(node, ast.ImportFrom) and node.names[0].name == ANY:
        return frozenset({ANY}), frozenset()
    top = symtable.symtable(ast.unparse(node), "<cell>", "exec")
    symbols = top.get_symbols()
    bound = {each.get_name() for each in symbols if each.is_assigned() or each.is_imported()}
    read = {each.get_name() for each in symbols if each.is_referenced()}
    for scope in _inner(top):
        globals_ = {each for each in scope.get_symbols() if each.is_global()}
        read |= {each.get_name() for each in globals_ if each.is_referenced()}
    if isinstance(node, CODE) and not node.decorator_list:
        read.discard(node.name)  # recursion
    return frozenset(bound), frozenset(read | _incremented(node))


def _inner(scope: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in scope.get_children():
        yield child
        yield from _inner(child)


def _incremented(node: ast.AST) -> set[str]:
    """Return the names that a statement makes of their old values: `x += 1` reads x too."""
    steps = (part.target for part in ast.walk(node) if isinstance(part, ast.AugAssign))
    return {target.id for target in steps if isinstance(target, ast.Name)}


# -- names: what they are bound to, and whose data they share ---------------------------------------------------


@dataclass
class Names:
    """What is known of a notebook's names after the statements read so far.

    kinds: `module`, `imported`, `quiet` (imported from a package that changes no argument), `code`, `constant`,
    `drawing` (made by a quiet package) or `data`.
    modules: the full name of what an import bound. shared: names with the same data. parts: names whose data may be
    in a name's. changed: what calling the notebook's own code changes. mentions: the names in that code.
    filling: the notebook's functions that change an argument.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    shared: dict[str, set[str]] = field(default_factory=dict)
    parts: dict[str, set[str]] = field(default_factory=dict)
    changed: dict[str, frozenset[str]] = field(default_factory=dict)
    mentions: dict[str, frozenset[str]] = field(default_factory=dict)
    filling: set[str] = field(default_factory=set)

    def read(self, node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
        """Take in a statement; return the names that it changes for certain, and all that it may change."""
        parts = list(_same_scope(node))
        for part in parts:
            self._bind(part)
        certain = {name for part in parts for name in self._changes(part)} - {""}
        may = {name for part in parts for name in self._may_change(part)} - {""}
        called = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
        if isinstance(node, Function) and node.decorator_list:  # `@interact` calls what it decorates
            called.add(node.name)
        related = self._related(certain | may)
        codes = {name for name in called | related if self._is(name, "code")}
        may |= (related - codes).union(*(self._effects(code) for code in codes))
        if isinstance(node, ast.Assign):
            self._rebind(node)
        return frozenset(certain), frozenset(may)

    # -- binding --

    def _bind(self, node: ast.AST) -> None:
        """Note what a node binds names to."""
        match node:
            case ast.Import():
                for alias in node.names:
                    name = alias.asname or alias.name.split(".")[0]
                    self._bind_import(name, alias.name if alias.asname else name, "module")
            case ast.ImportFrom():
                for alias in node.names:
                    self._bind_import(alias.asname or alias.name, f"{node.module}.{alias.name}", "imported")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._bind_code(node)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr():
                self._bind_data(node.targets if isinstance(node, ast.Assign) else [node.target], node.value)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                self._bind_data([node.target], node.iter)
            case ast.withitem():
                self._bind_data([node.optional_vars] if node.optional_vars else [], node.context_expr)
            case ast.Match():
                for case in node.cases:
                    self._bind_data([case.pattern], node.subject)
            case ast.ExceptHandler(name=str(name)):
                self.kinds[name] = "data"

    def _bind_import(self, name: str, module: str, kind: str) -> None:
        self.kinds[name] = "quiet" if module.split(".")[0] in QUIET else kind
        self.modules[name] = module

    def _bind_code(self, node: Function | ast.ClassDef) -> None:
        """Read a function's or class's body: what it changes beyond its own names, and whether an argument."""
        self.kinds[node.name] = "code"
        methods = [node] if not isinstance(node, ast.ClassDef) else [m for m in node.body if isinstance(m, Function)]
        changed, mentions = set[str](), set[str]()
        self.filling.discard(node.name)
        for method in methods:
            outer, fills = self._read_body(method)
            changed |= outer
            mentions |= scope(method)[1]
            if fills:
                self.filling.add(node.name)
        self.changed[node.name] = frozenset(changed)
        self.mentions[node.name] = frozenset(mentions - {node.name})

    def _read_body(self, function: Function) -> tuple[set[str], bool]:
        """Return the outer names that a function's body changes, and whether it changes a parameter's data."""
        inside, parameters = deepcopy(self), _parameters(function)
        own = set(parameters)
        for part in (each for statement in function.body for each in _same_scope(statement)):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                own.add(part.id)
        outer = {name for part in ast.walk(function) if isinstance(part, ast.Global) for name in part.names}
        for name in own - outer:
            inside._forget(name)
            inside.kinds[name] = "data"
        changed = {name for statement in function.body for each in inside.read(statement) for name in each}
        return (changed - own) | outer, bool(changed & set(parameters))

    def _bind_data(self, targets: Sequence[ast.AST], value: ast.expr | None) -> None:
        """Note that targets hold a value, or a part of it."""
        same, parts = set(self._references(value)), set(self._origins(value))
        for name in {name for target in targets for name in _bound(target)}:
            kind = self._kind(value)
            self.kinds[name] = kind if self.kinds.get(name, kind) == kind else "data"
            self._share(name, same)
            self.parts.setdefault(name, set()).update(parts - {name})

    def _rebind(self, node: ast.Assign) -> None:
        """Forget what a plain assignment replaces."""
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if names & set(self._references(node.value)) or names & set(self._origins(node.value)):
            return
        for name in names:
            self._forget(name)
            self.kinds[name] = self._kind(node.value)
        self._bind_data(node.targets, node.value)

    def _share(self, name: str, others: set[str]) -> None:
        for other in others - {name}:
            self.shared.setdefault(name, set()).add(other)
            self.shared.setdefault(other, set()).add(name)

    def _forget(self, name: str) -> None:
        for other in self.shared.pop(name, set()):
            self.shared[other].discard(name)
        self.parts.pop(name, None)
        self.kinds.pop(name, None)

    def _kind(self, value: ast.expr | None) -> str:
        if isinstance(value, ast.Constant | ast.JoinedStr | ast.Compare):
            return "constant"
        return "drawing" if value is not None and self._is(_root(value), "quiet", "drawing") else "data"

    def _is(self, name: str, *kinds: str) -> bool:
        return self.kinds.get(name) in kinds

    # -- sharing --

    def _references(self, value: ast.AST | None) -> Iterator[str]:
        """Yield the names whose very data an expression hands on."""
        match value:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                if not isinstance(value, ast.Name) and isinstance(_leftmost(value), ast.Call):
                    return
                if self._is(_root(value), "data", "drawing", "imported"):
                    yield _root(value)
            case ast.Starred() | ast.NamedExpr() | ast.Await():
                yield from self._references(value.value)
            case ast.List() | ast.Tuple() | ast.Set():
                for each in value.elts:
                    yield from self._references(each)
            case ast.Dict():
                for entry in value.values:
                    yield from self._references(entry)
            case ast.IfExp():
                yield from self._references(value.body)
                yield from self._references(value.orelse)
            case ast.BoolOp():
                for each in value.values:
                    yield from self._references(each)

    def _origins(self, value: ast.AST | None) -> Iterator[str]:
        """Yield the names whose data may be part of an expression's value."""
        for part in _same_scope(value) if value is not None else ():
            match part:
                case ast.Call(func=function):
                    if self._is(_root(function), "data", "drawing", "imported"):
                        yield _root(function)
                    if not self._is(_root(function), "quiet", "drawing"):
                        yield from self._arguments(part)
                case ast.Name(id=name) if self._is(name, "code"):
                    yield name
                    yield from (each for each in self.mentions[name] if self._is(each, "data"))
                case ast.comprehension():
                    yield from self._references(part.iter)
                case ast.Lambda():
                    names = (each.id for each in ast.walk(part.body) if isinstance(each, ast.Name))
                    yield from (name for name in names if name in self.kinds)

    def _arguments(self, call: ast.Call) -> Iterator[str]:
        """Yield the names whose data a call is handed."""
        for each in [*call.args, *(keyword.value for keyword in call.keywords)]:
            yield from self._references(each)
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):  # f(x.view())
                yield from self._references(each.func.value)

    def _related(self, names: set[str]) -> set[str]:
        """Return names and all those whose data they may share."""
        found, waiting = set(names), list(names)
        while waiting:
            name = waiting.pop()
            new = (self.shared.get(name, set()) | self.parts.get(name, set())) - found
            found |= new
            waiting += new
        return found

    def mentioned(self, names: Iterable[str]) -> set[str]:
        """Return the names that the notebook's own code among `names` uses when it is called, through all it calls."""
        found, waiting = set[str](), list(names)
        while waiting:
            name = waiting.pop()
            new = set(self.mentions.get(name, ())) - found if self._is(name, "code") else set()
            found |= new
            waiting += new
        return found

    def _effects(self, code: str) -> set[str]:
        """Return what calling a function or class of the notebook changes, through those that it calls."""
        codes = {code} | self.mentioned([code])
        return self._related({name for each in codes for name in self.changed.get(each, ())})

    # -- changing --

    def _changes(self, node: ast.AST) -> Iterator[str]:
        """Yield the names whose data a node changes for certain: `x[0] = 1`, `x.y = 1`, `x += 1`, `x.append(1)`."""
        match node:
            case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.Attribute(ctx=ast.Store() | ast.Del()):
                yield _root(node)
            case ast.AugAssign():
                yield _root(node.target)
            case ast.Call(func=ast.Attribute() as method):
                if method.attr in SETTING_CALLS or method.attr.startswith(("observe", "on_", "set_")):
                    yield _root(method)
                elif method.attr in CHANGING and not self._is_function(method):
                    yield _root(method)
                    if method.attr in KEEPING:
                        self._share(_root(method), set(self._arguments(node)))

    def _may_change(self, node: ast.AST) -> Iterator[str]:
        """Yield the names whose data a node may change, for all that Python's grammar says."""
        match node:
            case ast.Call():
                yield from self._called(node)
                yield from self._chance(node)
            case ast.Expr(value=ast.Call() as call) | ast.Expr(value=ast.Await(value=ast.Call() as call)):
                if not self._only_shows(call):
                    yield from self._arguments(call)
            case ast.Attribute(attr=name) if name in CHANGING and not self._is_function(node):
                yield _root(node)  # `map(rows.append, …)`
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                for each in node.decorator_list:  # `@area.register`
                    if _leftmost(each) is not each and self._is(_root(each), "data", "code"):
                        yield _root(each)

    def _called(self, call: ast.Call) -> Iterator[str]:
        """Yield what a call may change in any case: the object of a method, arguments that are known to be filled."""
        is_pure = isinstance(call.func, ast.Attribute) and call.func.attr in PURE
        if self._is(_root(call.func), "data", "drawing") and not is_pure:
            yield _root(call.func)
        if self._is(_root(call.func), "code") and isinstance(call.func, ast.Attribute):  # `rows_of(x).append(1)`
            yield from self._origins(call.func)
        if _root(call.func) in self.filling:
            yield from self._arguments(call)
        for keyword in call.keywords:
            if keyword.arg == "out":
                yield from self._references(keyword.value)

    def _chance(self, call: ast.Call) -> Iterator[str]:
        """Yield the module from whose hidden state a call draws, which every draw changes."""
        path = ast.unparse(call.func).split(".")
        full = [*self.modules.get(path[0], "").split("."), *path[1:]]
        module = ".".join(full[:-1])
        if self._is(path[0], "module", "imported") and module in CHANCE and full[-1] not in OWN_CHANCE:
            yield module

    def _only_shows(self, call: ast.Call) -> bool:
        """Return whether a call that stands alone is known to change no argument."""
        root = _root(call.func)
        last = call.func.attr if isinstance(call.func, ast.Attribute) else root
        is_builtin = root not in self.kinds and hasattr(builtins, root) and root not in CHANGING_BUILTINS
        is_quiet = self._is(root, "quiet", "drawing")
        return is_builtin or is_quiet or last in SHOWING | PURE or last.startswith("assert")

    def _is_function(self, method: ast.Attribute) -> bool:
        """Return whether what looks like a method is a module's function: `np.sort`, but not `sys.path.insert`."""
        return isinstance(method.value, ast.Name) and self._is(method.value.id, "module", "quiet", "constant")


def _parameters(function: Function) -> list[str]:
    """Return the names of a function's parameters, without the object that a method belongs to."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each.arg for each in [*plain, arguments.vararg, arguments.kwarg] if each and each.arg != "self"]


def _bound(target: ast.AST) -> set[str]:
    """Return the names that a target binds, or whose data it changes: `x`, `x[0]`, `(x, *y)`, `case [x, y]`."""
    names = {part.id for part in ast.walk(target) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    places = {_root(part) for part in ast.walk(target) if isinstance(part, ast.Subscript | ast.Attribute)}
    captured = {getattr(part, key, None) for part in ast.walk(target) for key in ("name", "rest")}
    return {name for name in names | places | captured if name}


def _same_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a statement without entering the bodies of functions and classes, whose names are their own."""
    yield node
    if isinstance(node, ast.Lambda):
        return
    inner = [*node.decorator_list] if isinstance(node, CODE) else list(ast.iter_child_nodes(node))
    for child in inner:
        yield from _same_scope(child)


def _leftmost(node: ast.AST) -> ast.AST:
    """Return the expression at the left end of `f(1).a[0].b`: a name, a call of a name, or anything else."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


def _root(node: ast.AST) -> str:
    """Return the name at the left end of `name.a[0].b`, empty if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
