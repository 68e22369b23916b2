"""Paged memory for keys and values: who holds how many blocks, in pairs of ask and do.

Sequences that decode all grow by one token a step. When a sequence needs its next block depends on nothing but its
length modulo the block's size. So it is enough to count sequences by this residue: what any number of steps allocate
is then a sum, however many sequences there are.
"""

from __future__ import annotations

from collections.abc import Hashable

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
        self.free = self.total
        self.held: dict[Hashable, int] = {}  # blocks of each holder; of one that grows, as they were when it began
        self._growing: dict[Hashable, int] = {}  # by holder: its tokens less the clock's, when it began
        self._residues = [0] * self.block_tokens  # growing holders by (tokens less clock) modulo a block's
        self._clock = 0  # tokens by which all growing holders have grown

    @property
    def used(self) -> int:
        """Blocks that somebody holds."""
        return self.total - self.free

    def needed(self, tokens: int) -> int:
        """Return the blocks that so many tokens fill."""
        return -(-tokens // self.block_tokens)

    # --- holders that stay as they are -------------------------------------------------------------------------

    def lacking(self, holder: Hashable, tokens: int) -> int:
        """Return how many blocks a holder lacks for so many tokens."""
        return max(-(-tokens // self.block_tokens) - self.held.get(holder, 0), 0)

    def can_take(self, blocks: int, spare: int = 0) -> bool:
        """Say whether so many blocks are free and `spare` remain."""
        return blocks + spare <= self.free

    def take(self, holder: Hashable, blocks: int) -> None:
        """Give a holder further blocks.

        Raises:
            ValueError: not enough are free; nothing has changed then.
        """
        if blocks > self.free:
            raise ValueError(f"no room for {blocks} blocks: {self.free} of {self.total} are free")
        if blocks:
            self.free -= blocks
            self.held[holder] = self.held.get(holder, 0) + blocks

    def give(self, holder: Hashable) -> int:
        """Take all blocks of a holder back, and return how many they are; none if it holds none."""
        if holder in self._growing:
            self.stop(holder)
        blocks = self.held.pop(holder, 0)
        self.free += blocks
        return blocks

    # --- holders that grow -------------------------------------------------------------------------------------

    def grow_from(self, holder: Hashable, tokens: int, most: int) -> None:
        """Let a holder grow with all others that do, from `tokens` on.

        Whole blocks that it took beyond them are free again, unless they suffice for `most`: then it need not grow.
        """
        held, needed = self.held.get(holder, 0), -(-tokens // self.block_tokens)
        if held * self.block_tokens >= most:
            return
        self.free += held - needed
        self.held[holder] = needed
        start = self._growing[holder] = tokens - self._clock
        self._residues[start % self.block_tokens] += 1

    def stop(self, holder: Hashable) -> None:
        """Let a holder grow no more; it keeps its blocks."""
        start = self._growing.pop(holder, None)
        if start is not None:
            self._residues[start % self.block_tokens] -= 1
            self.held[holder] = -(-(start + self._clock) // self.block_tokens)

    def growth(self, tokens: int) -> int:
        """Return the blocks that all growing holders together need for so many further tokens each."""
        size, residues = self.block_tokens, self._residues
        rounds, rest = divmod(tokens, size)
        at = -self._clock % size  # the residue whose holders need a block for their next token
        first = at - rest  # those with residues down to here follow, one each token
        some = (
            sum(residues[first + 1 : at + 1]) if first >= -1 else sum(residues[: at + 1]) + sum(residues[first + 1 :])
        )
        return rounds * len(self._growing) + some

    def can_grow(self, tokens: int = 1) -> bool:
        """Say whether all growing holders can grow by so many tokens."""
        return self.growth(tokens) <= self.free

    def most_growth(self, tokens: int, spare: int = 0) -> int:
        """Return by how many tokens, up to `tokens`, all growing holders can grow and leave `spare` blocks free."""
        free = self.free - spare
        if len(self._growing) * (tokens // self.block_tokens + 1) <= free or self.growth(tokens) <= free:
            return tokens
        low, high = 0, tokens  # growth(low) fits, growth(high) does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.growth(middle) <= free else (low, middle)
        return low

    def grow(self, tokens: int = 1) -> None:
        """Let all growing holders grow by so many tokens.

        Raises:
            ValueError: not enough blocks are free; nothing has changed then.
        """
        blocks = self.growth(tokens)
        if blocks > self.free:
            raise ValueError(f"no room to grow by {blocks} blocks: {self.free} of {self.total} are free")
        self.free -= blocks
        self._clock += tokens

    def check(self) -> None:
        """Raise AssertionError unless free and held blocks make all, and the residues are those of the holders."""
        size = self.block_tokens
        growing = sum(-(-(start + self._clock) // size) for start in self._growing.values())
        fixed = sum(blocks for holder, blocks in self.held.items() if holder not in self._growing)
        assert self.free + growing + fixed == self.total, f"{self.free} + {growing} + {fixed} blocks, not {self.total}"
        assert self.free >= 0
        residues = [0] * size
        for start in self._growing.values():
            residues[start % size] += 1
        assert residues == self._residues, "residues differ from those of the holders"
