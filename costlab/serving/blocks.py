"""Paged memory for keys and values: who holds how many blocks, in pairs of ask and do.

Sequences that decode all grow by one token a step. When a sequence needs its next block depends on nothing but its
length modulo the block's size. So it is enough to count sequences by this residue: what any number of steps allocate
is then a sum, however many sequences there are, and the sum is taken only when somebody has to know it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from costlab.checks import count


class Blocks:
    """The blocks of one memory: free ones, and those of each holder.

    A holder takes blocks (`take`) until it gives all of them back (`give`). A holder that grows (`grow_from`) gets a
    block whenever its tokens have filled those it has, until `stop`.

    Args:
        total: blocks of the memory.
        block_tokens: tokens of a block.

    Raises:
        ValueError: sizes that are no counts.
    """

    def __init__(self, total: int, block_tokens: int = 16) -> None:
        self.total, self.block_tokens = count(total, "blocks"), count(block_tokens, "block_tokens")
        self.peak = 0  # the most that were held at one time, when anybody gave some back
        self._held: dict[Hashable, int] = {}  # blocks of each holder; of one that grows, as they were when it began
        # by holder that grows: its tokens less the clock's, when it began, and the blocks that it may come to
        self._growing: dict[Hashable, tuple[int, int]] = {}
        self._residues = [0] * self.block_tokens  # growing holders by (tokens less clock) modulo a block's
        self.clock = 0  # tokens by which all growing holders have grown
        self._free, self._as_of = self.total, 0  # free blocks, when the clock stood there
        self._promised = 0  # blocks of all holders, of those that grow the most they may come to

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        if self._as_of != self.clock:
            self._free -= self._between(self._as_of, self.clock)
            self._as_of = self.clock
        return self._free

    @property
    def used(self) -> int:
        """Blocks that somebody holds."""
        return self.total - self.free

    @property
    def holders(self) -> Collection[Hashable]:
        """Who has blocks."""
        return self._held.keys()

    def needed(self, tokens: int) -> int:
        """Return the blocks that so many tokens fill."""
        return -(-tokens // self.block_tokens)

    def held(self, holder: Hashable) -> int:
        """Return the blocks of a holder."""
        growing = self._growing.get(holder)
        return self._held.get(holder, 0) if growing is None else self.needed(growing[0] + self.clock)

    # --- holders that stay as they are -------------------------------------------------------------------------

    def lacking(self, holder: Hashable, tokens: int) -> int:
        """Return how many blocks a holder that does not grow lacks for so many tokens."""
        lacking = -(-tokens // self.block_tokens) - self._held.get(holder, 0)
        return lacking if lacking > 0 else 0

    def can_take(self, blocks: int, spare: int = 0) -> bool:
        """Say whether so many blocks are free and `spare` remain."""
        return self._promised + blocks + spare <= self.total or blocks + spare <= self.free

    def take(self, holder: Hashable, blocks: int) -> None:
        """Give a holder further blocks.

        Raises:
            ValueError: not enough are free; nothing has changed then.
        """
        if blocks:
            if not self.can_take(blocks):
                raise ValueError(f"no room for {blocks} blocks: {self.free} of {self.total} are free")
            self._free -= blocks
            self._promised += blocks
            self._held[holder] = self._held.get(holder, 0) + blocks

    def give(self, holder: Hashable) -> int:
        """Take all blocks of a holder back, and return how many they are; none if it holds none."""
        used = self.total - self.free
        if used > self.peak:
            self.peak = used
        if holder in self._growing:
            self.stop(holder)
        blocks = self._held.pop(holder, 0)
        self._free += blocks
        self._promised -= blocks
        return blocks

    # --- holders that grow -------------------------------------------------------------------------------------

    def grow_from(self, holder: Hashable, tokens: int, most: int) -> None:
        """Let a holder grow with all others that do, from `tokens` on, for which it has the blocks, up to `most`.

        Whole blocks that it took beyond them are free again, unless they suffice for `most`: then it need not grow.
        """
        size = self.block_tokens
        held, needed, most = self._held.get(holder, 0), -(-tokens // size), -(-most // size)
        if held < most:
            self._free = self.free + held - needed
            self._promised += most - held
            self._held[holder] = needed
            start = tokens - self.clock
            self._growing[holder] = start, most
            self._residues[start % size] += 1

    def stop(self, holder: Hashable) -> None:
        """Let a holder grow no more; it keeps its blocks."""
        if holder in self._growing:
            self._free = self.free
            start, most = self._growing.pop(holder)
            self._residues[start % self.block_tokens] -= 1
            held = self._held[holder] = -(-(start + self.clock) // self.block_tokens)
            self._promised += held - most

    def growth(self, tokens: int = 1) -> int:
        """Return the blocks that all growing holders together need for so many further tokens each."""
        return self._between(self.clock, self.clock + tokens)

    def can_grow(self, tokens: int = 1, spare: int = 0) -> bool:
        """Say whether all growing holders can grow by so many tokens, up to their most, and `spare` blocks remain."""
        return self._promised + spare <= self.total or self.growth(tokens) + spare <= self.free

    def grow(self, tokens: int = 1) -> None:
        """Let all growing holders grow by so many tokens.

        Raises:
            ValueError: not enough blocks are free; nothing has changed then.
        """
        self.grow_to(self.clock + tokens)

    def grow_to(self, clock: int) -> None:
        """Let all growing holders grow until they have grown by so many tokens in all; the same as `grow`."""
        if self._promised > self.total and self._between(self.clock, clock) > self.free:
            raise ValueError(f"no room to grow by {clock - self.clock} tokens: {self.free} of {self.total} are free")
        self.clock = clock

    def _between(self, begin: int, end: int) -> int:
        """Return the blocks that all growing holders need as the clock goes from one count to another."""
        size, residues = self.block_tokens, self._residues
        rounds, rest = divmod(end - begin, size)
        at = -begin % size  # the residue whose holders need a block first; those below follow, one each token
        first = at - rest + 1
        some = sum(residues[first : at + 1]) if first >= 0 else sum(residues[: at + 1]) + sum(residues[first:])
        return rounds * len(self._growing) + some

    def check(self) -> None:
        """Raise AssertionError unless free and held blocks make all, and the residues are those of the holders."""
        held = sum(self.held(holder) for holder in self._held)
        assert 0 <= self.free == self.total - held, f"{self.free} free and {held} held blocks are not {self.total}"
        residues = [0] * self.block_tokens
        for start, _ in self._growing.values():
            residues[start % self.block_tokens] += 1
        assert residues == self._residues, "residues differ from those of the holders"
        promised = sum(self._growing[holder][1] if holder in self._growing else n for holder, n in self._held.items())
        assert promised == self._promised, f"{self._promised} blocks promised, should be {promised}"
