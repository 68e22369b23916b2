"""Where drafted tokens come from: a smaller model, MTP modules, the text itself, a counted table, or a token tree.

Each draft says by which law it drew its tokens, for the rule that accepts them depends on it: a token that was chosen
without chance (an argmax, a copy) has a one-hot law, whatever scores it was chosen by. What a draft's model has read is
compared with the text before each round and taken back from the first difference on; so it makes no difference whether
a round accepted all of its tokens, some or none, or had none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from costlab.arrays import Floats, Ints
from costlab.checks import count
from costlab.nn.speculative.model import MTP
from costlab.nn.speculative.rounds import Law, Line, Proposal
from costlab.nn.speculative.runners import ByteRunner, Runner, padded
from costlab.speculative import check_vocabulary, distinct_candidates, draw


class Proposer(Protocol):
    """What proposes tokens for each sequence of a batch."""

    rows: int  # most tokens that it proposes for a sequence

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Begin with new sequences.

        Args:
            target: whose tokens are drafted.
            batch: sequences.
            capacity: tokens that a text can reach, drafted ones included.
            law: by which drafts are drawn from a model's logits; None: the likeliest token is taken.

        Raises:
            ValueError: a target that it can't draft for.
        """

    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return what each sequence should try next; nothing is a proposal too."""

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""


class NoDraft:
    """Proposes nothing: each pass of the target emits one token."""

    rows = 0

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Begin with new sequences; arguments as `Proposer.start`'s."""

    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return nothing for each sequence."""
        return [Proposal()] * len(lines)

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""


def matching(drafted: Sequence[int], text: Sequence[int], start: int) -> int:
    """Return how many of the drafted tokens, from the first on, stand in a text from a place on."""
    found = 0
    while found < len(drafted) and start + found < len(text) and drafted[found] == text[start + found]:
        found += 1
    return found


def likeliest(scores: Floats, k: int) -> Ints:
    """Return the k likeliest tokens of each row, best first, of equal ones the lower, (…, k).

    Args:
        scores: logits or probabilities, (…, vocabulary).
        k: how many.
    """
    if k == 1:
        return scores.argmax(-1)[..., None]
    return np.argsort(-scores, axis=-1, kind="stable")[..., :k]


class _Chains:
    """Chains of drafted tokens, one by sequence, which grow together; with children, combs: each token has siblings."""

    def __init__(self, lines: Sequence[Line], wanted: Sequence[int], law: Law | None, children: int = 1) -> None:
        self.lines, self.wanted, self.children = lines, wanted, children
        self.law = law if children == 1 else None  # several children are chosen without chance
        self.tokens: list[list[int]] = [[] for _ in lines]
        self.siblings: list[list[list[int]]] = [[] for _ in lines]
        self._laws: list[list[Floats]] = [[] for _ in lines]

    def going(self, step: int) -> list[int]:
        """Return the sequences that want more than `step` tokens."""
        return [sequence for sequence, wanted in enumerate(self.wanted) if wanted > step]

    def extend(self, going: Sequence[int], logits: Floats) -> None:
        """Add a token to the chains of some sequences, from logits, (sequences, vocabulary)."""
        if self.law is not None:
            laws = self.law(logits)
            best = draw(laws, [self.lines[sequence].drawing.random() for sequence in going])[:, None]
            for sequence, own in zip(going, laws, strict=True):
                self._laws[sequence].append(own)
        else:
            best = likeliest(logits, self.children)
        for sequence, (token, *others) in zip(going, best.tolist(), strict=True):
            self.tokens[sequence].append(token)
            self.siblings[sequence].append(others)

    def proposals(self) -> list[Proposal]:
        """Return what has been drafted."""
        return [self._proposal(sequence) for sequence in range(len(self.lines))]

    def _proposal(self, sequence: int) -> Proposal:
        tokens, laws = self.tokens[sequence], self._laws[sequence]
        if self.children == 1:
            return Proposal(tokens, np.stack(laws) if laws else None, steps=len(tokens))
        levels = zip(tokens, self.siblings[sequence], strict=True)
        nodes = [node for token, others in levels for node in (token, *others)]
        parents = [
            self.children * (node // self.children - 1) if node >= self.children else -1 for node in range(len(nodes))
        ]
        return Proposal(nodes, None, parents, len(tokens))


def _nothing_drafted(batch: int) -> tuple[list[int], list[list[int]]]:
    """Return, by sequence, how long its text was at its last drafts, and those drafts."""
    return [0] * batch, [[] for _ in range(batch)]


class ModelDraft:
    """A smaller model that reads the text and goes on with it, token by token; after its own context, no more.

    Args:
        runner: the smaller model.
        length: tokens to draft in a round.
        children: tokens to try at each position; above 1 the likeliest ones, and the chain goes on behind the first.

    Raises:
        ValueError: a length or children below 1.
    """

    def __init__(self, runner: Runner, length: int = 3, children: int = 1) -> None:
        self.runner = runner
        self.length, self.children = count(length, "length"), count(children, "children")
        self.rows = self.length * self.children

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Begin with new sequences; arguments as `Proposer.start`'s.

        Raises:
            ValueError: a vocabulary that is not the target's.
        """
        check_vocabulary(target.vocabulary.names, self.runner.vocabulary.names)
        self.runner.start(batch, min(capacity, self.runner.context))
        self.law = law
        self._after, self._drafted = _nothing_drafted(batch)

    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return a chain for each sequence, shorter where its room or the draft's context ends."""
        self._forget(lines)
        ends = [self.runner.context - len(line.text) + 1 for line in lines]  # the last token drafted need not be read
        wanted = [max(0, min(self._depth(line), end)) for line, end in zip(lines, ends, strict=True)]
        chains = _Chains(lines, wanted, self.law, self.children)
        for step in range(max(chains.wanted)):
            going = chains.going(step)
            rows: list[Sequence[int]] = [()] * len(lines)
            for sequence in going:
                unread = lines[sequence].text[self.runner.lengths[sequence] :]
                rows[sequence] = chains.tokens[sequence][-1:] or unread
            logits = self.runner.read(rows)
            chains.extend(going, logits[going, [len(rows[sequence]) - 1 for sequence in going]])
        for sequence in chains.going(0):
            self._after[sequence], self._drafted[sequence] = len(lines[sequence].text), chains.tokens[sequence]
        return chains.proposals()

    def _depth(self, line: Line) -> int:
        return min(self.length, line.room, line.rows // self.children)

    def _forget(self, lines: Sequence[Line]) -> None:
        """Take back what has been read from the first token on that did not come to stand in the text."""
        told = zip(self._after, self._drafted, lines, strict=True)
        right = [after + matching(drafted, line.text, after) for after, drafted, line in told]
        self.runner.rewind([min(pair) for pair in zip(self.runner.lengths, right, strict=True)])

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
        self.runner.only(sequences)
        self._after = [self._after[each] for each in sequences]
        self._drafted = [self._drafted[each] for each in sequences]


class MTPDraft:
    """The target's own MTP modules, each of which drafts one token further than the one before it.

    Module k reads, in row i, the target's residual of that row (through the modules before) and token i + k. Where
    that token was a draft that was rejected, the row is read again: so modules read a few rows in each round.

    Args:
        mtp: the modules.
        length: tokens to draft in a round; None: one by each module.
        children: tokens to try at each position; above 1 the likeliest ones, and the chain goes on behind the first.

    Raises:
        ValueError: a length below 1 or above the number of modules, or children below 1.
    """

    def __init__(self, mtp: MTP, length: int | None = None, children: int = 1) -> None:
        self.mtp = mtp.eval()
        self.length, self.children = count(length or len(mtp.ahead), "length"), count(children, "children")
        self.rows = self.length * self.children
        if self.length > len(mtp.ahead):
            raise ValueError(f"length = {length} is more than {len(mtp.ahead)} modules draft, each one token")

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Begin with new sequences; arguments as `Proposer.start`'s.

        Raises:
            ValueError: a target that is not the model whose modules these are.
        """
        if not isinstance(target, ByteRunner) or self.mtp.model is not target.model:
            raise ValueError("MTP modules draft for the model that they were trained with, and for no other")
        self.target, self.law = target, law
        capacity = min(capacity, target.context)
        self.caches = self.mtp.new_caches(batch, capacity)[: self.length]
        self.hidden = target.model.head.weight.new_zeros(batch, capacity, target.model.size.hidden)
        self._right = [0] * batch  # rows that every module has read with the right tokens
        self._after, self._drafted = _nothing_drafted(batch)

    @torch.inference_mode()
    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return a chain for each sequence, shorter where its room ends; none behind a text of a single token."""
        self._remember(lines)
        ends = [len(line.text) - 1 for line in lines]  # rows that the target has read
        wanted = [self._depth(line) if end else 0 for line, end in zip(lines, ends, strict=True)]
        chains = _Chains(lines, wanted, self.law, self.children)
        spans = [end - right if want else 0 for end, right, want in zip(ends, self._right, wanted, strict=True)]
        hidden = self._rows(max(spans))
        tokens = [line.text[len(line.text) - span :] for line, span in zip(lines, spans, strict=True)]
        for depth, cache in enumerate(self.caches[: max(wanted)], 1):
            going = chains.going(depth - 1)
            counts = [span if want >= depth else 0 for span, want in zip(spans, wanted, strict=True)]
            hidden = self.mtp.read(depth, hidden, padded(tokens)[0], cache, counts)  # (batch, most rows, hidden)
            last = hidden[going, [spans[sequence] - 1 for sequence in going]]
            chains.extend(going, self.mtp.logits(depth, last).numpy())
            for sequence in going:  # each row's next token
                tokens[sequence] = [*tokens[sequence][1:], chains.tokens[sequence][-1]]
        for sequence in chains.going(0):
            self._after[sequence], self._drafted[sequence] = len(lines[sequence].text), chains.tokens[sequence]
        return chains.proposals()

    def _depth(self, line: Line) -> int:
        return min(self.length, line.room, line.rows // self.children)

    def _remember(self, lines: Sequence[Line]) -> None:
        """Keep the residuals of the target's last rows, and take back the modules' rows whose tokens were rejected."""
        cache = self.target.cache
        for sequence, (start, stop) in enumerate(zip(cache.starts, cache.lengths, strict=True)):
            self.hidden[sequence, start:stop] = self.target.hidden[sequence, : stop - start]
        for sequence, line in enumerate(lines):
            after, drafted = self._after[sequence], self._drafted[sequence]
            if len(drafted) == self.length:  # else the last module has not read, and knows what it knew before
                right = after + matching(drafted, line.text, after) - self.length
                self._right[sequence] = max(0, min(after - 1, right))
        for cache in self.caches:
            cache.rewind(self._right)

    def _rows(self, most: int) -> Tensor:
        """Return the residuals that the first module has to read, (batch, most, hidden); those behind are padding."""
        at = (torch.tensor(self._right)[:, None] + torch.arange(most)).clamp(max=self.hidden.shape[1] - 1)
        return self.hidden[torch.arange(len(at))[:, None], at]

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
        for cache in self.caches:
            cache.only(sequences)
        self.hidden = self.hidden[list(sequences)]
        self._right = [self._right[each] for each in sequences]
        self._after = [self._after[each] for each in sequences]
        self._drafted = [self._drafted[each] for each in sequences]


class TreeDraft:
    """A smaller model that drafts a token tree: several tokens behind the text, several behind each of them, and so on.

    It reads the whole tree again for each level, in one pass with tree attention. The target reads it in one pass too.

    Args:
        runner: the smaller model; it must read trees.
        widths: children of the text, of each of these, and so on.
        drawn: draw the children without replacement, above temperature 0; else the likeliest are taken.

    Raises:
        ValueError: no width, or one below 1.
    """

    def __init__(self, runner: Runner, widths: Sequence[int] = (3, 2, 1), drawn: bool = False) -> None:
        self.runner = runner
        self.widths = [count(width, "width") for width in widths]
        if not self.widths:
            raise ValueError("a tree needs the width of a level at least")
        self.drawn = drawn
        self.rows = int(np.cumprod(self.widths).sum())

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Begin with new sequences; arguments as `Proposer.start`'s.

        Raises:
            ValueError: a vocabulary that is not the target's.
        """
        check_vocabulary(target.vocabulary.names, self.runner.vocabulary.names)
        self.runner.start(batch, min(capacity, self.runner.context))
        self.law = law if self.drawn else None

    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return a tree for each sequence, smaller where its room or the draft's context ends."""
        rooms = [min(line.rows, self.runner.context - len(line.text)) for line in lines]
        trees = [_Tree(line, room, self.law) for line, room in zip(lines, rooms, strict=True)]
        for level, width in enumerate(self.widths):
            wanting = [tree.wants(level) for tree in trees]
            if not any(wanting):
                break
            held = self.runner.lengths
            rows = [
                (tree.tokens or tree.line.text[length:]) if wants else []
                for tree, length, wants in zip(trees, held, wanting, strict=True)
            ]
            parents = [tree.parents if wants else [] for tree, wants in zip(trees, wanting, strict=True)]
            logits = self.runner.read(rows, parents if level else None)
            for tree, read, own, wants in zip(trees, logits, rows, wanting, strict=True):
                if wants:
                    tree.grow(read[len(own) - tree.leaves : len(own)], width)
            if level:
                self.runner.rewind(held)  # of the first pass, over the text, all stays
        return [tree.proposal() for tree in trees]

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
        self.runner.only(sequences)


class _Tree:
    """A token tree that grows level by level."""

    def __init__(self, line: Line, room: int, law: Law | None) -> None:
        self.line, self.room, self.law = line, room, law
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.laws: list[Floats] = []
        self.levels = 0
        self.leaves = 1  # nodes of the last level, at first the text itself

    def wants(self, level: int) -> bool:
        """Return whether it has so many levels, and room for another."""
        return level == self.levels < self.line.room and len(self.tokens) < self.room

    def grow(self, logits: Floats, width: int) -> None:
        """Give each leaf children, as long as there is room; logits behind each, (leaves, vocabulary)."""
        before = len(self.tokens)
        first = before - self.leaves if self.levels else -1
        for leaf, (tokens, laws) in enumerate(self._children(logits, width)):
            fitting = self.room - len(self.tokens)
            self.tokens += tokens[:fitting]
            self.parents += [first + leaf] * len(tokens[:fitting])
            self.laws += laws[:fitting]
        self.leaves = len(self.tokens) - before
        self.levels += 1

    def _children(self, logits: Floats, width: int) -> list[tuple[list[int], list[Floats]]]:
        """Return for each leaf the children's tokens, and if they were drawn the law of each."""
        if self.law is None:
            return [(tokens, []) for tokens in likeliest(logits, width).tolist()]
        drawn = [distinct_candidates(q, width, self.line.drawing) for q in self.law(logits)]
        return [(each.tokens.tolist(), list(each.laws)) for each in drawn]

    def proposal(self) -> Proposal:
        """Return the tree."""
        return Proposal(self.tokens, np.stack(self.laws) if self.laws else None, self.parents, self.levels)
