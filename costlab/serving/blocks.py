"""Paged memory for keys and values: who holds how many blocks, in pairs of ask and do.

Sequences that decode all grow by one token a step. When a sequence needs its next block depends on nothing but its
length modulo the block's size. So it is enough to count sequences by this residue: what all of them hold, now or any
number of steps on, is then a sum over the residues, and it is taken only when somebody has to know it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from costlab.checks import count


class Blocks:
    """The blocks of one memory: free ones, and those of each holder.

    A holder takes blocks (`take`) until it gives all of them back (`give`). A holder that grows (`grow_from`) gets a
    block whenever its tokens have filled those it has.

    Args:
        total: blocks of the memory.
        block_tokens: tokens of a block.

    Raises:
        ValueError: sizes that are no counts.
    """

    def __init__(self, total: int, block_tokens: int = 16) -> None:
        self.total, self.block_tokens = count(total, "blocks"), count(block_tokens, "block_tokens")
        #: Tokens by which all growing holders have grown since the beginning.
        self.clock = 0
        #: Whether all holders that grow can come to the most they may; if so nothing else has to be asked.
        self.suffices = True
        #: The most blocks that were held at one time, as far as any were given back.
        self.peak = 0
        self._held: dict[Hashable, int] = {}  # blocks of each holder that does not grow
        self._growing: dict[Hashable, tuple[int, int]] = {}  # of one that does: tokens less the clock's; most blocks
        self._fixed = 0  # blocks of all holders that do not grow
        self._promised = 0  # the same and, of those that grow, the most they may come to
        # of those that grow, tokens less the clock's in whole blocks, and how many there are by what remains
        self._whole, self._residues = 0, [0] * self.block_tokens

    @property
    def used(self) -> int:
        """Blocks that somebody holds."""
        return self._fixed + self._grown(self.clock)

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        return self.total - self._fixed - self._grown(self.clock)

    def _grown(self, clock: int) -> int:
        """Return the blocks of all growing holders when the clock stands there."""
        if not self._growing:
            return 0
        size, residues = self.block_tokens, self._residues
        rounds, rest = divmod(clock, size)
        # ceil((residue + clock) / size) is one more where a token lies beyond whole blocks, and two where a block does
        ones = len(self._growing) - (residues[0] if not rest else 0)
        twos = sum(residues[size - rest + 1 :]) if rest else 0
        return self._whole + rounds * len(self._growing) + ones + twos

    @property
    def holders(self) -> Collection[Hashable]:
        """Who has blocks."""
        return self._held.keys() | self._growing.keys()

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
        return self.spares(blocks + spare) or blocks + spare <= self.free

    def spares(self, blocks: int) -> bool:
        """Say whether so many remain when all holders that grow have come to the most they may."""
        return self._promised + blocks <= self.total

    def take(self, holder: Hashable, blocks: int) -> None:
        """Give a holder further blocks.

        Raises:
            ValueError: not enough are free; nothing has changed then.
        """
        if blocks:
            if not self.can_take(blocks):
                raise ValueError(f"no room for {blocks} blocks: {self.free} of {self.total} are free")
            self._held[holder] = self._held.get(holder, 0) + blocks
            self._fixed += blocks
            self._promise(blocks)

    def give(self, holder: Hashable) -> int:
        """Take all blocks of a holder back, and return how many they are; none if it holds none."""
        if self._promised > self.peak:  # else what is used cannot be more either
            self.peak = max(self.peak, self.used)
        if holder not in self._growing:
            blocks = promised = self._held.pop(holder, 0)
            self._fixed -= blocks
        else:
            start, promised = self._growing.pop(holder)
            blocks = -(-(start + self.clock) // self.block_tokens)
            self._whole -= start // self.block_tokens
            self._residues[start % self.block_tokens] -= 1
        self._promise(-promised)
        return blocks

    def _promise(self, blocks: int) -> None:
        self._promised += blocks
        self.suffices = self._promised <= self.total

    # --- holders that grow -------------------------------------------------------------------------------------

    def grow_from(self, holder: Hashable, tokens: int, most: int) -> None:
        """Let a holder grow with all others that do, from `tokens` on, for which it has the blocks, up to `most`.

        Whole blocks that it took beyond them are free again, unless they suffice for `most`: then it need not grow.
        """
        size = self.block_tokens
        held, most = self._held.get(holder, 0), -(-most // size)
        if held < most:
            self._held.pop(holder, None)
            self._fixed -= held
            start = tokens - self.clock
            self._growing[holder] = start, most
            self._whole += start // size
            self._residues[start % size] += 1
            self._promise(most - held)

    def can_grow(self, tokens: int = 1, spare: int = 0) -> bool:
        """Say whether all growing holders can grow by so many tokens, up to their most, and `spare` blocks remain."""
        if self._promised + spare <= self.total:
            return True
        return self._fixed + self._grown(self.clock + tokens) + spare <= self.total

    def grow_to(self, clock: int) -> None:
        """Let all growing holders grow until the clock stands there.

        Raises:
            ValueError: not enough blocks are free; nothing has changed then.
        """
        if not self.suffices and not self.can_grow(clock - self.clock):
            raise ValueError(f"no room to grow by {clock - self.clock} tokens: {self.free} of {self.total} are free")
        self.clock = clock

    def check(self) -> None:
        """Raise AssertionError unless free and held blocks make all, and the sums are those of the holders."""
        held = sum(self.held(holder) for holder in (*self._held, *self._growing))
        assert 0 <= self.free == self.total - held, f"{self.free} free and {held} held blocks are not {self.total}"
        assert not self._held.keys() & self._growing.keys(), "a holder is counted twice"
        promised = sum(self._held.values()) + sum(most for _, most in self._growing.values())
        assert promised == self._promised, f"{self._promised} blocks promised, should be {promised}"
        assert sum(self._residues) == len(self._growing), "residues differ from those of the holders"
