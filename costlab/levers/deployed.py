"""The deployment that serves a mean request for the fewest chip-seconds: its batch, and what each token takes of it.

Every number of chips and every split of attention is looked at, for thousands of draws at once. Steps are those of
`roofline`, at the share of it that a phase reaches; a test holds each beside `Deployment`, one draw at a time.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from costlab.arch import Model
from costlab.arrays import Bools, Floats, Ints
from costlab.chips import ChipHour, DraftedRound
from costlab.chips.memory import sizes
from costlab.chips.tokens import deployments_of
from costlab.levers.dense import spread_over
from costlab.roofline import Deployment, StepGrid, decode_grid, prefill_grid
from costlab.roofline.grids import PassGrid

#: Most chips of a deployment that is looked at.
LARGEST_DEPLOYMENT = 256
#: Most contexts of steps that are kept for the next question, and most of these steps.
_KEPT_CONTEXTS, _KEPT_STEPS = 64, 32


@dataclass(frozen=True)
class MeanRequest:
    """The figures of a service in all draws, and the tokens of a mean request that follow."""

    at: Mapping[str, Floats]  # figures by name, (draw,)
    cached: bool  # whether prompts are kept
    drafted: int  # tokens that are drafted in a round

    @functools.cached_property
    def prompt(self) -> Floats:
        """Tokens of the whole prompt."""
        return np.maximum(1.0, np.rint(self.at["input"]))

    @functools.cached_property
    def repeated(self) -> Floats:
        """Tokens of it that were sent before; one at least is new."""
        return np.minimum(self.prompt - 1, np.rint(self.prompt * self.at["hit rate"]))

    @functools.cached_property
    def prefix(self) -> Floats:
        """Tokens that are kept, so that prefill only looks at them."""
        return self.repeated if self.cached else np.zeros_like(self.prompt)

    @functools.cached_property
    def read(self) -> Floats:
        """Tokens that prefill reads."""
        return self.prompt - self.prefix

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
        return self.at["round tokens"] if self.drafted else np.ones_like(self.prompt)

    @functools.cached_property
    def round_s(self) -> Floats:
        """Seconds that a round may take."""
        return np.asarray(self.round_tokens / self.at["user speed"])


@dataclass(frozen=True)
class ChipSeconds:
    """What a mean request takes of the cheapest deployments, (draw,); infinite where none holds a sequence."""

    prefill: Ints  # index of the deployment that reads
    decode: Ints  # index of the one that writes
    misses: Floats  # chip-seconds of prefill, by arithmetic: of the tokens that it reads
    hits: Floats  # the same of looking at tokens that are kept
    writing: Floats  # chip-seconds of decoding
    each: Floats  # sequences that decode on each replica
    round_s: Floats  # seconds of a round of decoding
    first_s: Floats  # seconds in which a prompt is read


@dataclass(frozen=True, eq=False)
class Layouts:
    """The deployments that hold a model on a chip, and their steps, which are counted once for equal contexts."""

    nodes: tuple[Deployment, ...]  # each number of chips, each split of attention
    kept: dict[tuple[str, int, bytes], StepGrid] = field(default_factory=dict)  # steps by what they were asked for

    def decoding(self, request: MeanRequest) -> StepGrid:
        """Return the rounds of decoding, (deployment, draw) or (deployment, 1) where all draws have one context."""
        return self._grid("decode", request.drafted, request.context)

    def reading(self, request: MeanRequest, prefix: Floats) -> StepGrid:
        """Return the steps that read a prompt after so many tokens, (deployment, draw) or (deployment, 1)."""
        return self._grid("prefill", 0, request.read, prefix)

    def of(self, name: str) -> Floats:
        """Return a number of each deployment, (deployment, 1)."""
        return np.array([[float(getattr(node, name))] for node in self.nodes])

    def _grid(self, phase: str, drafted: int, *tokens: Floats) -> StepGrid:
        """The steps at each draw's tokens, those of equal draws counted once."""
        columns, back = np.unique(np.stack(tokens), axis=1, return_inverse=True)
        asked = phase, drafted, columns.tobytes()
        if (found := self.kept.pop(asked, None)) is None:
            first, *rest = columns
            found = decode_grid(self.nodes, first, drafted) if phase == "decode" else prefill_grid(
                self.nodes, first, *rest
            )  # fmt: skip
        if columns.shape[1] <= _KEPT_CONTEXTS:
            self.kept[asked] = found  # the newest stands last
            if len(self.kept) > _KEPT_STEPS:
                del self.kept[next(iter(self.kept))]
        return found if columns.shape[1] == 1 else _taken(found, back.reshape(-1))


def _taken(grid: StepGrid, columns: Ints) -> StepGrid:
    """The steps at the contexts of these columns."""
    passes = (_changed(each, lambda part: part[:, columns]) for each in grid.passes)
    return StepGrid(tuple(passes), grid.most[:, columns], grid.replicas)


def _changed(each: PassGrid, change: Callable[[Floats], Floats], ending: str = "") -> PassGrid:
    """A pass of which the parts with this ending are changed."""
    names = [part.name for part in fields(each) if part.name.endswith(ending)]
    return dataclasses.replace(each, **{name: change(getattr(each, name)) for name in names})


def phases_apart(request: MeanRequest, layouts: Layouts, batch_per_chip: float | None) -> ChipSeconds:
    """Return what a request takes where prefill and decode each have the deployment that is cheapest for it."""
    prompts = layouts.reading(request, request.prefix)
    reading = _Side(prompts, request.at["prefill share"], layouts)
    writing = _Side(layouts.decoding(request), request.at["decode share"], layouts)
    first_s, each = request.at["first token"], writing.largest(request.round_s, batch_per_chip)
    many = reading.largest(first_s)
    read, write = reading.chip_s(many), writing.chip_s(each) / request.round_tokens * request.written
    first, second = np.argmin(read, axis=0), np.argmin(write, axis=0)
    return ChipSeconds(
        first, second, *_shared(_picked(read, first), _picked(_looking(request, layouts, prompts), first)),
        _picked(write, second), _picked(each, second), _picked(writing.seconds(each), second),
        _picked(reading.seconds(many), first),
    )  # fmt: skip


def phases_together(request: MeanRequest, layouts: Layouts, batch_per_chip: float | None) -> ChipSeconds:
    """Return what a request takes where a replica does both phases and must keep both promises.

    A sequence's decoding waits for the prompts of the others beside it: in the mean of its answer it keeps the speed. A
    prompt is read at once, in the time to the first token. Each phase bears the share of the steps that it would take
    alone.
    """
    prompts = layouts.reading(request, request.prefix)
    reading = _Side(prompts, request.at["prefill share"], layouts)
    writing = _Side(layouts.decoding(request), request.at["decode share"], layouts)
    part = request.round_tokens / request.written  # prompts read for each round of a sequence
    each = writing.largest(request.round_s, batch_per_chip, lambda n: _mixed_s(writing, reading, n, (n - 1) * part))
    first_s = reading.seconds(np.ones_like(each))
    total = _per_sequence(_mixed_s(writing, reading, each, each * part), each, layouts) / part
    late = ~(first_s <= request.at["first token"] * (1 + 1e-9))
    total = np.where(late & ~np.all(late, axis=0), np.inf, total)  # where none is in time, all are late
    write_s, read_s = writing.seconds(each), reading.seconds(each * part)
    best = np.argmin(total, axis=0)
    whole, share = _picked(total, best), _picked(write_s / (write_s + read_s), best)
    return ChipSeconds(
        best, best, *_shared(whole * (1 - share), _picked(_looking(request, layouts, prompts), best)), whole * share,
        _picked(each, best), _picked(_mixed_s(writing, reading, each, (each - 1) * part), best),
        _picked(first_s, best),
    )  # fmt: skip


def _shared(prefill: Floats, looking: Floats) -> tuple[Floats, Floats]:
    """Chip-seconds of misses and of hits, of which the second are a share; both infinite where nothing runs."""
    with np.errstate(invalid="ignore"):
        return prefill * (1 - looking), np.where(np.isfinite(prefill), prefill * looking, np.inf)


def _looking(request: MeanRequest, layouts: Layouts, prompts: StepGrid) -> Floats:
    """The share of prefill's arithmetic that tokens before the prompt's new ones cause, (deployment, draw)."""
    alone = layouts.reading(request, np.zeros_like(request.prefix)).passes[0].compute_s
    return np.broadcast_to(1 - alone / prompts.passes[0].compute_s, (len(layouts.nodes), request.prefix.size))


@dataclass(frozen=True)
class _Side:
    """The steps of a phase of all deployments at a share of the roofline."""

    grid: StepGrid
    share: Floats  # (draw,)
    layouts: Layouts

    def seconds(self, each: Floats) -> Floats:
        """Seconds of a step with so many sequences, or prompts, on each replica, (deployment, draw)."""
        return np.asarray(self.grid.seconds(each) / self.share)

    def largest(
        self, limit_s: Floats, per_chip: float | None = None, seconds: Callable[[Floats], Floats] | None = None
    ) -> Floats:
        """Most sequences of each replica, (deployment, draw), by halving; each draw has its own limit.

        Where no deployment is fast enough with one sequence, all of them run one and are slower than promised.
        """
        took = seconds or self.seconds
        most = np.broadcast_to(self.grid.most, (len(self.layouts.nodes), limit_s.size))
        if per_chip is not None:
            most = np.minimum(most, np.maximum(1.0, np.floor(per_chip * self.layouts.of("tensor_parallel"))))
        low, high = np.zeros_like(most), most
        for _ in range(int(most.max(initial=0.0)).bit_length()):
            middle = np.ceil((low + high) / 2)
            fits: Bools = took(middle) <= limit_s * (1 + 1e-9)
            low, high = np.where(fits, middle, low), np.where(fits, high, np.maximum(middle - 1, low))
        return np.where(np.any(low > 0, axis=0), low, np.minimum(most, 1.0))

    def chip_s(self, each: Floats) -> Floats:
        """Chip-seconds of a sequence in a step, (deployment, draw); infinite where none runs."""
        return _per_sequence(self.seconds(each), each, self.layouts)


def _per_sequence(seconds: Floats, each: Floats, layouts: Layouts) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(each > 0, seconds * layouts.of("tensor_parallel") / each, np.inf)


def _mixed_s(writing: _Side, reading: _Side, each: Floats, prompts: Floats) -> Floats:
    """Seconds of a round that decodes so many sequences on each replica and reads so many prompts, or parts of one.

    Weights are read once for both; arithmetic, memory and sending add up, each phase's at its share of the roofline.
    """
    write = [_changed(each, lambda seconds: seconds / writing.share, "_s") for each in writing.grid.passes]
    first, read = write[0], _changed(reading.grid.passes[0], lambda seconds: seconds / reading.share, "_s")
    part = np.maximum(prompts, 0.0) / np.maximum(each, 1.0)
    joined = dataclasses.replace(
        first,
        compute_s=first.compute_s + part * read.compute_s,
        read_s=first.read_s + part * read.read_s,
        log_missed=first.log_missed + part * read.log_missed,
    )
    return dataclasses.replace(writing.grid, passes=(joined, *write[1:])).seconds(each)


def _picked(table: Floats, index: Ints) -> Floats:
    return np.asarray(np.take_along_axis(table, index[None], axis=0)[0])


# --- layouts ---------------------------------------------------------------------------------------------------

#: Layouts by the model's identity, which keeps the model alive: it is a mapping's owner and has no hash. The newest
#: stand last.
_LAID_OUT: dict[tuple[int, str, bool], tuple[Model, Layouts]] = {}
#: Most layouts that are kept: a product has 32, of eight forms of its model on two chips, drafting or not.
_MOST_LAID_OUT = 192


def layouts_of(model: Model, chip: str, drafts: bool) -> Layouts:
    """Return the deployments that hold a model, a dense model spread over the chips of each; laid out once.

    Args:
        model: as stored and multiplied.
        chip: key in the catalog.
        drafts: whether its own modules lie beside it.

    Raises:
        ValueError: an unknown chip; a model that no deployment holds.
    """
    key = (id(model), chip.lower(), drafts)
    found = _LAID_OUT.pop(key, None) or (model, _laid_out(model, chip, DraftedRound(1, 0.0) if drafts else None))
    _LAID_OUT[key] = found
    if len(_LAID_OUT) > _MOST_LAID_OUT:
        del _LAID_OUT[next(iter(_LAID_OUT))]
    return found[1]


def _laid_out(model: Model, chip: str, draft: DraftedRound | None) -> Layouts:
    nodes = tuple(_each(model, chip, draft))
    if not nodes:
        raise ValueError(f"{model.name}: no deployment of up to {LARGEST_DEPLOYMENT} {chip} holds its weights")
    return Layouts(nodes)


def _each(model: Model, chip: str, draft: DraftedRound | None) -> Iterator[Deployment]:
    for chips in sizes(chip, LARGEST_DEPLOYMENT):
        yield from deployments_of(spread_over(model, chips), ChipHour(chip, 1.0, chips=(chips,)), draft)


__all__ = [
    "LARGEST_DEPLOYMENT",
    "ChipSeconds",
    "Layouts",
    "MeanRequest",
    "layouts_of",
    "phases_apart",
    "phases_together",
]
