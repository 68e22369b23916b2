"""What is billed: the tokens of one call, counted as a provider's record has them, or described by a hit rate."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from costlab import checks
from costlab.catalog import Scenario
from costlab.checks import MAX_COUNT


@dataclass(frozen=True)
class Counts:
    """The tokens of one call, each input token in one of four places.

    Raises:
        ValueError: a count that is no whole number from 0 to 2**53; more thinking than output.
    """

    hit: int = 0  # input tokens found in the cache
    miss: int = 0  # input tokens neither found there nor written
    write: int = 0  # input tokens written to a cache of the shorter, or only, lifetime
    write_long: int = 0  # input tokens written to a cache of the longer lifetime
    output: int = 0  # output tokens, those of thinking included
    thinking: int = 0  # of them, tokens of thinking

    def __post_init__(self) -> None:
        for name in ("hit", "miss", "write", "write_long", "output", "thinking"):
            object.__setattr__(self, name, _count(getattr(self, name), name, 0))
        if self.thinking > self.output:
            raise ValueError(f"thinking = {self.thinking} tokens exceed the {self.output} of the output")

    @property
    def input_tokens(self) -> int:
        """All input tokens; their number decides the context tier."""
        return self.hit + self.miss + self.write + self.write_long


@dataclass(frozen=True)
class Workload:
    """Tokens of one call and how often it is made; hits as a share of the input or as a count, not both."""

    input_tokens: int  # of one call
    output_tokens: int  # of one call
    hit_rate: float = 0.0  # share of input tokens found in the cache, 0 to 1
    calls: int = 1  # how many
    write_tokens: int = 0  # input tokens of one call written to a billed cache
    write_long_tokens: int = 0  # input tokens of one call written to a cache of the longer lifetime
    thinking_tokens: int = 0  # output tokens of one call that are thinking
    hit_tokens: int | None = None  # input tokens of one call found in the cache; None: `hit_rate` says it

    def __post_init__(self) -> None:
        least = {"calls": 1}
        for name in ("input_tokens", "output_tokens", "calls", "write_tokens", "write_long_tokens", "thinking_tokens"):
            _count(getattr(self, name), name, least.get(name, 0))
        if self.hit_tokens is not None:
            self._take_hit_tokens()
        if not 0 <= self.hit_rate <= 1:
            raise ValueError(f"hit_rate should lie between 0 and 1, got {self.hit_rate!r}")
        if self.thinking_tokens > self.output_tokens:
            raise ValueError(
                f"thinking_tokens = {self.thinking_tokens} exceed the {self.output_tokens} output tokens of a call"
            )
        self._check_writes()

    def _take_hit_tokens(self) -> None:
        """Make the rate of a count of hits."""
        hits = _count(self.hit_tokens, "hit_tokens", 0)
        if hits > self.input_tokens:
            raise ValueError(f"hit_tokens = {hits} exceed the {self.input_tokens} input tokens of a call")
        rate = hits / self.input_tokens if self.input_tokens else 0.0
        if self.hit_rate not in (0, rate):
            raise ValueError(f"give hit_rate or hit_tokens: {self.hit_rate!r} is not {hits} of {self.input_tokens}")
        object.__setattr__(self, "hit_rate", rate)

    def _check_writes(self) -> None:
        missed = float(self.input_tokens - self.hits)
        # a rate made of whole counts is off by half a unit in the last place, and so are the difference and the product
        room = 0.0 if self.hit_tokens is not None else 1e-9 + self.input_tokens * 2.0**-51
        written = self.write_tokens + self.write_long_tokens
        if written > missed + room:
            names = "write_tokens + write_long_tokens" if self.write_long_tokens else "write_tokens"
            raise ValueError(f"{names} = {written} exceed the {missed:.12g} input tokens that miss")

    @property
    def hits(self) -> Decimal:
        """Input tokens of one call that hit, as a mean over the calls."""
        if self.hit_tokens is not None:
            return Decimal(int(self.hit_tokens))
        return int(self.input_tokens) * Decimal(repr(float(self.hit_rate)))  # 0.7 of 10 are 7

    @property
    def misses(self) -> Decimal:
        """Input tokens of one call that neither hit nor are written, as a mean over the calls."""
        written = int(self.write_tokens) + int(self.write_long_tokens)
        return max(Decimal(0), int(self.input_tokens) - self.hits - written)

    @classmethod
    def from_scenario(cls, scenario: Scenario) -> Workload:
        """Return the workload of a catalogued scenario."""
        return cls(scenario.input_tokens, scenario.output_tokens, scenario.hit_rate, scenario.calls)


def _count(value: object, name: str, least: int) -> int:
    try:
        found = checks.whole(value, name)
    except ValueError:
        found = -1
    if not least <= found <= MAX_COUNT:
        raise ValueError(f"{name} should be a whole number from {least} to 2**53, got {value!r}")
    return found
