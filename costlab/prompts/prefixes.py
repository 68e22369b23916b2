"""What a prompt cache would find of each request: a tree of all beginnings, walked in order of time.

A branch of the tree is a run of bytes that some requests have in common; where they part, it divides. Each node knows
who came by last and when, so that the longest beginning that was sent within a lifetime is found on one walk down.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from costlab.catalog.cache_rules import CacheRule
from costlab.prompts.rendering import Rendered

#: Bytes of a token, in any language and of any tokenizer, lie far within these.
LEAST_BYTES, MOST_BYTES = 0.01, 1000


def tokens_of(size: int, bytes_per_token: float) -> int:
    """Return how many whole tokens so many bytes make."""
    return int(size / bytes_per_token)


@dataclass(frozen=True)
class FoundPrefix:
    """What the cache found of one request, and with whom it shares."""

    tokens: int  # of the whole request, estimated
    hits: int  # of them found in the cache
    writes: int  # of them written to a cache that is told what to keep; the rest are plain misses
    shared_bytes: int  # longest beginning that any request sent within the lifetime, bytes
    relative: int | None  # the latest request that sent it, by its position; None: none within the lifetime
    ever_bytes: int  # longest beginning that any earlier request sent, however long ago, bytes
    ever_relative: int | None  # the latest request that sent that

    @property
    def misses(self) -> int:
        """Tokens that were not found, those written among them."""
        return self.tokens - self.hits


@dataclass(frozen=True)
class PromptReplay:
    """A log of requests run through a prompt cache."""

    found: tuple[FoundPrefix, ...]  # of each request, in order
    rule: CacheRule  # of the cache
    lifetime_s: float  # how long something unused stayed, s
    bytes_per_token: float  # taken for every text

    @property
    def tokens(self) -> int:
        """Input tokens of all requests."""
        return sum(each.tokens for each in self.found)

    @property
    def hits(self) -> int:
        """Of them found in the cache."""
        return sum(each.hits for each in self.found)

    @property
    def writes(self) -> int:
        """Of them written to a cache that is told what to keep."""
        return sum(each.writes for each in self.found)

    @property
    def misses(self) -> int:
        """Of them not found, those written among them."""
        return self.tokens - self.hits


@dataclass(eq=False, slots=True)
class Node:
    """The end of a run of bytes, with all that begins like it behind it."""

    data: bytes  # a request that has the run
    start: int  # where the run begins in it
    end: int  # where it ends: the length of the whole beginning
    time_s: float = -math.inf  # when a request last came by
    last: int = -1  # which
    count: int = 0  # how many came by
    kept_s: float = -math.inf  # when the beginning was last kept or used as a whole; -inf: never
    children: dict[int, Node] = field(default_factory=dict)  # by the first byte of their run


class PrefixTree:
    """All beginnings of the requests so far."""

    def __init__(self) -> None:
        self.root = Node(b"", 0, 0)

    def walk(self, data: bytes, since_s: float = -math.inf) -> Iterator[tuple[Node, int]]:
        """Yield the nodes on the way down, each with how far the bytes agree; runs unused since a time end it."""
        node, depth = self.root, 0
        while depth < len(data):
            child = node.children.get(data[depth])
            if child is None or child.time_s < since_s:
                return
            depth += common_length(child.data, child.start, data, depth, child.end - child.start)
            yield child, depth
            if depth < child.end:
                return
            node = child

    def insert(
        self, data: bytes, time_s: float, index: int, kept: Sequence[int], lifetime_s: float, asked: float = math.inf
    ) -> None:
        """Add a request, and keep the beginnings of the given lengths; kept ones that it asks for live on."""
        node, depth = self.root, 0
        stops = sorted({*kept, len(data)})
        for stop in stops:
            while depth < stop:
                node = self._step(node, data, depth, stop)
                depth = node.end
                node.time_s, node.last = time_s, index
                node.count += 1
                if node.end <= asked and node.kept_s >= time_s - lifetime_s:
                    node.kept_s = time_s
            if stop in kept:
                node.kept_s = time_s

    @staticmethod
    def _step(node: Node, data: bytes, depth: int, stop: int) -> Node:
        """Go one run further, at most to `stop`, where the run is divided or made if need be."""
        child = node.children.get(data[depth])
        if child is None:
            found = node.children[data[depth]] = Node(data, depth, stop)
            return found
        most = min(child.end, stop) - child.start
        agreed = common_length(child.data, child.start, data, depth, most)
        if child.start + agreed == child.end:
            return child
        upper = Node(child.data, child.start, child.start + agreed, child.time_s, child.last, child.count)
        child.start += agreed
        upper.children[child.data[child.start]] = child
        node.children[data[depth]] = upper
        return upper

    def nodes(self) -> Iterator[Node]:
        """Yield all nodes but the root, none before those that it begins with."""
        stack = list(self.root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())


def common_length(a: bytes, start_a: int, b: bytes, start_b: int, most: int) -> int:
    """Return how many bytes two texts have in common from two places on, at most so many."""
    most = max(0, min(most, len(a) - start_a, len(b) - start_b))
    low, step = 0, 64
    while low < most:  # longer and longer pieces while they agree, then shorter and shorter ones
        size = min(step, most - low)
        if a[start_a + low : start_a + low + size] == b[start_b + low : start_b + low + size]:
            low, step = low + size, step * 2
        elif size == 1:
            break
        else:
            most, step = low + size, max(1, size // 2)
    return low


def replay_prompts(
    prompts: Sequence[Rendered],
    times_s: Sequence[float],
    rule: CacheRule,
    bytes_per_token: float,
    lifetime_s: float | None = None,
) -> PromptReplay:
    """Run requests through a prompt cache of unlimited size, in their order.

    A request finds what was kept of those before it within the lifetime, each use of which lets it live on. What it
    keeps itself is there for the next one, however soon that comes.

    Args:
        prompts: the requests as bytes.
        times_s: when each came, never falling; all alike where it is not known.
        rule: what is kept and found.
        bytes_per_token: taken for every text.
        lifetime_s: how long something unused stays; None for the rule's.

    Raises:
        ValueError: times that fall or are fewer, a ratio that no tokenizer has, or a lifetime that is not above 0.
    """
    lifetime = rule.lifetime_s if lifetime_s is None else lifetime_s
    if not LEAST_BYTES <= bytes_per_token <= MOST_BYTES:
        raise ValueError(f"bytes_per_token = {bytes_per_token!r} should be from {LEAST_BYTES} to {MOST_BYTES:,}")
    if not lifetime > 0:
        raise ValueError(f"lifetime_s = {lifetime!r} should be above 0")
    if len(times_s) != len(prompts) or not all(a <= b for a, b in itertools.pairwise(times_s)):
        raise ValueError("times_s should have one time for each request, none before the one before it")
    trees: dict[tuple[str, ...], PrefixTree] = {}
    found = []
    for index, (prompt, now) in enumerate(zip(prompts, times_s, strict=True)):
        tree = trees.setdefault(prompt.partition, PrefixTree())
        one, kept = _looked_up(tree, prompt, now - lifetime, rule, bytes_per_token)
        tree.insert(prompt.data, now, index, kept, lifetime, _asked(prompt, rule))
        found.append(one)
    return PromptReplay(tuple(found), rule, lifetime, bytes_per_token)


def _looked_up(
    tree: PrefixTree, prompt: Rendered, since_s: float, rule: CacheRule, ratio: float
) -> tuple[FoundPrefix, list[int]]:
    """Return what is found of a request, and the lengths of the beginnings that are kept of it."""
    live, relative, kept = 0, None, 0
    asked = _asked(prompt, rule)
    for node, depth in tree.walk(prompt.data, since_s):
        live, relative = depth, node.last
        if depth == node.end <= asked and node.kept_s >= since_s:
            kept = depth
    ever, ever_relative = live, relative
    for node, depth in tree.walk(prompt.data):
        ever, ever_relative = depth, node.last
    size = len(prompt.data)
    tokens = max(1, tokens_of(size, ratio))
    usable = tokens_of(live if rule.finds == "blocks" else kept, ratio)
    hits = usable // rule.block_tokens * rule.block_tokens if usable >= rule.minimum_tokens else 0
    ends = {
        "blocks": (),
        "units": (live, size),
        "marks": (*prompt.marks, *((size,) if rule.marks_end else ())),
    }[rule.finds]
    keep = [end for end in ends if tokens_of(end, ratio) >= rule.minimum_tokens]
    written = max((tokens_of(end, ratio) for end in keep), default=0) if rule.finds == "marks" else 0
    return FoundPrefix(tokens, hits, max(0, written - hits), live, relative, ever, ever_relative), keep


def _asked(prompt: Rendered, rule: CacheRule) -> int:
    """Return up to where a request looks into the cache: its last mark where nothing is read or kept without one."""
    unmarked_too = rule.finds != "marks" or rule.marks_end
    return len(prompt.data) if unmarked_too else max(prompt.marks, default=0)


@dataclass(frozen=True)
class SharedPrefix:
    """A beginning that several requests have in common, up to where the next ones part."""

    size: int  # of the whole beginning, bytes
    tokens: int  # of it, estimated
    requests: int  # that begin so
    last: int  # position of the latest of them
    path: str  # place in the request where it ends
    saved_tokens: int  # what the last run of it spares all but the first of them


def shared_prefixes(prompts: Sequence[Rendered], bytes_per_token: float, most: int = 8) -> list[SharedPrefix]:
    """Return the beginnings that spare the most, whatever the time between requests.

    Args:
        prompts: the requests as bytes.
        bytes_per_token: taken for every text.
        most: how many.
    """
    trees: dict[tuple[str, ...], PrefixTree] = {}
    for index, prompt in enumerate(prompts):
        trees.setdefault(prompt.partition, PrefixTree()).insert(prompt.data, 0.0, index, (), math.inf)
    found = []
    for node in (node for tree in trees.values() for node in tree.nodes() if node.count > 1):
        spared = tokens_of(node.end - node.start, bytes_per_token) * (node.count - 1)
        place = prompts[node.last].path_at(node.end - 1)
        tokens = tokens_of(node.end, bytes_per_token)
        found.append(SharedPrefix(node.end, tokens, node.count, node.last, place, spared))
    return sorted(found, key=lambda each: (-each.saved_tokens, each.size))[:most]
