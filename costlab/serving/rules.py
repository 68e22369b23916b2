"""What a layout is: its pools, how jobs move between them, and what may fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from costlab import checks
from costlab.checks import whole
from costlab.serving.failures import Failures
from costlab.serving.links import SENDINGS, Link, Sending, SentBytes
from costlab.serving.pools import WorkerPool

#: When a decode worker is chosen: with the prefill worker at arrival; before it, which is chosen once decode has given
#: blocks; or when the prompt is read, whose blocks wait until decode has some.
DecodeChoice = Literal["together", "decode first", "decode last"]
DECODE_CHOICES: tuple[DecodeChoice, ...] = ("together", "decode first", "decode last")

#: Which transfers share a link: those of one prefill worker, those to one decode worker, or all.
SharedBy = Literal["sender", "receiver", "all"]
SHARED_BY: tuple[SharedBy, ...] = ("sender", "receiver", "all")


@dataclass(frozen=True)
class Borrowing:
    """When a pool borrows workers of the other one, which go back when their last job of the other kind is done.

    Raises:
        ValueError: a negative number of tokens, or a share outside 0 to 1.
    """

    pending_tokens: int = 8192  # prefill borrows when its router's choice has more prompt tokens ahead
    kv_share: float = 0.9  # decode borrows when its router's choice has more of its blocks in use

    def __post_init__(self) -> None:
        if whole(self.pending_tokens, "pending_tokens") < 0 or not 0 <= self.kv_share <= 1:
            raise ValueError(f"{self}: pending_tokens should not be negative and kv_share be from 0 to 1")


@dataclass(frozen=True)
class Separation:
    """How jobs move from prefill to decode.

    Raises:
        ValueError: an unknown way, a negative number of tokens, or a way that needs decode first without it.
    """

    link: Link  # what caches cross
    sent: SentBytes  # their bytes, as decode holds them
    sending: Sending = "whole"  # when they are sent
    order: DecodeChoice = "together"  # when a decode worker is chosen
    shared_by: SharedBy = "sender"  # which transfers share a link
    # tokens for each job that it has which decode keeps free when it gives blocks to another
    growth_tokens: int = 512
    uncached_tokens: int = 0  # prompts with at most so many tokens that decode has not cached are read there
    borrowing: Borrowing | None = None  # None: pools stay as they are

    def __post_init__(self) -> None:
        checks.one_of(SENDINGS, self.sending, "way of sending")
        checks.one_of(DECODE_CHOICES, self.order, "order")
        checks.one_of(SHARED_BY, self.shared_by, "way of sharing")
        for name in ("growth_tokens", "uncached_tokens"):
            if whole(getattr(self, name), name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} should not be negative")
        if self.order == "decode last" and self.sending != "whole":
            raise ValueError(f"sending {self.sending!r} needs a reader from the first on, but order is {self.order!r}")
        if self.order == "decode last" and self.uncached_tokens:
            raise ValueError(
                f"uncached_tokens = {self.uncached_tokens} needs decode first, but order is {self.order!r}"
            )


@dataclass(frozen=True)
class PoolRules:
    """A layout's pools, by name, and what happens between them.

    Raises:
        ValueError: other than one pool, or two with something between them; failures of what is not there.
    """

    name: str  # in words, for reports
    pools: Mapping[str, WorkerPool]  # one that does all, or the one that reads prompts and the one that decodes
    moving: Separation | None = None  # None: jobs stay where they come
    failures: Failures = field(default_factory=Failures)  # what goes wrong

    def __post_init__(self) -> None:
        if len(self.pools) != (1 if self.moving is None else 2):
            raise ValueError(f"pools {', '.join(self.pools)} should be one, or two with something between them")
        self.failures.check({name: pool.workers for name, pool in self.pools.items()}, self.moving is not None)

    @property
    def separation(self) -> Separation:
        """How jobs move; asked for where they do."""
        assert self.moving is not None
        return self.moving

    @property
    def chips(self) -> int:
        """Chips of all pools."""
        return sum(pool.chips for pool in self.pools.values())
