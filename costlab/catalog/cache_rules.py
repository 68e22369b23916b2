"""What cache_rules.toml holds: what a provider's prompt cache keeps and finds again.

It is read when first asked for: who prices tokens needs none of it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from costlab.catalog.decoding import CatalogError, FrozenDict, decode, read_toml

_FILE = Path(__file__).parent / "cache_rules.toml"


@dataclass(frozen=True)
class CacheRule:
    """How one provider's prompt cache works, as far as its guide says."""

    provider: str  # whose; "" stands for all that have no rule
    finds: Literal["blocks", "units", "marks"]  # any beginning, whole kept ones, or those that end at a mark
    minimum_tokens: int  # least length of what is kept
    block_tokens: int  # hits are cut to whole blocks of so many tokens
    lifetime_s: float  # how long something unused stays, s
    source: str  # where it stands
    date: date  # day it was read, or last changed
    products: tuple[str, ...] = ()  # beginnings of names; none: all of the provider's other products
    marks_end: bool = False  # whether a request's end is kept without a mark
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if self.minimum_tokens < 1 or self.block_tokens < 1:
            raise ValueError(f"minimum_tokens = {self.minimum_tokens}, block_tokens = {self.block_tokens}: at least 1")
        if not 0 < self.lifetime_s < math.inf:
            raise ValueError(f"lifetime_s = {self.lifetime_s} should be above 0 and finite")


@dataclass(frozen=True)
class TokenRatio:
    """How many bytes of text make a token, where no tokenizer is asked."""

    bytes_per_token: float  # of UTF-8
    says: str  # the source's statement, in words
    source: str  # where it stands
    date: date  # day it was read
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if not 0 < self.bytes_per_token < math.inf:
            raise ValueError(f"bytes_per_token = {self.bytes_per_token} should be above 0 and finite")


@dataclass(frozen=True)
class CacheRules:
    """All that cache_rules.toml holds, by name."""

    rules: FrozenDict[str, CacheRule]  # of providers' caches
    ratios: FrozenDict[str, TokenRatio]  # bytes of a token


@functools.cache
def cache_rules(path: Path = _FILE) -> CacheRules:
    """Read and check the file.

    Raises:
        CatalogError: naming file, line, key and value of the first fault.
    """
    source = read_toml(path)
    if unknown := sorted(source.data.keys() - {"rule", "ratio"}):
        raise CatalogError(f"{source.place(unknown[0])}: unknown table; known here: rule, ratio")
    rules, ratios = (source.data.get(name, {}) for name in ("rule", "ratio"))
    return CacheRules(
        FrozenDict({key: decode(CacheRule, row, source.place("rule", key)) for key, row in rules.items()}),
        FrozenDict({key: decode(TokenRatio, row, source.place("ratio", key)) for key, row in ratios.items()}),
    )


def cache_rule(provider: str, product: str) -> CacheRule:
    """Return the rule of a product: the one that names it, else its provider's, else the one for all others.

    Args:
        provider: as the price list names it, e.g. "OpenAI".
        product: its name, e.g. "gpt-6-sol".
    """
    rules = cache_rules().rules
    mine = [rule for rule in rules.values() if rule.provider == provider]
    named = [rule for rule in mine if any(_begins(product, start) for start in rule.products)]
    return next(iter([*named, *(rule for rule in mine if not rule.products)]), rules["other"])


def _begins(product: str, start: str) -> bool:
    """Whether a name begins with whole words: gpt-5.6-sol with gpt-5.6, claude-opus-5.5 with claude-opus-5."""
    return product.startswith(start) and product[len(start) : len(start) + 1] in ("", "-", ".")
