"""The radix tree: which prefixes are known, as runs of tokens that split where prompts part ways.

A node is a run of whole pages; children of a node differ in their first page. Each page has a number of its own, which
stands for its tokens and all before them, so that a cache may be keyed by page numbers alone.

>>> from costlab.cache.tree import RadixTree
>>> tree = RadixTree(page_tokens=2)
>>> tree.insert([1, 2, 3, 4, 5, 6])
(0, 1, 2)
>>> tree.insert([1, 2, 3, 4, 7, 8, 9])  # shares two pages; the odd token at the end fills none
(0, 1, 3)
>>> tree.match([1, 2, 3, 4, 7, 0]).tokens
4
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Tokens = tuple[int, ...]


class Node:
    """A run of pages: its tokens, their page numbers, its children by their first page, and how many hold it."""

    __slots__ = ("children", "pages", "parent", "pins", "tokens")

    def __init__(self, tokens: Tokens, pages: tuple[int, ...], parent: Node | None) -> None:
        self.tokens, self.pages, self.parent = tokens, pages, parent
        self.children: dict[Tokens, Node] = {}
        self.pins = 0


@dataclass(frozen=True)
class Prefix:
    """The longest known prefix of some tokens: its length, its page numbers, and the node it ends with."""

    tokens: int
    pages: tuple[int, ...]
    node: Node


class RadixTree:
    """Known prefixes, in pages of `page_tokens` tokens.

    Raises:
        ValueError: a page below one token.

    Source: the tree of SGLang's RadixAttention (arXiv 2312.07104), with its page granularity. Chapter: cache
    """

    def __init__(self, page_tokens: int = 1) -> None:
        if page_tokens < 1:
            raise ValueError(f"page_tokens = {page_tokens} should be at least 1")
        self.page_tokens = page_tokens
        self.root = Node((), (), None)
        self.pages = 0
        self._next_page = 0

    def match(self, tokens: Sequence[int]) -> Prefix:
        """Return the longest known prefix in whole pages; a node that the tokens leave midway is split there."""
        whole = self._whole(tokens)
        node, done = self.root, 0
        pages: tuple[int, ...] = ()
        while (child := node.children.get(whole[done : done + self.page_tokens])) is not None:
            common = self._common(child.tokens, whole, done)
            node = child if common == len(child.tokens) else self._split(child, common)
            done += common
            pages += node.pages
            if node is not child:
                break
        return Prefix(done, pages, node)

    def insert(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Make the whole pages of some tokens known, and return their page numbers; a partial last page is left out."""
        whole = self._whole(tokens)
        known = self.match(whole)
        rest = whole[known.tokens :]
        if not rest:
            return known.pages
        count = len(rest) // self.page_tokens
        fresh = tuple(range(self._next_page, self._next_page + count))
        self._next_page += count
        self.pages += count
        known.node.children[rest[: self.page_tokens]] = Node(rest, fresh, known.node)
        return known.pages + fresh

    def pin(self, node: Node) -> None:
        """Hold a node and all before it."""
        for each in self._path(node):
            each.pins += 1

    def unpin(self, node: Node) -> None:
        """Let go of a node and all before it.

        Raises:
            ValueError: a node that nobody holds.
        """
        if node is not self.root and node.pins < 1:
            raise ValueError("unpin without pin")
        for each in self._path(node):
            each.pins -= 1

    def leaves(self) -> list[Node]:
        """Return the nodes that may be removed: without children, held by nobody."""
        return [node for node in self.nodes() if not node.children and not node.pins]

    def remove(self, node: Node) -> tuple[int, ...]:
        """Forget a leaf and return its page numbers.

        Raises:
            ValueError: a node with children, or one that is held.
        """
        if node.parent is None or node.children or node.pins:
            raise ValueError(f"only a free leaf can go, not one with {len(node.children)} children, {node.pins} pins")
        del node.parent.children[node.tokens[: self.page_tokens]]
        node.parent = None
        self.pages -= len(node.pages)
        return node.pages

    def nodes(self) -> Iterator[Node]:
        """Yield all nodes but the root, parents before children."""
        stack = list(self.root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def check(self) -> None:
        """Raise AssertionError unless keys, pages and pins are consistent."""
        seen: set[int] = set()
        for node in self.nodes():
            assert node.tokens and len(node.tokens) == len(node.pages) * self.page_tokens, "a run of broken pages"
            assert node.parent is not None
            assert node.parent.children[node.tokens[: self.page_tokens]] is node, "a child under a wrong key"
            assert node.pins >= sum(child.pins for child in node.children.values()), "a child is held, its parent not"
            assert not seen & set(node.pages), "a page number twice"
            seen.update(node.pages)
        assert len(seen) == self.pages

    def _whole(self, tokens: Sequence[int]) -> Tokens:
        return tuple(tokens[: len(tokens) - len(tokens) % self.page_tokens])

    def _common(self, run: Tokens, tokens: Tokens, start: int) -> int:
        """How many tokens of whole pages a run and the tokens from `start` share."""
        count = self.page_tokens
        while (
            count < len(run)
            and run[count : count + self.page_tokens] == tokens[start + count : start + count + self.page_tokens]
        ):
            count += self.page_tokens
        return count

    def _split(self, node: Node, at: int) -> Node:
        """Cut a node's run, and return the new node that holds its beginning."""
        assert node.parent is not None
        cut = at // self.page_tokens
        upper = Node(node.tokens[:at], node.pages[:cut], node.parent)
        upper.pins = node.pins  # whoever holds the end holds the beginning
        node.parent.children[upper.tokens[: self.page_tokens]] = upper
        node.tokens, node.pages, node.parent = node.tokens[at:], node.pages[cut:], upper
        upper.children[node.tokens[: self.page_tokens]] = node
        return upper

    def _path(self, node: Node) -> Iterator[Node]:
        each: Node | None = node
        while each is not None and each is not self.root:
            yield each
            each = each.parent
