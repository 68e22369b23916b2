"""How much is tried: a quarter of a property test's examples in `make test`, all of them in `make test-all`."""

from hypothesis import settings

FULL_EXAMPLES = 100


def examples(count: int) -> int:
    """The examples of a test that needs `count` of them in full."""
    return max(5, count * settings().max_examples // FULL_EXAMPLES)


def is_full() -> bool:
    """Whether the tests run in full, as `make test-all` has them."""
    return settings().max_examples >= FULL_EXAMPLES
