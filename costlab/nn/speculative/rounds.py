"""One round: what was drafted for each sequence, and what the target's pass over it emits.

The rules are `costlab.speculative`'s: `verify_many` for chains, `walk` for token trees. At temperature 0 all laws are
one-hot and the rule comes down to this: go on as long as a drafted token is the target's likeliest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from costlab.arrays import Floats
from costlab.speculative import Streams, Walk, draw, one_hot, verify_many, walk

#: From logits (…, vocabulary) to the laws that tokens are drawn from.
Law = Callable[[Floats], Floats]
#: From all tokens of a sequence so far and the next one's logits, (vocabulary,), to other logits, such as a penalty's.
Processor = Callable[[Sequence[int], Floats], Floats]


@dataclass
class Line:
    """One sequence of a batch, as drafts and rules see it."""

    text: list[int]  # tokens of the prompt, and those emitted
    room: int  # most drafted tokens that may follow one another
    rows: int  # most drafted tokens, those of a tree's branches together
    drawing: Generator  # the sequence's own random numbers for drafts
    streams: Streams  # and for the rule


@dataclass(frozen=True)
class Proposal:
    """What was drafted for one sequence."""

    tokens: Sequence[int] = ()  # in order; of a tree parents come before children
    laws: Floats | None = None  # that each was drawn from, (tokens, vocabulary); None: chosen without chance
    parents: Sequence[int] | None = None  # of a tree's nodes, -1 for those after the text; None: a chain
    steps: int = 0  # passes of the draft's own model that it took

    @property
    def above(self) -> Sequence[int]:
        """The node above each token, also of a chain's."""
        return range(-1, len(self.tokens) - 1) if self.parents is None else self.parents

    def q(self, vocabulary: int) -> Floats:
        """Return the law that each token was drawn from, one-hot for those chosen without chance."""
        return one_hot(np.asarray(self.tokens, dtype=np.int64), vocabulary) if self.laws is None else self.laws

    def goes_on(self, kept: Sequence[int]) -> bool:
        """Return whether something was drafted behind the last of the kept nodes."""
        return (kept[-1] if kept else -1) in self.above


def trees(proposals: Sequence[Proposal]) -> list[list[int]] | None:
    """Return the row above each row of a pass, of which row 0 is the text's last token; None where all are chains."""
    if all(proposal.parents is None for proposal in proposals):
        return None
    return [[-1, *(parent + 1 for parent in proposal.above)] for proposal in proposals]


def decide(
    lines: Sequence[Line],
    proposals: Sequence[Proposal],
    logits: Floats,
    law: Law | None = None,
    processor: Processor | None = None,
) -> list[Walk]:
    """Return what each sequence emits: drafted tokens that are kept, and one more.

    Args:
        lines: the sequences.
        proposals: what was drafted for each.
        logits: the target's, behind each text and behind each drafted token, (sequences, most rows, vocabulary).
        law: from them to the target's law; None: all on the likeliest token.
        processor: changes them first.

    Raises:
        ValueError: a processor that answers the same question in two ways; what the rule refuses.
    """
    rows = _own_rows(proposals, logits)
    if processor is not None:
        rows = _processed(lines, proposals, rows, processor)
    counts = [1 + len(proposal.tokens) for proposal in proposals]
    starts = [0, *itertools.accumulate(counts)]
    if law is None:
        likeliest = rows.argmax(-1).tolist()
        return [greedy(proposal, likeliest[start:]) for proposal, start in zip(proposals, starts, strict=False)]
    p = law(rows)  # (rows, vocabulary)
    found: dict[int, Walk] = {}
    alike: dict[int, list[int]] = {}  # chains of one length are verified together
    for number, (line, proposal) in enumerate(zip(lines, proposals, strict=True)):
        if proposal.parents is None:
            alike.setdefault(counts[number], []).append(number)
        else:
            own = p[starts[number] : starts[number + 1]]
            found[number] = walk(proposal.tokens, proposal.parents, proposal.q(p.shape[-1]), own, line.streams)
    for count, numbers in alike.items():
        laws = p[np.array([starts[number] for number in numbers])[:, None] + np.arange(count)]
        verified = _verified([lines[i].streams for i in numbers], [proposals[i] for i in numbers], laws)
        found |= zip(numbers, verified, strict=True)
    return [found[number] for number in range(len(lines))]


def _own_rows(proposals: Sequence[Proposal], logits: Floats) -> Floats:
    """Return the rows of all sequences one after another, (rows, vocabulary), without padding."""
    counts = [1 + len(proposal.tokens) for proposal in proposals]
    if set(counts) == {logits.shape[1]}:
        return logits.reshape(-1, logits.shape[-1])
    return np.concatenate([each[:own] for each, own in zip(logits, counts, strict=True)])


def _verified(streams: Sequence[Streams], chains: Sequence[Proposal], p: Floats) -> list[Walk]:
    """Return what chains of one length emit, by each sequence's own random numbers; p: (chains, rows, vocabulary)."""
    last = [each.last.random() for each in streams]
    if p.shape[1] == 1:  # nothing was drafted: the target's own draw
        return [Walk(token, ()) for token in draw(p, np.array(last)[:, None])]
    accept = [each.accept.random(p.shape[1] - 1) for each in streams]
    q = np.stack([each.q(p.shape[-1]) for each in chains])
    rounds = verify_many([each.tokens for each in chains], q, p, accept, last)
    kept = zip(rounds.tokens, rounds.accepted.tolist(), strict=True)
    return [Walk(tokens[: accepted + 1], tuple(range(accepted))) for tokens, accepted in kept]


def greedy(proposal: Proposal, likeliest: Sequence[int]) -> Walk:
    """Return what a round emits at temperature 0.

    Args:
        proposal: a chain or a tree.
        likeliest: the target's token behind the text and behind each drafted token.
    """
    below = {pair: node for node, pair in enumerate(zip(proposal.above, proposal.tokens, strict=True))}
    nodes = [-1]
    while (node := below.get((nodes[-1], likeliest[nodes[-1] + 1]))) is not None:
        nodes.append(node)
    return Walk(np.array([likeliest[node + 1] for node in nodes]), tuple(nodes[1:]))


def _processed(lines: Sequence[Line], proposals: Sequence[Proposal], rows: Floats, processor: Processor) -> Floats:
    """Return logits as a processor changes them, each by the text and the drafted tokens above it."""
    given = iter(rows)
    return np.stack(
        [
            _asked(processor, [*line.text, *path], next(given), twice=not path)
            for line, proposal in zip(lines, proposals, strict=True)
            for path in _paths(proposal)
        ]
    )


def _paths(proposal: Proposal) -> list[list[int]]:
    """Return the drafted tokens that each row of the pass has read, from the text on."""
    paths: list[list[int]] = [[]]
    for token, parent in zip(proposal.tokens, proposal.above, strict=True):
        paths.append([*paths[parent + 1], token])
    return paths


def _asked(processor: Processor, text: list[int], logits: Floats, twice: bool) -> Floats:
    answers = [np.asarray(processor(list(text), logits.copy())) for _ in range(1 + twice)]
    if not np.array_equal(answers[0], answers[-1]):
        raise ValueError(
            f"processor {processor!r} gave two answers for one text: it keeps a state, which rejected drafts would "
            "spoil. It should depend on its arguments alone"
        )
    return answers[0]
