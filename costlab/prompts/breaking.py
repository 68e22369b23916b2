"""Which bytes stop a prompt cache, and why they differ.

Of each request the earlier one is sought that it has most in common with, at any place. Where the two part first, the
cache stops; what follows in both is lost, and would be read from the cache if the bytes before it were the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from costlab.prompts.causes import ByteCause, Side, byte_cause
from costlab.prompts.prefixes import PromptReplay, common_length, tokens_of
from costlab.prompts.rendering import Rendered
from costlab.prompts.requests import PromptRequest

#: Why a request is not found as far as it could be: by its bytes, or by the cache's rule.
Cause = Literal[ByteCause, "model or cache key", "expired", "unmarked", "not kept yet"]
BREAK_CAUSES: tuple[str, ...] = (*get_args(ByteCause), "model or cache key", "expired", "unmarked", "not kept yet")

#: Fewer lost tokens than these are no break: roles and the like that every request has.
LEAST_LOST_TOKENS = 32
#: So many of the latest requests are compared, beside the one with the longest common beginning.
_COMPARED = 24


@dataclass(frozen=True)
class Break:
    """Where one request is not found though an earlier one has the same text behind it."""

    cause: Cause  # why
    path: str  # place in the request: fields and positions
    offset: int  # bytes from the beginning of that place
    request: int  # position of the request
    relative: int  # position of the earlier one that it is compared with
    lost_tokens: int  # that would be hits without it, estimated
    before: bytes  # what the earlier request has there, a few bytes
    after: bytes  # what this one has there

    def __repr__(self) -> str:
        lost = f"{self.lost_tokens:,} tokens"
        return f"Break({self.cause} at {self.path}, byte {self.offset:,}: {lost} of request {self.request})"  # no text


@dataclass(frozen=True)
class BreakGroup:
    """Breaks of one cause at one place."""

    cause: Cause  # why
    path: str  # place in the requests; [*] where positions differ
    offset: int  # bytes from the beginning of that place, in the first of them
    requests: int  # that it hits
    first: int  # position of the first of them
    lost_tokens: int  # of all of them, estimated
    example: Break  # the one that loses the most

    @property
    def lost_per_request(self) -> float:
        """Tokens that one of them loses on average."""
        return self.lost_tokens / self.requests


def breaks(requests: Sequence[PromptRequest], prompts: Sequence[Rendered], run: PromptReplay) -> list[Break]:
    """Return where each request stops being found though an earlier one goes on alike, in order.

    Args:
        requests: in order of time.
        prompts: the same as bytes.
        run: what a cache found of them.
    """
    chunked = [_Chunks(prompt) for prompt in prompts]
    times = [request.time_s or 0.0 for request in requests]
    found: list[Break] = []
    for index, here in enumerate(run.found):
        others = _candidates(index, prompts, run, times)
        found.extend(_rule_breaks(index, prompts, run))
        best = _closest(index, others, chunked)
        if best is not None:
            one = _byte_break(index, best, requests, chunked, run)
            found.extend([one] if one and here.tokens >= run.rule.minimum_tokens else [])
    return found


def grouped_breaks(found: Iterable[Break]) -> list[BreakGroup]:
    """Return breaks by cause and place, what loses the most first."""
    groups: dict[tuple[Cause, str], list[Break]] = {}
    for each in found:
        place = re.sub(r"^(messages|input)\[\d+\]", r"\1[*]", each.path)
        groups.setdefault((each.cause, place), []).append(each)
    rows = []
    for (cause, place), members in groups.items():
        paths = {each.path for each in members}
        first, worst = members[0], max(members, key=lambda each: each.lost_tokens)
        lost = sum(each.lost_tokens for each in members)
        path = first.path if len(paths) == 1 else place
        rows.append(BreakGroup(cause, path, first.offset, len(members), first.request, lost, worst))
    return sorted(rows, key=lambda row: -row.lost_tokens)


# --- lines of text, wherever they stand ------------------------------------------------------------------------


class _Chunks:
    """A request cut into lines within its segments."""

    def __init__(self, prompt: Rendered) -> None:
        self.prompt = prompt
        self.at: list[int] = []  # where each begins
        self.keys: list[int] = []  # a hash of each
        for start, (_, text) in zip(prompt.starts, prompt.segments(), strict=True):
            for line in text.splitlines(keepends=True):
                self.at.append(start)
                self.keys.append(hash(line))
                start += len(line)
        self.ends = [*self.at[1:], len(prompt.data)]

    @cached_property
    def weights(self) -> dict[int, int]:
        """Bytes of each different line."""
        return {key: end - at for key, at, end in zip(self.keys, self.at, self.ends, strict=True)}

    def common(self, other: _Chunks) -> int:
        """Return the bytes of different lines that both have."""
        return sum(self.weights[key] for key in self.weights.keys() & other.weights.keys())

    def behind(self, offset: int) -> Counter[int]:
        """Return how often each line comes that begins at a place or behind it."""
        return Counter(key for key, at in zip(self.keys, self.at, strict=True) if at >= offset)

    def lost(self, other: _Chunks, offset: int) -> int:
        """Return the bytes behind a place, where the two part, that the other has behind it too."""
        both = self.behind(offset) & other.behind(offset)
        return sum(self.weights[key] * count for key, count in both.items()) + self._tail(other, offset)

    def _tail(self, other: _Chunks, offset: int) -> int:
        """Return the bytes that the lines in which the two part have in common at their ends."""
        mine, theirs = self._rest_of_line(offset), other._rest_of_line(offset)
        return common_length(mine[::-1], 0, theirs[::-1], 0, len(mine))

    def _rest_of_line(self, offset: int) -> bytes:
        end = next((end for at, end in zip(self.at, self.ends, strict=True) if at < offset < end), offset)
        return self.prompt.data[offset:end]


# --- breaks of one request -------------------------------------------------------------------------------------


def _candidates(index: int, prompts: Sequence[Rendered], run: PromptReplay, times: Sequence[float]) -> list[int]:
    """Return earlier requests within the lifetime: the closest by its beginning, and the latest ones."""
    since = times[index] - run.lifetime_s
    mine: list[int] = []
    others: list[int] = []
    for other in range(index - 1, max(-1, index - 1 - 4 * _COMPARED), -1):
        if times[other] < since:
            break
        same = prompts[other].partition == prompts[index].partition
        (mine if same else others).append(other)
    closest = run.found[index].relative
    return list({*mine[:_COMPARED], *others[: _COMPARED // 2], *([] if closest is None else [closest])})


def _closest(index: int, others: Sequence[int], chunked: Sequence[_Chunks]) -> int | None:
    """Return the request with most in common; of several the one that agrees furthest, and of those the latest."""
    mine = chunked[index]
    common = {other: mine.common(chunked[other]) for other in others}
    most = [other for other in others if common[other] == max(common.values())]
    data = mine.prompt.data
    return max(most, key=lambda o: (common_length(data, 0, chunked[o].prompt.data, 0, len(data)), o), default=None)


def _rule_breaks(index: int, prompts: Sequence[Rendered], run: PromptReplay) -> Iterator[Break]:
    """Yield what the rule, not the bytes, keeps from being found."""
    here = run.found[index]
    shared = tokens_of(here.shared_bytes, run.bytes_per_token)
    ever = tokens_of(here.ever_bytes, run.bytes_per_token)
    least = run.rule.minimum_tokens
    if here.relative is not None and shared >= least and shared - here.hits >= _least_lost(run):
        cause: Cause | None = "unmarked" if run.rule.finds == "marks" else "not kept yet"
        if run.rule.finds != "blocks" and cause:
            yield _placed(cause, index, here.relative, prompts, here.shared_bytes, shared - here.hits)
    gone = ever - max(shared, here.hits)
    if here.ever_relative is not None and ever >= least and gone >= _least_lost(run):
        yield _placed("expired", index, here.ever_relative, prompts, here.shared_bytes, gone)


def _least_lost(run: PromptReplay) -> int:
    return max(LEAST_LOST_TOKENS, run.rule.block_tokens)


def _byte_break(
    index: int, best: int, requests: Sequence[PromptRequest], chunked: Sequence[_Chunks], run: PromptReplay
) -> Break | None:
    mine, other = chunked[index], chunked[best]
    here = run.found[index]
    same = common_length(mine.prompt.data, 0, other.prompt.data, 0, len(mine.prompt.data))
    prompts = [chunk.prompt for chunk in (mine, other)]
    if mine.prompt.partition != other.prompt.partition:
        lost = tokens_of(same, run.bytes_per_token) - tokens_of(here.shared_bytes, run.bytes_per_token)
        if lost < _least_lost(run):
            return None
        path = "model" if mine.prompt.partition[0] != other.prompt.partition[0] else "prompt_cache_key"
        return Break("model or cache key", path, 0, index, best, lost, b"", b"")
    if same == len(other.prompt.data) or same == len(mine.prompt.data):
        return None
    beyond = max(0, here.shared_bytes - same)  # what another request has spared already
    lost = tokens_of(max(0, mine.lost(other, same) - beyond), run.bytes_per_token)
    lost = min(lost, here.tokens - max(here.hits, tokens_of(same, run.bytes_per_token)))
    if lost < _least_lost(run):
        return None
    cause, path, offset = byte_cause(Side(requests[best], prompts[1]), Side(requests[index], prompts[0]), same)
    before, after = (_around(prompt.data, same) for prompt in (prompts[1], prompts[0]))
    return Break(cause, path, offset, index, best, lost, before, after)


def _placed(cause: Cause, index: int, relative: int, prompts: Sequence[Rendered], at: int, lost: int) -> Break:
    prompt = prompts[index]
    segment = prompt.segment_at(max(0, at - 1))
    offset = max(0, at - prompt.starts[segment])
    return Break(cause, prompt.paths[segment], offset, index, relative, lost, b"", b"")


def _around(data: bytes, offset: int) -> bytes:
    return data[max(0, offset - 24) : offset + 40]
