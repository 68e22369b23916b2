"""How a model is served, and what a million tokens of each kind then cost: hits, misses, output.

All levers meet here. The structure of a service is fixed: the model as it is stored, the chip, whether prompts are
kept, whether tokens are drafted, whether prefill and decode have chips of their own. Its figures are ranges with
sources, and every one of them may be an array, so that thousands of draws are one computation.

- A miss is a prompt's token that is read: arithmetic and memory of prefill, as if nothing lay before the prompt.
- A hit is one that is kept: what queries pay to look at it, the part of its loading that arithmetic does not hide, and
  the rent of the storage where it waits. Without a cache it is read again and costs what a miss costs.
- An output token is a decode step, in the largest batch that memory holds and that keeps the promised speed.

Chapter: levers
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from costlab import catalog, checks
from costlab.arch import Model
from costlab.arrays import Bools, Floats, Ints
from costlab.catalog import FrozenDict
from costlab.chips import ChipHour, DraftedRound
from costlab.chips.assumptions import Assumption, Overrides, check_values, values_of
from costlab.chips.memory import sizes
from costlab.chips.tokens import deployments_of
from costlab.levers.dense import spread
from costlab.roofline import Deployment, StepGrid, decode_grid, prefill_grid
from costlab.roofline.grids import PassGrid

#: Kinds of tokens that price lists tell apart.
TokenKind = Literal["hit", "miss", "output"]
KINDS: tuple[TokenKind, ...] = ("hit", "miss", "output")
#: Most chips of a deployment that is looked at.
MOST_CHIPS = 256

#: What each figure of a service may be: least and most.
LIMITS: Mapping[str, tuple[float, float]] = FrozenDict(
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
    batch_per_chip: float | None = (
        None  # most sequences that decode at once for each chip; None: what memory and speed allow
    )
    currency: str = "USD"  # of all amounts

    def __post_init__(self) -> None:
        catalog.chip(self.chip)
        if missing := [name for name in INPUTS if name not in self.inputs_by_name]:
            raise ValueError(f"a service needs {', '.join(missing)}: should be given")
        for name in self.inputs_by_name:
            checks.pick(INPUTS, name, "input of a service")
        if self.drafted and self.model.mtp_module is None:
            raise ValueError(f"{self.model.name} has no module that drafts: drafted should be 0")
        if self.batch_per_chip is not None and not 0 < self.batch_per_chip < np.inf:
            raise ValueError(f"batch_per_chip = {self.batch_per_chip!r} should be above 0 and finite")

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


@dataclass(frozen=True)
class TokenCosts:
    """What a million tokens of each kind cost, in dollars: numbers, or arrays of one shape."""

    hit: Floats  # a token that is kept
    miss: Floats  # a token that is read
    output: Floats  # a token that is written
    hit_parts: Mapping[
        str, Floats
    ]  # of a hit: "looking at it", "loading", "keeping"; "reading it again" without a cache
    chips: Mapping[str, Floats]  # of the deployment that is cheapest, by phase
    batch: Floats  # sequences that decode at once in it
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
        Costs, each of the arrays' length, or of one number; infinite where no deployment is fast enough.

    Raises:
        ValueError: a name that is no input, a number out of its range, a model that no deployment holds.
    """
    check_values(values or {}, LIMITS)
    at = values_of(service, values)
    draws = np.broadcast_shapes(*(each.shape for each in at.values()))
    given = _Given({name: np.broadcast_to(each, draws).reshape(-1).astype(float) for name, each in at.items()}, service)
    nodes = _nodes(service.model, service.chip, bool(service.drafted))
    if not nodes:
        raise ValueError(f"{service.model.name}: no deployment of up to {MOST_CHIPS} {service.chip} holds its weights")
    found = _separate(given, nodes) if service.separate else _together(given, nodes)
    return _priced(given, nodes, found, draws)


@dataclass(frozen=True)
class _Given:
    """The figures of all draws, and the tokens of a mean request that follow."""

    at: Mapping[str, Floats]  # (draw,)
    service: Service

    @functools.cached_property
    def prompt(self) -> Floats:
        """Tokens of the whole prompt."""
        return np.maximum(1.0, np.rint(self.at["input"]))

    @functools.cached_property
    def repeated(self) -> Floats:
        """Tokens of it that were sent before; one at least is new."""
        return np.minimum(self.prompt - 1, np.rint(self.prompt * self.at["hit rate"]))

    @functools.cached_property
    def read(self) -> Floats:
        """Tokens that prefill reads."""
        return self.prompt - self.repeated if self.service.cached else self.prompt

    @functools.cached_property
    def written(self) -> Floats:
        """Tokens of the answer."""
        return np.maximum(1.0, np.rint(self.at["output"]))

    @functools.cached_property
    def context(self) -> Floats:
        """Tokens of a sequence that decodes, in the mean."""
        return np.rint(self.prompt + self.written / 2)

    @functools.cached_property
    def round_tokens(self) -> Floats:
        """Tokens of a round of decoding."""
        return self.at["round tokens"] if self.service.drafted else np.ones_like(self.prompt)

    @functools.cached_property
    def round_s(self) -> Floats:
        """Seconds that a round may take."""
        return np.asarray(self.round_tokens / self.at["user speed"])


@dataclass(frozen=True)
class _Found:
    """The cheapest deployments: indices into the nodes and chip-seconds of a token, (draw,)."""

    prefill: Ints  # index of the deployment that reads
    decode: Ints  # index of the one that writes
    read_s: Floats  # chip-seconds of a token that is read
    write_s: Floats  # chip-seconds of a token that is written
    each: Floats  # sequences of each replica

    @property
    def index_by_phase(self) -> dict[str, Ints]:
        """The deployments by what they do."""
        return {"prefill": self.prefill, "decode": self.decode}


def _separate(given: _Given, nodes: Sequence[Deployment]) -> _Found:
    """Prefill and decode each on the deployment that is cheapest for it."""
    reading = _Side(prefill_grid(nodes, given.read), given.at["prefill share"], nodes)
    prompts = reading.largest(given.at["first token"])
    read = reading.chip_s(prompts, given.read)
    writing = _Side(decode_grid(nodes, given.context, given.service.drafted), given.at["decode share"], nodes)
    each = writing.largest(given.round_s, given.service.batch_per_chip)
    write = writing.chip_s(each, given.round_tokens)
    first, second = np.argmin(read, axis=0), np.argmin(write, axis=0)
    return _Found(first, second, _picked(read, first), _picked(write, second), _picked(each, second))


def _together(given: _Given, nodes: Sequence[Deployment]) -> _Found:
    """Prefill and decode in the same steps, which must all keep the promised speed.

    A round writes a sequence's tokens and reads the part of a prompt that belongs to them. Each phase bears the share
    of the round that it would take alone.
    """
    decoding = decode_grid(nodes, given.context, given.service.drafted)
    part = given.round_tokens / given.written  # prompts read for each round of a sequence
    reading = prefill_grid(nodes, given.read).passes[0]
    alone = _Side(decoding, given.at["decode share"], nodes)
    both = _Side(_mixed(decoding, reading, part, given.at), np.ones_like(part), nodes)
    each = both.largest(given.round_s, given.service.batch_per_chip)
    total = both.chip_s(each, given.round_tokens)
    write, read = alone.seconds(each), _scaled(reading, 1 / given.at["prefill share"]).seconds(each * part)
    with np.errstate(invalid="ignore"):
        share = np.where(each > 0, write / (write + read), 1.0)
        per_request = total * given.written  # chip-seconds of a request
    bill = np.where(np.isfinite(total), per_request, np.inf)
    best = np.argmin(bill, axis=0)
    mine = _picked(share, best)
    whole = _picked(total, best)
    return _Found(best, best, whole * (1 - mine) * given.written / given.read, whole * mine, _picked(each, best))


@dataclass(frozen=True)
class _Side:
    """The steps of a phase of all deployments at a share of the roofline."""

    grid: StepGrid
    share: Floats  # (draw,)
    nodes: Sequence[Deployment]

    def seconds(self, each: Floats) -> Floats:
        return np.asarray(self.grid.seconds(each) / self.share)

    def largest(self, limit_s: Floats, per_chip: float | None = None) -> Floats:
        """Most sequences of each replica, (deployment, draw), by halving; each draw has its own limit.

        Where no deployment is fast enough with one sequence, all of them run one and are slower than promised.
        """
        most = self.grid.most
        if per_chip is not None:
            group = np.array([float(node.tensor_parallel) for node in self.nodes])
            most = np.minimum(most, np.maximum(1.0, np.floor(per_chip * group))[:, None])
        low, high = np.zeros_like(most), most
        for _ in range(int(most.max(initial=0.0)).bit_length()):
            middle = np.ceil((low + high) / 2)
            fits: Bools = self.seconds(middle) <= limit_s * (1 + 1e-9)
            low, high = np.where(fits, middle, low), np.where(fits, high, np.maximum(middle - 1, low))
        return np.where(np.any(low > 0, axis=0), low, np.minimum(most, 1.0))

    def chip_s(self, each: Floats, tokens: Floats) -> Floats:
        """Chip-seconds of a token where each sequence gains so many in a step; infinite where none runs."""
        split = np.array([float(node.chips) for node in self.nodes]) / self.grid.replicas
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(each > 0, self.seconds(each) * split[:, None] / (each * tokens), np.inf)


def _mixed(decoding: StepGrid, reading: PassGrid, part: Floats, at: Mapping[str, Floats]) -> StepGrid:
    """Rounds of decoding, each with a part of a prompt for every sequence; at the shares of the roofline of both."""
    write = [_scaled(each, 1 / at["decode share"]) for each in decoding.passes]
    first, read = write[0], _scaled(reading, 1 / at["prefill share"])
    joined = dataclasses.replace(
        first,
        compute_s=first.compute_s + part * read.compute_s,
        read_s=first.read_s + part * read.read_s,
        log_missed=first.log_missed + part * read.log_missed,
    )
    return dataclasses.replace(decoding, passes=(joined, *write[1:]))


def _scaled(each: PassGrid, factor: Floats) -> PassGrid:
    """A pass whose seconds are multiplied."""
    seconds = {part.name: getattr(each, part.name) * factor for part in fields(each) if part.name.endswith("_s")}
    return dataclasses.replace(each, **seconds)


def _picked(table: Floats, index: Ints) -> Floats:
    return np.asarray(np.take_along_axis(table, index[None], axis=0)[0])


def _priced(given: _Given, nodes: Sequence[Deployment], found: _Found, shape: tuple[int, ...]) -> TokenCosts:
    """Dollars of the chip-seconds, and of what a hit takes beside them."""
    chip_s = given.at["rent"] / 3600 / given.at["utilisation"] * 1e6  # dollars of a million chip-seconds
    miss, output = chip_s * found.read_s, chip_s * found.write_s
    parts = _hit_parts(given, nodes, found, chip_s) if given.service.cached else {"reading it again": miss}
    hit = np.asarray(sum(parts.values()))
    tokens = given.repeated, given.prompt - given.repeated, given.written
    chips = np.array([float(node.chips) for node in nodes])
    replicas = np.array([float(node.replicas) for node in nodes])
    return TokenCosts(
        hit=_shaped(shape, hit), miss=_shaped(shape, miss), output=_shaped(shape, output),
        hit_parts=FrozenDict({name: _shaped(shape, each) for name, each in parts.items()}),
        chips=FrozenDict({name: _shaped(shape, chips[index]) for name, index in found.index_by_phase.items()}),
        batch=_shaped(shape, found.each * replicas[found.decode]),
        request=FrozenDict({kind: _shaped(shape, each) for kind, each in zip(KINDS, tokens, strict=True)}),
    )  # fmt: skip


def _shaped(shape: tuple[int, ...], each: Floats) -> Floats:
    return np.reshape(each, shape)


def _hit_parts(given: _Given, nodes: Sequence[Deployment], found: _Found, chip_s: Floats) -> dict[str, Floats]:
    """What a million hits cost: chips that look at them, chips that wait for them, and what they lie in."""
    model, kept = nodes[0].model, np.maximum(given.repeated, 1.0)
    with_prefix, alone = (model.prefill_flops(given.read, prefix).by_component for prefix in (given.repeated, 0))
    looking, computing, loaded = (np.zeros_like(kept) for _ in range(3))
    for index in np.unique(found.prefill):
        node, mine = nodes[int(index)], found.prefill == index
        more = sum(((with_prefix[name] - alone[name]) * node.flop_s[name] for name in alone), np.zeros_like(kept))
        reads = sum((with_prefix[n] * node.flop_s[n] for n in alone), np.zeros_like(kept))
        group = node.tensor_parallel / given.at["prefill share"]
        looking[mine] = (more * group)[mine]
        computing[mine] = (reads * group)[mine]
        moved = model.kv_bytes(kept, node.tensor_parallel).total * node.tensor_parallel
        loaded[mine] = (moved / given.at["load"])[mine]  # each chip of the replica loads its part
    waiting = np.maximum(0.0, loaded - computing)
    held = _stored_bytes(model, given) * given.at["kept"] / 1e9 * given.at["storage"]
    some = given.repeated > 0
    return {
        "looking at it": np.where(some, looking / kept * chip_s, 0.0),
        "loading": np.where(some, waiting / kept * chip_s, 0.0),
        "keeping": np.where(some, held / kept * 1e6, 0.0),
    }


def _stored_bytes(model: Model, given: _Given) -> Floats:
    """Bytes that a request adds to the cache: of what it reads and writes, and of one window or state at its end."""
    whole = np.rint(given.prompt + given.written)
    kept = model.kv_bytes(whole)
    return np.asarray(kept.growing * (given.read + given.written) / whole + kept.fixed)


#: Layouts by the model's identity, which keeps the model alive: it is a mapping's owner and has no hash.
_LAID_OUT: dict[tuple[int, str, bool], tuple[Model, tuple[Deployment, ...]]] = {}


def _nodes(model: Model, chip: str, drafts: bool) -> tuple[Deployment, ...]:
    """The deployments that hold a model, each size with a dense model spread over it; laid out once."""
    key = (id(model), chip, drafts)
    if key not in _LAID_OUT:
        _LAID_OUT[key] = (model, tuple(_layouts(model, chip, DraftedRound(1, 0.0) if drafts else None)))
    return _LAID_OUT[key][1]


def _layouts(model: Model, chip: str, draft: DraftedRound | None) -> Iterator[Deployment]:
    for chips in sizes(chip, MOST_CHIPS):
        yield from deployments_of(spread(model, chips), ChipHour(chip, 1.0, chips=(chips,)), draft)
