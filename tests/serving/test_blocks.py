"""Paged memory: exact at its capacity, unchanged by what fails, and what growth needs is what single tokens need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from costlab.serving.blocks import Blocks


class Paged(RuleBasedStateMachine):
    """The blocks beside a plain book of tokens and blocks of each holder, grown one token at a time."""

    def __init__(self):
        super().__init__()
        self.blocks = Blocks(60, 4)
        self.book = {}  # holder: [tokens, blocks, grows, most]
        self.names = iter(range(10_000))

    def free(self):
        return 60 - sum(blocks for _, blocks, _, _ in self.book.values())

    @rule(tokens=st.integers(1, 90))
    def take(self, tokens):
        holder, lacking = next(self.names), -(-tokens // 4)
        assert self.blocks.lacking(holder, tokens) == lacking
        if lacking <= self.free():
            assert self.blocks.can_take(lacking)
            self.blocks.take(holder, lacking)
            self.book[holder] = [tokens, lacking, False, 0]
        else:
            assert not self.blocks.can_take(lacking)
            with pytest.raises(ValueError, match="no room for"):
                self.blocks.take(holder, lacking)

    @precondition(lambda self: self.book)
    @rule(data=st.data(), further=st.integers(0, 40))
    def grow_from(self, data, further):
        holder = data.draw(st.sampled_from(sorted(self.book)))
        tokens, blocks, grows, _ = self.book[holder]
        if not grows:
            most = tokens + further
            self.blocks.grow_from(holder, tokens, most)
            if blocks * 4 < most:
                self.book[holder] = [tokens, -(-tokens // 4), True, most]

    @precondition(lambda self: self.book)
    @rule(data=st.data())
    def leave(self, data):
        holder = data.draw(st.sampled_from(sorted(self.book)))
        assert self.blocks.give(holder) == self.book.pop(holder)[1]
        assert self.blocks.give(holder) == 0

    @rule(tokens=st.integers(1, 9))
    def grow(self, tokens):
        growing = [entry for entry in self.book.values() if entry[2]]
        tokens = min([tokens, *(most - have for have, _, _, most in growing)])
        needed = sum(-(-(have + tokens) // 4) - blocks for have, blocks, _, _ in growing)
        assert self.blocks.can_grow(tokens) == (needed <= self.free())
        assert not self.blocks.can_grow(tokens, spare=self.free() - needed + 1)
        if needed <= self.free():
            self.blocks.grow_to(self.blocks.clock + tokens)
            for entry in growing:
                entry[0] += tokens
                entry[1] = -(-entry[0] // 4)
        else:
            with pytest.raises(ValueError, match="no room to grow"):
                self.blocks.grow_to(self.blocks.clock + tokens)

    @invariant()
    def balanced(self):
        self.blocks.check()
        assert self.blocks.free == self.free()
        assert self.blocks.used == 60 - self.free()
        assert {holder: self.blocks.held(holder) for holder in self.blocks.holders} == {
            holder: blocks for holder, (_, blocks, _, _) in self.book.items()
        }


TestPaged = Paged.TestCase


def test_exact_capacity_is_enough():
    blocks = Blocks(10, 16)
    assert blocks.can_take(10)
    blocks.take("a", 10)
    assert blocks.free == 0 and not blocks.can_take(1)
    assert blocks.peak == 0  # nothing was given back
    blocks.give("a")
    assert (blocks.free, blocks.peak) == (10, 10)


def test_what_suffices_for_the_whole_answer_does_not_grow():
    blocks = Blocks(10, 4)
    blocks.take("a", 5)
    blocks.grow_from("a", 8, 20)
    blocks.grow_to(12)
    assert (blocks.held("a"), blocks.used) == (5, 5)
    blocks.give("a")
    blocks.take("a", 5)
    blocks.grow_from("a", 8, 21)  # one token more: whole blocks beyond its tokens are free for others until then
    assert (blocks.held("a"), blocks.free) == (2, 8)
    blocks.grow_to(25)
    assert (blocks.held("a"), blocks.free) == (6, 4)


@pytest.mark.parametrize(("total", "size"), [(0, 16), (-1, 16), (10, 0), (1.5, 16), (float("nan"), 16), (10, True)])
def test_sizes_are_counts(total, size):
    with pytest.raises(ValueError, match="whole number"):
        Blocks(total, size)


@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 60))
def test_growth_adds_up(tokens, some, more):
    blocks = Blocks(1000, 7)
    for holder in range(5):
        blocks.take(holder, blocks.needed(tokens + holder))
        blocks.grow_from(holder, tokens + holder, 10_000)
    blocks.grow_to(some)
    blocks.grow_to(some + more)
    assert blocks.used == sum(blocks.needed(tokens + holder + some + more) for holder in range(5))
