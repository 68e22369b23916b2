"""States of recurrent layers: after which pages of a prefix one is kept.

A recurrent layer keeps one state, which each token overwrites, so a prefix can be continued only from where a copy of
the state was kept. One copy is large (193 MB for Qwen3.5-397B, as much as 6,290 tokens of its keys and values), so it
matters where: every so many tokens, at the end of a sequence, or where a prompt left what others had in common.

>>> from costlab.cache import StateRule
>>> rule = StateRule.parse("every:4K+ends")
>>> rule.marks(tokens=10_000, page_tokens=512, found=0)
(8, 16, 19)

Source: the ends and branches are those of Marconi (arXiv 2411.19379 sec. 4.1) and of SGLang's cache for such models
(sgl-project/sglang#11214, #31181); a distance is vLLM's retention interval (vllm-project/vllm#45845).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from costlab.checks import MAX_COUNT, count

_EVERY = re.compile(r"every:(\d+)([km]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2}
_FORM = "should be none, or every:TOKENS, ends and branches with + between them, e.g. every:4096+ends"


@dataclass(frozen=True)
class StateRule:
    """After which pages of a sequence a state is kept; without any of the three, nowhere.

    Raises:
        ValueError: a distance below 1.
    """

    every_tokens: int | None = None  # distance of checkpoints in tokens, rounded up to whole pages; None for none
    ends: bool = False  # after the last whole page of each prompt, and of its answer where that is cached too
    branches: bool = False  # after the last page that a prompt found in the cache, where it left what is known

    def __post_init__(self) -> None:
        if self.every_tokens is not None:
            object.__setattr__(self, "every_tokens", count(self.every_tokens, "every_tokens"))

    @classmethod
    def parse(cls, text: str) -> StateRule:
        """Read a rule such as "every:4K", "ends+branches" or "none"; K is 1,024 tokens, M 1,024².

        Raises:
            ValueError: a word that is none of them, one that comes twice, or a distance below 1.
        """
        words = [word.strip().lower() for word in text.split("+")]
        if words == ["none"]:
            return cls()
        kinds = [word.partition(":")[0] for word in words]
        every = [_EVERY.fullmatch(word) for word in words if word not in ("ends", "branches")]
        if len(set(kinds)) < len(kinds) or not all(every):
            raise ValueError(f"states {text!r} {_FORM}")
        tokens = [int(found[1]) * _UNITS[found[2].lower()] for found in every if found]
        if tokens and not 1 <= tokens[0] <= MAX_COUNT:
            raise ValueError(f"states {text!r} {_FORM}: at least 1 token apart")
        return cls(tokens[0] if tokens else None, "ends" in words, "branches" in words)

    def __str__(self) -> str:
        every = [] if self.every_tokens is None else [f"every:{self.every_tokens}"]
        words = [*every, *(["ends"] if self.ends else []), *(["branches"] if self.branches else [])]
        return "+".join(words) or "none"

    def marks(self, tokens: int, page_tokens: int, found: int) -> tuple[int, ...]:
        """Return after which pages of a sequence a state is kept, in order.

        A partial last page is none of them: what continues the sequence has another page there.

        Args:
            tokens: length of the sequence.
            page_tokens: tokens of a page.
            found: how many of its first pages were in the cache when it came.
        """
        pages = tokens // page_tokens
        marks: set[int] = set()
        if self.every_tokens is not None:
            step = math.ceil(self.every_tokens / page_tokens)
            marks.update(range(step, pages + 1, step))
        if self.ends:
            marks.add(pages)
        if self.branches:
            marks.add(min(found, pages))
        return tuple(sorted(marks - {0}))


#: What is kept for a model with recurrent layers where no rule is given.
ENDS = StateRule(ends=True)
