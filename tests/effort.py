"""How much is tried: a quarter of a property test's examples in `make test`, all of them in `make test-all`."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

Case = TypeVar("Case")

FULL_EXAMPLES = 100


def examples(count: int) -> int:
    """The examples of a test that needs `count` of them in full."""
    return max(5, count * settings().max_examples // FULL_EXAMPLES)


def is_full() -> bool:
    """Whether the tests run in full, as `make test-all` has them."""
    return settings().max_examples >= FULL_EXAMPLES


def some(cases: Sequence[Case], every: int, first: int = 0) -> Sequence[Case]:
    """All cases where the tests run in full, else one of `every`, from the `first` on."""
    return cases if is_full() else cases[first::every]
