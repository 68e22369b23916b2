"""What happens to sequences that a prefix cache has let in: they grow, pause, resume and go."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from costlab.cache import PrefixCache
from costlab.cache.prefix.match import Lease


def chained(tokens) -> tuple[tuple, ...]:
    """Prefix-chained ids: each page's id is the prompt up to it."""
    return tuple(tuple(tokens[: i + 1]) for i in range(len(tokens)))


class Leased(RuleBasedStateMachine):
    """Histories of sequences on a cache that a machine of this kind makes and lets them into."""

    cache: PrefixCache

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Lease] = []
        self.paused: list[Lease] = []
        self.grown = 0

    @rule(count=st.integers(0, 3), which=st.integers(0, 9))
    def extend(self, count, which) -> None:
        if self.running:
            lease = self.running[which % len(self.running)]
            pages = [("grown", self.grown + i) for i in range(count)]
            self.grown += count
            if self.cache.can_extend(lease, pages) and not lease.uncached:
                self.cache.extend(lease, pages)

    @rule(which=st.integers(0, 9))
    def preempt(self, which) -> None:
        if self.running:
            self.paused.append(self.running.pop(which % len(self.running)))
            self.cache.preempt(self.paused[-1])

    @rule(which=st.integers(0, 9))
    def resume(self, which) -> None:
        if self.paused and self.cache.can_resume(self.paused[which % len(self.paused)]):
            self.running.append(self.paused.pop(which % len(self.paused)))
            self.cache.resume(self.running[-1])

    @rule(which=st.integers(0, 9), paused=st.booleans())
    def release(self, which, paused) -> None:
        here = self.paused if paused else self.running
        if here:
            self.cache.release(here.pop(which % len(here)))
