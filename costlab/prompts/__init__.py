"""What breaks a prompt cache in one's own requests, what that costs, and which order of a prompt would save it.

`requests` reads a log of requests, `rendering` puts each into the bytes that a cache sees, `prefixes` replays a
provider's cache over them, `breaking` finds the bytes at which it stops and `causes` says why (`patterns` knows times
and ids), `orders` has the requests rewritten (`rewriting`) and replayed, `accounts` puts all into money. `router` is
about which model a task goes to.

>>> from costlab import prompts
>>> system = "You answer questions about orders. " * 40
>>> log = [
...     prompts.request_of({"model": "m", "messages": [{"role": "system", "content": f"It is 10:{i}5. {system}"}]})
...     for i in range(4)
... ]
>>> found = prompts.prompt_account(log)
>>> [(group.cause, group.path, group.offset, group.requests) for group in found.groups]
[('clock', 'messages[0].content', 9, 3)]
>>> [change.name for change in found.proposal.changes if change.taken]
['clock and ids last']

Nothing leaves the machine, and no text of a prompt is in any message or result unless it is asked for.
"""

from costlab.prompts.accounts import MONTH_S, PromptAccount, prompt_account
from costlab.prompts.breaking import BREAK_CAUSES, Break, BreakGroup, breaks, grouped_breaks
from costlab.prompts.orders import CHANGES, Change, OrderProposal, ProposedChange, ReplaySums, proposal
from costlab.prompts.prefixes import FoundPrefix, PromptReplay, SharedPrefix, replay_prompts, shared_prefixes
from costlab.prompts.rendering import Rendered, rendered
from costlab.prompts.requests import PromptRequest, read_requests, request_of
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
    "BREAK_CAUSES",
    "CHANGES",
    "MONTH_S",
    "Attempt",
    "Break",
    "BreakGroup",
    "Change",
    "FoundPrefix",
    "OrderProposal",
    "PromptAccount",
    "PromptReplay",
    "PromptRequest",
    "ProposedChange",
    "Rendered",
    "ReplaySums",
    "RoutedTasks",
    "SharedPrefix",
    "TaskKind",
    "Verifier",
    "always",
    "break_even_accuracy",
    "breaks",
    "cascade",
    "cheapest",
    "equal_quality_accuracy",
    "grouped_breaks",
    "prompt_account",
    "proposal",
    "read_requests",
    "rendered",
    "replay_prompts",
    "request_of",
    "shared_prefixes",
    "simulate_cascade",
    "threshold",
]  # fmt: skip
