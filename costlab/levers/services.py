"""How a model is served, and what a million tokens of each kind then cost: hits, misses, output.

All levers meet here. The structure of a service is fixed: the model as it is stored, the chip, whether prompts are
kept, whether tokens are drafted, whether prefill and decode have chips of their own. Its figures are ranges with
sources, and every one of them may be an array, so that thousands of draws are one computation.

- A miss is a prompt's token that is read: its share of prefill, by arithmetic.
- A hit is one that is kept: its share of prefill, as new tokens look at it; the part of its loading that prefill does
  not hide; the rent of the storage where it waits. Without a cache it is read again and costs what a miss costs.
- An output token is a decode step, in the largest batch that memory holds and that keeps the promised speed.

Chapter: levers
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costlab import catalog, checks
from costlab.arch import Model
from costlab.arrays import Floats
from costlab.catalog import FrozenDict
from costlab.chips.assumptions import Assumption, Overrides, check_values, values_of
from costlab.levers.deployed import ChipSeconds, Layouts, MeanRequest, layouts_of, phases_apart, phases_together

#: Kinds of tokens that price lists tell apart.
TokenKind = Literal["hit", "miss", "output"]
KINDS: tuple[TokenKind, ...] = ("hit", "miss", "output")

#: What each figure of a service may be: least and most.
INPUT_LIMITS: Mapping[str, tuple[float, float]] = FrozenDict(
    {
        "utilisation": (1e-3, 1.0),
        "prefill share": (1e-3, 1.0),
        "decode share": (1e-3, 1.0),
        "hit rate": (0.0, 0.999),
        "kept": (0.0, 1e6),
        "storage": (0.0, 1e3),
        "round tokens": (1.0, 16.0),
    }
)


@dataclass(frozen=True)
class Service:
    """A model as it is served: what is fixed of it, and the figures that it rests on."""

    model: Model  # as stored and multiplied; a dense one is spread over the chips of each deployment
    chip: str  # key in the catalog
    inputs_by_name: Mapping[str, Assumption]  # its figures, see `INPUTS`
    cached: bool = True  # whether prompts are kept, so that what comes again is a hit
    drafted: int = 0  # tokens that the model's own modules draft in a round; 0 for plain decoding
    separate: bool = True  # whether prefill and decode have chips of their own
    batch_per_chip: float | None = None  # most sequences that decode for each chip; None: what memory and speed allow

    def __post_init__(self) -> None:
        catalog.chip(self.chip)
        if missing := [name for name in INPUTS if name not in self.inputs_by_name]:
            raise ValueError(f"a service needs {', '.join(missing)}: should be given")
        for name, each in self.inputs_by_name.items():
            _check_input(name, each)
        if checks.whole(self.drafted, "drafted") < 0:
            raise ValueError(f"drafted = {self.drafted} should be at least 0")
        if self.drafted and self.model.mtp_module is None:
            raise ValueError(f"{self.model.name} has no module that drafts: drafted should be 0")
        if self.batch_per_chip is not None and not 0 < self.batch_per_chip < np.inf:
            raise ValueError(f"batch_per_chip = {self.batch_per_chip!r} should be above 0 and finite")

    @property
    def currency(self) -> str:
        """Of all amounts: dollars."""
        return "USD"

    def inputs(self) -> dict[str, Assumption]:
        """Every figure by name."""
        return dict(self.inputs_by_name)

    def with_inputs(self, **instead: float | Assumption) -> Service:
        """Return the same service with other figures, by their names with underscores, e.g. `hit_rate=0.9`."""
        found = dict(self.inputs_by_name)
        for name, given in instead.items():
            key = checks.pick({each.replace(" ", "_"): each for each in INPUTS}, name, "input of a service")
            unit = found[key].unit
            found[key] = (
                given if isinstance(given, Assumption) else Assumption(float(given), unit, "given by the reader")
            )
        return dataclasses.replace(self, inputs_by_name=FrozenDict(found))


#: The figures of a service and their units.
INPUTS: Mapping[str, str] = FrozenDict(
    {
        "rent": "USD per chip-hour",  # of a chip, whether it works or not
        "utilisation": "share of hours",  # in which what is paid for works
        "prefill share": "share of the roofline",  # that prefill reaches
        "decode share": "share of the roofline",  # that decode reaches
        "user speed": "tokens/s",  # that each user gets at least
        "first token": "s",  # in which a prompt is read at most
        "input": "tokens",  # of a request, hits included
        "hit rate": "share of input",  # that was sent before and is kept
        "output": "tokens",  # of a request
        "round tokens": "tokens",  # that a round of decoding yields where tokens are drafted
        "kept": "hours",  # between a token's last use and its removal from the cache
        "storage": "USD per GB-hour",  # of what holds the cache
        "load": "bytes/s",  # from there to each chip
    }
)


def _check_input(name: str, each: Assumption) -> None:
    """Refuse a figure of another name, unit or currency, or that leaves what it may be."""
    unit = checks.pick(INPUTS, name, "input of a service")
    if each.unit != unit:
        raise ValueError(f"{name} in {each.unit!r} should be in {unit!r}")
    if each.currency not in ("", "USD"):
        raise ValueError(f"{name} in {each.currency} should be in USD, converted at the rate of its day")
    check_values({name: each.bounds}, INPUT_LIMITS)


@dataclass(frozen=True)
class TokenCosts:
    """What a million tokens of each kind cost, in dollars: numbers, or arrays of one shape."""

    hit: Floats  # a token that is kept
    miss: Floats  # a token that is read
    output: Floats  # a token that is written
    hit_parts: Mapping[str, Floats]  # of a hit: "looking at it", "loading", "keeping", "reading it again"
    chips: Mapping[str, Floats]  # of the deployment that is cheapest, by phase
    batch: Floats  # sequences that decode at once in it
    user_speed: Floats  # tokens/s that each user gets; below what is promised where no deployment is as fast
    first_token: Floats  # seconds in which a prompt is read; above what is promised where no deployment is as fast
    request: Mapping[TokenKind, Floats]  # tokens of a mean request, by kind

    def of(self, kind: TokenKind) -> Floats:
        """Return the cost of a kind of token."""
        found: Floats = getattr(self, kind)
        return found

    @property
    def bill(self) -> Floats:
        """Dollars for a mean request."""
        return np.asarray(sum(self.of(kind) * self.request[kind] for kind in KINDS) / 1e6)


def token_costs(service: Service, values: Overrides | None = None) -> TokenCosts:
    """Return what a million tokens of each kind cost.

    Args:
        service: how the model is served.
        values: numbers or arrays of one length in the place of its figures.

    Returns:
        Costs, each of the arrays' shape, or of one number; infinite where no deployment holds a sequence.

    Raises:
        ValueError: a name that is no input, a number out of its range, arrays of unlike lengths, a model that no
            deployment holds.
    """
    at = values_of(service, values)
    check_values(values or {}, INPUT_LIMITS)
    try:
        draws = np.broadcast_shapes(*(each.shape for each in at.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {each.shape}" for name, each in at.items() if each.shape)
        raise ValueError(f"arrays of unlike shapes: {shapes}; should be of one length") from None
    flat = {name: np.broadcast_to(each, draws).reshape(-1).astype(float) for name, each in at.items()}
    request = MeanRequest(flat, service.cached, service.drafted)
    layouts = layouts_of(service.model, service.chip, bool(service.drafted))
    found = (phases_apart if service.separate else phases_together)(request, layouts, service.batch_per_chip)
    return _priced(request, layouts, found, draws)


def _priced(request: MeanRequest, layouts: Layouts, found: ChipSeconds, shape: tuple[int, ...]) -> TokenCosts:
    """Dollars of the chip-seconds, and of what a hit takes beside them."""
    chip_s = request.at["rent"] / 3600 / request.at["utilisation"] * 1e6  # dollars of a million chip-seconds
    miss, output = chip_s * found.misses / request.read, chip_s * found.writing / request.written
    parts = _hit_parts(request, layouts, found, chip_s)
    again = request.prefix < 1  # nothing is kept, or nothing was sent before: what came again would be read again
    if again.any():
        parts = {name: np.where(again, 0.0, each) for name, each in parts.items() if not again.all()}
        parts["reading it again"] = np.where(again, miss, 0.0)
    chips, replicas = (layouts.of(name)[:, 0] for name in ("chips", "replicas"))
    by_kind = {"hit": np.asarray(sum(parts.values())), "miss": miss, "output": output}
    by_phase = {"prefill": chips[found.prefill], "decode": chips[found.decode]}
    tokens = request.repeated, request.prompt - request.repeated, request.written

    def shaped(each: Floats) -> Floats:
        return np.reshape(each, shape)

    return TokenCosts(
        **{kind: shaped(each) for kind, each in by_kind.items()},
        hit_parts=FrozenDict({name: shaped(each) for name, each in parts.items()}),
        chips=FrozenDict({name: shaped(each) for name, each in by_phase.items()}),
        batch=shaped(found.each * replicas[found.decode]),
        user_speed=shaped(request.round_tokens / found.round_s),
        first_token=shaped(found.first_s),
        request=FrozenDict({kind: shaped(each) for kind, each in zip(KINDS, tokens, strict=True)}),
    )


def _hit_parts(request: MeanRequest, layouts: Layouts, found: ChipSeconds, chip_s: Floats) -> dict[str, Floats]:
    """What a million hits cost: chips that look at them, chips that wait for them, and what they lie in."""
    kept, model = np.maximum(request.prefix, 1.0), layouts.nodes[0].model
    loading = np.zeros_like(kept)
    for index in np.unique(found.prefill):
        mine, split = found.prefill == index, layouts.nodes[int(index)].tensor_parallel
        moved = model.kv_bytes(kept, split).total * split  # each chip of the replica loads its part
        loading[mine] = (moved / request.at["load"])[mine]
    waiting = np.maximum(0.0, loading - found.hits - found.misses)
    held = _stored_bytes(model, request) * request.at["kept"] / 1e9 * request.at["storage"]
    return {
        "looking at it": found.hits / kept * chip_s,
        "loading": waiting / kept * chip_s,
        "keeping": held / kept * 1e6,
    }


def _stored_bytes(model: Model, request: MeanRequest) -> Floats:
    """Bytes that a request adds to the cache: of what it reads and writes, and of one window or state at its end."""
    whole = np.rint(request.prompt + request.written)
    kept = model.kv_bytes(whole)
    return np.asarray(kept.growing * (request.read + request.written) / whole + kept.fixed)


__all__ = ["INPUTS", "INPUT_LIMITS", "KINDS", "Service", "TokenCosts", "TokenKind", "token_costs"]
