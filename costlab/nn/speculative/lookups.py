"""Drafts without a model: the text itself, and a table of n-grams that was counted before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costlab.checks import count
from costlab.nn.speculative.ngram import NGrams
from costlab.nn.speculative.rounds import Law, Line, Proposal
from costlab.nn.speculative.runners import BYTE_VOCABULARY, Runner
from costlab.speculative import check_vocabulary, draw


class LookupDraft:
    """Copies what followed the text's last tokens where they stood before: the last place of the longest match.

    Where the copy reaches the text's end it goes on with what it has copied, so a loop is continued at any length.

    Args:
        length: tokens to draft in a round.
        longest: tokens of the longest match that is looked for; shorter ones follow, down to one token.

    Raises:
        ValueError: a length or a longest match below 1.

    Source: prompt lookup, https://github.com/apoorvumang/prompt-lookup-decoding
    """

    def __init__(self, length: int = 8, longest: int = 3) -> None:
        self.rows = count(length, "length")
        self.longest = count(longest, "longest")

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Begin with new sequences; arguments as `Proposer.start`'s."""
        self._places: list[dict[tuple[int, ...], int]] = [{} for _ in range(batch)]  # behind the last of each n-gram
        self._known = [0] * batch  # tokens of each text whose n-grams are known

    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return a copy for each sequence whose last token has been seen before."""
        return [Proposal(self._copied(sequence, line)) for sequence, line in enumerate(lines)]

    def _copied(self, sequence: int, line: Line) -> list[int]:
        text, places = line.text, self._places[sequence]
        for end in range(self._known[sequence] + 1, len(text)):  # not the text's own last n-gram
            for n in range(1, min(self.longest, end) + 1):
                places[tuple(text[end - n : end])] = end
        self._known[sequence] = len(text) - 1
        for n in range(min(self.longest, len(text)), 0, -1):
            if found := places.get(tuple(text[-n:])):
                return continued(text, found, min(self.rows, line.room))
        return []

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
        self._places = [self._places[each] for each in sequences]
        self._known = [self._known[each] for each in sequences]


def continued(text: Sequence[int], place: int, length: int) -> list[int]:
    """Return `length` tokens copied from a place of the text on, and behind its end from the copy itself."""
    copy = list(text[place : place + length])
    while copy and len(copy) < length:
        copy += copy[: length - len(copy)]
    return copy


class TableDraft:
    """Goes on with what followed the last bytes in a text that was counted before.

    Args:
        table: of n-grams.
        length: bytes to draft in a round.
        drawn: above temperature 0 draw from the table's law; else the most frequent byte is taken.

    Raises:
        ValueError: a length below 1.
    """

    def __init__(self, table: NGrams, length: int = 5, drawn: bool = True) -> None:
        self.table = table
        self.rows = count(length, "length")
        self.drawn = drawn

    def start(self, target: Runner, batch: int, capacity: int, law: Law | None) -> None:
        """Begin with new sequences; arguments as `Proposer.start`'s.

        Raises:
            ValueError: a target whose tokens are no bytes.
        """
        check_vocabulary(target.vocabulary.names, BYTE_VOCABULARY.names)
        self.law = law if self.drawn else None

    def propose(self, lines: Sequence[Line]) -> list[Proposal]:
        """Return a chain for each sequence."""
        return [self._guessed(line, min(self.rows, line.room)) for line in lines]

    def _guessed(self, line: Line, length: int) -> Proposal:
        before = bytes(line.text[-self.table.order :])
        if self.law is None or not length:
            return Proposal(list(self.table.guess(before, length)))
        laws = np.empty((length, len(BYTE_VOCABULARY)))
        text = bytearray(before)
        for row in laws:
            row[:] = self.law(np.log(self.table.law(bytes(text))))
            text.append(int(draw(row, line.drawing.random())))
        return Proposal(list(text[len(before) :]), laws)

    def only(self, sequences: Sequence[int]) -> None:
        """Go on with these sequences of the batch, in this order."""
