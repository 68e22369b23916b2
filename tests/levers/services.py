"""Services for tests, with plain figures, and what they cost by `Deployment` one by one."""

import dataclasses
import math

from costlab import arch, chips
from costlab.chips import Assumption, ChipHour, DraftedRound
from costlab.chips.memory import sizes
from costlab.chips.tokens import deployments_of
from costlab.levers import INPUTS, Service, spread_over

FIGURES = {
    "rent": 2.0,
    "utilisation": 0.5,
    "prefill share": 0.3,
    "decode share": 0.4,
    "user speed": 20.0,
    "first token": 4.0,
    "input": 8000,
    "hit rate": 0.5,
    "output": 500,
    "round tokens": 1.8,
    "kept": 10.0,
    "storage": 1e-5,
    "load": 20e9,
}


def figures(**instead):
    """Figures by name, some of them others: numbers, or (low, value, high)."""
    given = {**FIGURES, **{name.replace("_", " "): each for name, each in instead.items()}}
    return {name: figure(name, each) for name, each in given.items()}


def figure(name, each):
    low, value, high = each if isinstance(each, tuple) else (None, each, None)
    return Assumption(value, INPUTS[name], "a test", low=low, high=high)


def service(model="deepseek-v4-flash", chip="h800", *, cached=True, drafted=0, separate=True, batch=None, **instead):
    """A service with these figures in the place of the plain ones."""
    built = arch.load(model) if isinstance(model, str) else model
    return Service(built, chip, figures(**instead), cached, drafted, separate, batch)


@dataclasses.dataclass(frozen=True)
class ByHand:
    """Chip-seconds of a mean request, as `Deployment` counts them at each number of sequences."""

    read: float  # of the prompt
    misses: float  # of its new tokens
    write: float  # of the answer
    batch: int  # sequences that decode
    chips: tuple[int, int]  # that read, that write


def by_hand(asked):
    """A service priced by trying each deployment with one sequence more, without any array."""
    at = {name: each.value for name, each in asked.inputs().items()}
    prompt, written = at["input"], at["output"]
    prefix = min(prompt - 1, round(prompt * at["hit rate"])) if asked.cached else 0
    context, new = round(prompt + written / 2), prompt - prefix
    round_tokens = at["round tokens"] if asked.drafted else 1.0
    nodes = list(nodes_of(asked))
    if not asked.separate:
        return _together(asked, nodes, at, (prompt, prefix, new, written, context))
    reads, writes = [], []
    for node in nodes:
        each = _most(lambda n, on=node: _prefill_s(on, new, prefix, n) / at["prefill share"], at["first token"],
                     node.max_batch(prompt) // node.replicas)  # fmt: skip
        if each:
            took = _prefill_s(node, new, prefix, each) / at["prefill share"] * node.tensor_parallel / each
            reads.append((took, node))
        limit, most = round_tokens / at["user speed"], node.max_batch(context + asked.drafted) // node.replicas
        if asked.batch_per_chip is not None:
            most = min(most, max(1, math.floor(asked.batch_per_chip * node.tensor_parallel)))
        each = _most(lambda n, on=node: _round_s(on, n, context, asked.drafted) / at["decode share"], limit, most)
        if each:
            took = _round_s(node, each, context, asked.drafted) / at["decode share"] * node.tensor_parallel
            writes.append((took / each / round_tokens * written, each * node.replicas, node))
    read, reader = min(reads, key=lambda found: found[0])
    write, batch, writer = min(writes, key=lambda found: found[0])
    return ByHand(read, read * _of_new(reader, new, prefix), write, batch, (reader.chips, writer.chips))


def nodes_of(asked):
    """Every deployment that holds the model."""
    draft = DraftedRound(1, 0.0) if asked.drafted else None
    for count in sizes(asked.chip, 256):
        yield from deployments_of(spread_over(asked.model, count), ChipHour(asked.chip, 1.0, chips=(count,)), draft)


def _together(asked, nodes, at, tokens):
    """One answer token, so that a round reads a whole prompt for each sequence."""
    _, prefix, new, written, context = tokens
    assert written == 1 and asked.drafted == 0 and at["prefill share"] == at["decode share"]
    share, found = at["decode share"], []
    for node in nodes:
        most = min(node.max_batch(context) // node.replicas, 10**6)
        if asked.batch_per_chip is not None:
            most = min(most, max(1, math.floor(asked.batch_per_chip * node.tensor_parallel)))
        if _prefill_s(node, new, prefix, 1) / share > at["first token"]:
            continue
        each = _most(
            lambda n, on=node: _mixed_s(on, n, n - 1, context, new, prefix) / share, 1 / at["user speed"], most
        )
        if each:
            took = _mixed_s(node, each, each, context, new, prefix) / share * node.tensor_parallel / each
            found.append((took, each, node))
    took, each, node = min(found, key=lambda one: one[0])
    write, read = _round_s(node, each, context, 0), _prefill_s(node, new, prefix, each)
    reading = took * read / (read + write)
    return ByHand(
        reading, reading * _of_new(node, new, prefix), took - reading, each * node.replicas, (node.chips, node.chips)
    )


def _most(seconds, limit, most):
    """The largest number whose step takes at most so long, by trying powers of two and then halves."""
    if most < 1 or seconds(1) > limit:
        return 0
    low, high = 1, most + 1
    while high - low > 1:
        middle = min(2 * low, (low + high) // 2) if high > 2 * low else (low + high) // 2
        low, high = (middle, high) if seconds(middle) <= limit * (1 + 1e-9) else (low, middle)
    return low


def _prefill_s(node, new, prefix, each):
    step = node.prefill(new, prefix, batch=each * node.replicas)
    return max(step.compute_s, step.memory_s)  # sending left out, see `roofline.prefill_grid`


def _round_s(node, each, context, drafted):
    return chips.round_s(node, each * node.replicas, context, drafted)


def _mixed_s(node, each, prompts, context, new, prefix):
    alone = node.decode(each * node.replicas, context)
    if prompts < 1:
        return alone.seconds
    step = node.mixed(each * node.replicas, context, new, prefix, prompts * node.replicas)
    return max(step.compute_s, step.memory_s, alone.link_s)


def _of_new(node, new, prefix):
    """The share of prefill's arithmetic that its new tokens would take alone, with a prompt on each replica."""
    alone, all_ = (node.prefill(new, before, batch=node.replicas).compute_s for before in (0, prefix))
    return alone / all_


__all__ = ["FIGURES", "ByHand", "by_hand", "figure", "figures", "nodes_of", "service"]
