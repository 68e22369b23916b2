"""The radix tree against brute force."""

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from costlab.cache import PrefixCache, Tier
from costlab.cache.tree import RadixTree

prompts = st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=12)


def common(a: list[int], b: list[int]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def longest(known: list[list[int]], tokens: list[int], page: int) -> int:
    """The longest common prefix with any known prompt, in whole pages of both."""
    return max((common(k[: len(k) // page * page], tokens) // page * page for k in known), default=0)


@given(prompts, st.lists(st.integers(0, 2), max_size=14), st.integers(1, 4))
def test_match_is_the_longest_common_prefix(known, asked, page) -> None:
    tree = RadixTree(page)
    for tokens in known:
        tree.insert(tokens)
        tree.check()
    found = tree.match(asked)
    assert found.tokens == longest(known, asked, page)
    assert len(found.pages) == found.tokens // page
    tree.check()


@given(prompts, st.integers(1, 4))
def test_a_page_number_stands_for_its_prefix(known, page) -> None:
    tree = RadixTree(page)
    meaning: dict[int, tuple[int, ...]] = {}
    for tokens in known + known:
        for i, number in enumerate(tree.insert(tokens)):
            prefix = tuple(tokens[: (i + 1) * page])
            assert meaning.setdefault(number, prefix) == prefix
    assert len(set(meaning.values())) == len(meaning) == tree.pages


@given(prompts, st.integers(1, 3))
def test_page_numbers_serve_a_cache_as_keys(asked, page) -> None:
    """Tokens to pages by the tree, pages to tiers by the cache: hits are longest common prefixes."""
    tree, cache = RadixTree(page), PrefixCache([Tier("HBM")], page_bytes=1.0, page_tokens=page)
    for i, tokens in enumerate(asked):
        lease = cache.admit(tree.insert(tokens))
        assert lease.match.pages * page == longest(asked[:i], tokens, page)
        cache.release(lease)
    assert len(cache.full.keys()) == tree.pages


def test_a_node_splits_where_prompts_part() -> None:
    tree = RadixTree(page_tokens=2)
    tree.insert([1, 2, 3, 4, 5, 6])
    (only,) = tree.nodes()
    assert only.tokens == (1, 2, 3, 4, 5, 6)
    tree.insert([1, 2, 3, 9])  # differ within the second page
    upper = tree.root.children[1, 2]
    assert upper.tokens == (1, 2) and set(upper.children) == {(3, 4), (3, 9)}


def test_a_split_keeps_who_holds_it() -> None:
    tree = RadixTree()
    tree.insert([1, 2, 3, 4])
    held = tree.match([1, 2, 3, 4]).node
    tree.pin(held)
    upper = tree.match([1, 2]).node
    assert upper is not held and upper.pins == held.pins == 1
    tree.unpin(held)
    assert upper.pins == held.pins == 0


class Serving(RuleBasedStateMachine):
    """Random inserts, matches, pins and removals."""

    nodes = Bundle("nodes")

    def __init__(self) -> None:
        super().__init__()
        self.tree = RadixTree(2)
        self.held = []

    @rule(tokens=st.lists(st.integers(0, 2), max_size=10))
    def insert(self, tokens) -> None:
        before = self.tree.pages
        known = self.tree.match(tokens).tokens
        pages = self.tree.insert(tokens)
        assert self.tree.pages == before + len(pages) - known // 2

    @rule(tokens=st.lists(st.integers(0, 2), max_size=10))
    def hold(self, tokens) -> None:
        prefix = self.tree.match(tokens)
        if prefix.node is not self.tree.root:
            self.tree.pin(prefix.node)
            self.held.append((prefix.node, tokens[: prefix.tokens]))

    @rule()
    def let_go(self) -> None:
        if self.held:
            self.tree.unpin(self.held.pop()[0])

    @rule()
    def evict(self) -> None:
        for node in self.tree.leaves()[:1]:
            self.tree.remove(node)

    @invariant()
    def all_is_well(self) -> None:
        self.tree.check()

    @invariant()
    def what_is_held_stays(self) -> None:
        for _, tokens in self.held:
            assert self.tree.match(tokens).tokens == len(tokens)


Serving.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=25)
TestServing = Serving.TestCase


def test_bad_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="page_tokens = 0"):
        RadixTree(0)
    tree = RadixTree()
    tree.insert([1, 2])
    tree.insert([1, 3])
    with pytest.raises(ValueError, match="2 children"):
        tree.remove(tree.match([1]).node)
    with pytest.raises(ValueError, match="unpin without pin"):
        tree.unpin(tree.match([1]).node)
    with pytest.raises(ValueError, match="only a free leaf"):
        tree.remove(tree.root)
