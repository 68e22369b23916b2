"""Whether a fused operator computes what the operators in its place do: both run on inputs made to tell them apart.

The matched operators are cut out of their graph and run three times on each input: as they are, with the fused operator
in their place, and in float64, which stands for exact. Both differ from exact by rounding. The fused one is accepted if
it errs no more than a few times as much as the operators that it replaces, plus a few units in the last place of its
result:

    error <= 4 * own + 2 * spacing of numbers at 1 * largest value

The inputs have the traced shapes, and whatever values a model could have: the check does not ask which of them this
model makes. A mask of 0 and "hidden" alone would pass where one of other numbers, such as ALiBi's slopes, is wrong; so
the mask is drawn in every way that its type allows. What a check of examples cannot do is prove.

>>> import torch
>>> from costlab.nn.chips.fusion.pattern import FusionPattern
>>> aten, fused = torch.ops.aten, torch.ops.costlab_fused
>>> swapped = FusionPattern("swiglu", "swapped", lambda a, b: aten.mul.Tensor(aten.silu.default(a), b),
...     lambda a, b: fused.swiglu.default(b, a))
>>> judgement = check_pattern(swapped, {"a": torch.empty(4, 8), "b": torch.empty(4, 8)})
>>> judgement.accepted, judgement.trial("random").accepted, judgement.trial("zero").accepted
(False, False, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from costlab.checks import pick
from costlab.nn.chips.fusion.pattern import FusionPattern

#: How often as much as the operators that it replaces a fused one may err.
ROUNDING_FACTOR = 4.0
#: How many units in the last place of the largest result it may err besides.
ROUNDING_UNITS = 2.0

#: Arguments, by name, whose values stay near 1 whatever the input's size.
_STEADY = ("weight", "cos", "sin", "bias", "sink", "mask")
_LARGE, _TINY = 2.0**10, 2.0**-14
_SLOPE = 0.5  # of a mask that falls with distance, per key


@dataclass(frozen=True)
class InputKind:
    """One way to draw inputs."""

    name: str  # "random", "masked", ...
    size: float = 1.0  # standard deviation of the values; weights, tables and masks keep theirs
    mask: str = "causal"  # how masks are drawn: "causal", "open", "random", "blind", "biased"
    other_type: bool = False  # bfloat16 in place of float32, and the other way round


#: The ways to draw inputs that a fused operator is tried with.
INPUT_KINDS: tuple[InputKind, ...] = (
    InputKind("random"),
    InputKind("unmasked", mask="open"),
    InputKind("masked", mask="random"),
    InputKind("a query without keys", mask="blind"),
    InputKind("biased", mask="biased"),
    InputKind("large", size=_LARGE),
    InputKind("tiny", size=_TINY),
    InputKind("zero", size=0.0),
    InputKind("other type", other_type=True),
)


@dataclass(frozen=True)
class Trial:
    """One input, tried."""

    kind: str  # of the input
    dtype: str  # of the floating-point inputs
    error: float  # largest difference of the fused result from the exact one; of whole numbers the share that differ
    own: float  # that of the operators in its place
    allowed: float  # the largest error that is accepted
    where: tuple[int, ...]  # index of the largest difference beyond what is allowed, or of the largest
    unfused: float  # the operators' value there
    fused: float  # the fused operator's
    reason: str = ""  # what else is wrong: another shape or type, an error that it raises

    @property
    def accepted(self) -> bool:
        """Whether the fused operator passed."""
        return not self.reason and self.error <= self.allowed

    @property
    def excess(self) -> float:
        """The error in relation to what is allowed: above 1 it is no rounding."""
        if self.reason:
            return math.inf
        return self.error / self.allowed if self.allowed else (math.inf if self.error else 0.0)

    def __str__(self) -> str:
        if self.reason:
            return f"{self.kind} in {self.dtype}: {self.reason}"
        at = f"{self.unfused:.6g} became {self.fused:.6g} at {list(self.where)}"
        return f"{self.kind} in {self.dtype}: off by {self.error:.2g}, where {self.allowed:.2g} is rounding; {at}"


@dataclass(frozen=True)
class Judgement:
    """All inputs that a match was tried with."""

    pattern: FusionPattern  # that matched
    trials: tuple[Trial, ...]  # one for each kind of input that applies

    @property
    def accepted(self) -> bool:
        """Whether it passed all of them."""
        return all(trial.accepted for trial in self.trials)

    @property
    def evidence(self) -> Trial | None:
        """The input that refutes it most plainly; None where it was accepted."""
        return max((trial for trial in self.trials if not trial.accepted), key=lambda each: each.excess, default=None)

    def trial(self, kind: str) -> Trial:
        """Return what one kind of input gave.

        Raises:
            ValueError: a kind that was not tried.
        """
        return pick({trial.kind: trial for trial in self.trials}, kind, "kind of input")

    @property
    def refuted_by(self) -> tuple[str, ...]:
        """Kinds of input that refute it."""
        return tuple(trial.kind for trial in self.trials if not trial.accepted)

    @property
    def closest(self) -> float:
        """Largest error in relation to what is allowed, over all inputs."""
        return max((trial.excess for trial in self.trials), default=0.0)

    def __str__(self) -> str:
        if self.evidence is None:
            return f"{self.pattern}: accepted on {len(self.trials)} inputs"
        return f"{self.pattern}: refused: {self.evidence}"


def check_pattern(
    pattern: FusionPattern, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any] | None = None
) -> Judgement:
    """Check a pattern by itself, in no graph.

    Args:
        pattern: to check.
        tensors: for its arguments that are tensors, one of the shape and type to try; its values do not matter.
        numbers: its other arguments.

    Raises:
        ValueError: arguments that are missing.
    """
    numbers = dict(numbers or {})
    if missing := [name for name in pattern.slots if name not in tensors and name not in numbers]:
        raise ValueError(f"{pattern} needs {', '.join(missing)}")
    unfused = bind_numbers(pattern.graph(), numbers)
    return check_graphs(pattern, unfused, bind_numbers(pattern.replaced(numbers), numbers), tensors)


def bind_numbers(graph: fx.Graph, numbers: Mapping[str, Any]) -> fx.Graph:
    """Put numbers in the place of a graph's arguments, and return it.

    Args:
        graph: changed in place.
        numbers: by the placeholders' names.
    """
    for node in [each for each in graph.nodes if each.op == "placeholder" and each.target in numbers]:
        for user in list(node.users):
            _put(user, node, numbers[node.target])
        graph.erase_node(node)
    return graph


def _put(user: fx.Node, node: fx.Node, number: Any) -> None:
    """Let a node read a number in the place of another node."""
    given = (user.args, user.kwargs)
    user.args, user.kwargs = fx.node.map_arg(given, lambda each: number if each is node else each)


def check_graphs(
    pattern: FusionPattern, unfused: fx.Graph, fused: fx.Graph, tensors: Mapping[str, Tensor], seed: int = 0
) -> Judgement:
    """Run two graphs of the same tensors on every kind of input that applies, and compare them.

    Args:
        pattern: for the answer.
        unfused: the operators.
        fused: what would take their place.
        tensors: by the placeholders' names, of the shapes and types to try; values do not matter.
        seed: of the inputs.
    """
    before, after = (fx.GraphModule({}, graph) for graph in (unfused, fused))
    trials = (_trial(kind, before, after, tensors, seed) for kind in INPUT_KINDS if _applies(kind, tensors))
    return Judgement(pattern, tuple(trials))


def _applies(kind: InputKind, tensors: Mapping[str, Tensor]) -> bool:
    if kind.mask == "causal":
        return True
    mask = tensors.get("mask")
    return mask is not None and (kind.mask != "biased" or mask.is_floating_point())


def _trial(
    kind: InputKind, before: fx.GraphModule, after: fx.GraphModule, tensors: Mapping[str, Tensor], seed: int
) -> Trial:
    types = _types(tensors, kind)
    inputs = draw_tensors(kind, tensors, seed)
    word = _word(inputs)
    exact = _Run(before, dict.fromkeys(_FLOATS, torch.float64)).results(inputs)
    own = _Run(before, types).results(inputs)
    try:
        got = _Run(after, types).results(inputs)
    except Exception as error:
        return _failed(kind, word, f"it fails: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    if kind.other_type and len(own) == len(got):  # what it returns there is nobody's: values alone count
        got = tuple(each.to(like.dtype) for each, like in zip(got, own, strict=True))
    if reason := _unlike(own, got):
        return _failed(kind, word, reason)
    return max((_compared(kind, word, *each) for each in zip(exact, own, got, strict=True)), key=lambda t: t.excess)


def _failed(kind: InputKind, word: str, reason: str) -> Trial:
    return Trial(kind.name, word, math.inf, 0.0, 0.0, (), math.nan, math.nan, reason)


def _unlike(own: Sequence[Tensor], got: Sequence[Tensor]) -> str:
    if len(own) != len(got):
        return f"{len(got)} results in place of {len(own)}"
    for wanted, found in zip(own, got, strict=True):
        if wanted.shape != found.shape or wanted.dtype != found.dtype:
            return f"{_said(found)} in place of {_said(wanted)}"
    return ""


def _said(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}"


def _compared(kind: InputKind, word: str, exact: Tensor, own: Tensor, got: Tensor) -> Trial:
    """Compare one result. Where the operators give no number nothing is asked; of whole numbers a share is wrong."""
    if not exact.numel():
        return Trial(kind.name, word, 0.0, 0.0, 0.0, (), math.nan, math.nan)
    if exact.is_floating_point():
        asked = own.isfinite() & exact.isfinite()
        errors, owns = ((each.double() - exact).abs().where(asked, 0.0) for each in (got, own))
        unit = torch.finfo(own.dtype).eps * float(exact.abs().where(asked, 0.0).max())
        errors = errors.nan_to_num(nan=math.inf)
        worst, mine = float(errors.max()), float(owns.max())
    else:
        errors, owns, unit = (got != exact).double(), (own != exact).double(), 0.0
        worst, mine = float(errors.mean()), float(owns.mean())
    at = tuple(int(i) for i in torch.unravel_index(errors.argmax(), errors.shape))
    allowed = ROUNDING_FACTOR * mine + ROUNDING_UNITS * unit
    return Trial(kind.name, word, worst, mine, allowed, at, float(own[at]), float(got[at]))


# --- inputs ------------------------------------------------------------------------------------------------------

_FLOATS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def _types(tensors: Mapping[str, Tensor], kind: InputKind) -> Mapping[torch.dtype, torch.dtype]:
    """Return which type each floating-point type becomes."""
    if not kind.other_type:
        return {}
    low = any(each.dtype in (torch.bfloat16, torch.float16) for each in tensors.values())
    if low:
        return {torch.bfloat16: torch.float32, torch.float16: torch.float32}
    return {torch.float32: torch.bfloat16}


def _word(inputs: Mapping[str, Tensor]) -> str:
    types = {str(each.dtype).removeprefix("torch.") for each in inputs.values() if each.is_floating_point()}
    return " and ".join(sorted(types))


def draw_tensors(kind: InputKind, tensors: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Return one input of a kind: a tensor for each, of its shape; the same for the same seed.

    Args:
        kind: how to draw.
        tensors: by name; a "mask" is drawn as one; "weight" near 1.
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    types = _types(tensors, kind)
    return {name: _drawn(name, each, kind, types, generator) for name, each in tensors.items()}


def _drawn(
    name: str, like: Tensor, kind: InputKind, types: Mapping[torch.dtype, torch.dtype], generator: torch.Generator
) -> Tensor:
    dtype, shape = types.get(like.dtype, like.dtype), tuple(like.shape)
    if name == "mask":
        return _mask((1, 1, *shape), dtype, kind.mask, generator).view(shape)  # a mask may lack axes
    if not dtype.is_floating_point:
        return torch.randint(0, 2, shape, generator=generator).to(dtype)
    drawn = torch.randn(shape, generator=generator)
    if name == "weight":
        drawn = 1 + 0.25 * drawn
    return (drawn if name in _STEADY else kind.size * drawn + 0.0).to(dtype)  # + 0.0: no -0


def _mask(shape: Sequence[int], dtype: torch.dtype, how: str, generator: torch.Generator) -> Tensor:
    """Return which keys are seen, as bool or as 0 and the type's lowest number; "biased" falls with distance too."""
    queries, keys = shape[-2:]
    behind = torch.arange(queries)[:, None] + keys - queries - torch.arange(keys)  # tokens that a key lies back
    seen = (behind >= 0).expand(tuple(shape))
    if how == "open":
        seen = torch.ones(tuple(shape), dtype=torch.bool)
    elif how == "random":
        seen = (torch.rand(tuple(shape), generator=generator) < 0.5) | (behind == 0)
    elif how == "blind":
        seen = seen & (torch.arange(queries)[:, None] != queries // 2)
    if not dtype.is_floating_point:
        return seen.to(dtype, copy=True)
    bias = -_SLOPE * behind.abs().to(torch.float32) if how == "biased" else torch.zeros(queries, keys)
    return torch.where(seen, bias, torch.finfo(dtype).min).to(dtype)


# --- runs --------------------------------------------------------------------------------------------------------


class _Run(fx.Interpreter):
    """Runs a graph with some floating-point types in the place of others."""

    def __init__(self, module: fx.GraphModule, types: Mapping[torch.dtype, torch.dtype]) -> None:
        super().__init__(module)
        self.types = types

    def results(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the graph's results as a tuple; inputs are not changed."""
        with torch.no_grad():
            made = self.run(*self._given(inputs))
        return tuple(made) if isinstance(made, tuple | list) else (made,)

    def _given(self, inputs: Mapping[str, Tensor]) -> Iterator[Any]:
        names = (node.target for node in self.graph.nodes if node.op == "placeholder")
        return (self._typed(inputs[name].clone()) if name in inputs else None for name in names)

    def _typed(self, x: Tensor) -> Tensor:
        return x.to(self.types.get(x.dtype, x.dtype))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operator, its arguments that are types replaced."""
        args, kwargs = fx.node.map_aggregate((args, kwargs), self._other)
        return super().call_function(target, tuple(args), dict(kwargs))

    def _other(self, value: Any) -> Any:
        return self.types.get(value, value) if isinstance(value, torch.dtype) else value
