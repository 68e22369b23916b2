"""How many examples a property test draws: a quarter in `make test`, all of them in `make test-all`."""

from hypothesis import settings

FULL_EXAMPLES = 100


def examples(count: int) -> int:
    """The examples of a test that needs `count` of them in full."""
    return max(5, count * settings().max_examples // FULL_EXAMPLES)
