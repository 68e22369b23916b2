"""What breaks a prompt cache in one's own requests, what that costs, and which order of a prompt would save it.

`requests` reads a log of requests, `rendering` puts each into the bytes that a cache sees, `prefixes` replays a
provider's cache over them, `breaks` finds the bytes at which it stops matching and says why, `orders` rewrites the
requests and replays them again, `accounts` puts all into money. `router` is about which model a task goes to at all.

Nothing leaves the machine, and no text of a prompt is in any message or result unless it is asked for.
"""

from costlab.prompts.router import (
    Attempt,
    RoutedTasks,
    TaskKind,
    Verifier,
    always,
    break_even_accuracy,
    cascade,
    cheapest,
    equal_quality_accuracy,
    simulate_cascade,
    threshold,
)

__all__ = [
    "Attempt", "RoutedTasks", "TaskKind", "Verifier", "always", "break_even_accuracy", "cascade", "cheapest",
    "equal_quality_accuracy", "simulate_cascade", "threshold",
]  # fmt: skip
