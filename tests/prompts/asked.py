"""Requests that the tests of prompts share."""

from dataclasses import replace

from costlab import prompts
from costlab.catalog.cache_rules import cache_rules

RULES = cache_rules().rules
#: Any beginning from one token on, to the byte.
BARE = replace(RULES["openai"], minimum_tokens=1, block_tokens=1, lifetime_s=600.0)

#: Text that is long enough to be worth a cache, a line for each rule.
POLICY = "\n".join(f"Rule {i}: answer politely and check each customer's order before a refund." for i in range(30))
DOCUMENTS = [
    f"<document>\n{f'Page {name} of the manual says this. ' * 40}\n</document>" for name in ("one", "two", "six")
]


def tool(name, **more):
    schema = {"type": "object", "properties": {"order": {"type": "string"}, "sum": {"type": "number"}}}
    about = f"{name}: what an order needs, " * 12
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema, **more}}


TOOLS = [tool("find"), tool("refund"), tool("send")]


def chat(*turns, system=POLICY, **fields):
    """A chat request: the system's text, then user and assistant in turns."""
    roles = ("user", "assistant")
    spoken = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    first = [] if system is None else [{"role": "system", "content": system}]
    return {"model": "deepseek-v4-pro", "messages": [*first, *spoken], **fields}


def claude(*turns, system=POLICY, **fields):
    """A request in Anthropic's form."""
    return {**chat(*turns, system=None), "model": "claude-opus-5", "max_tokens": 100, "system": system, **fields}


def log_of(*bodies, gap_s=10):
    """Requests so many seconds apart."""
    return [
        prompts.request_of({"created_at": 1_790_000_000 + gap_s * i, "body": b}, i + 1) for i, b in enumerate(bodies)
    ]


def broken(*bodies, rule=BARE, gap_s=10):
    """The breaks of a log under a rule, one token a byte."""
    requests = log_of(*bodies, gap_s=gap_s)
    shown = [prompts.rendered(request) for request in requests]
    run = prompts.replay_prompts(shown, [request.time_s for request in requests], rule, 1.0)
    return prompts.breaks(requests, shown, run)


def run_of(requests, rule=BARE, ratio=1.0):
    return prompts.replay_prompts(
        [prompts.rendered(r) for r in requests], [r.time_s or 0.0 for r in requests], rule, ratio
    )
