"""Writes support.jsonl: sixteen made-up requests to a support service, whose cache is broken in several ways.

python tests/prompts/make_log.py
"""

import json
import random
from pathlib import Path

LOG = Path(__file__).parent / "support.jsonl"
WORDS = [
    "order", "refund", "parcel", "invoice", "customer", "account", "address", "number", "shipping", "delay", "within",
    "days", "answer", "politely", "always", "check", "before", "sending", "please", "confirm", "the", "of", "to", "and",
    "when", "if", "return", "label", "payment", "card",
]  # fmt: skip
START_S = 1_795_000_000  # 2026-11-18


def sentence(rng, words):
    return f"{' '.join(rng.choice(WORDS) for _ in range(words)).capitalize()}."


def tool(name, rng):
    properties = {
        "order": {"type": "string", "description": sentence(rng, 12)},
        "amount": {"type": "number", "description": sentence(rng, 9)},
    }
    schema = {"type": "object", "properties": properties, "required": ["order"]}
    return {"type": "function", "function": {"name": name, "description": sentence(rng, 60), "parameters": schema}}


def requests():
    """Yield the lines: a clock in the system text, tools in two orders, documents behind a question, in any order."""
    rng = random.Random(7)
    tools = [tool(name, rng) for name in ("find_order", "refund", "send_label", "notify")]
    rules = "\n".join(sentence(rng, 20) for _ in range(14))
    documents = [f"<document>\n{sentence(rng, 130)}\n</document>" for _ in range(3)]
    now = START_S
    for number in range(16):
        now += rng.randint(20, 200)
        clock = f"2026-11-18 {11 + number // 8}:{number % 8 * 7:02d}:{number:02d} UTC"
        system = f"You answer for a shop.\nCurrent time: {clock}.\n{rules}"
        shown = rng.sample(documents, 3)
        question = f"Question: {sentence(rng, 10)}\n\n"
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question + "\n".join(shown)}]
        mine = tools if number % 4 else tools[::-1]
        body = {"model": "deepseek-v4-pro", "messages": messages, "tools": mine}
        yield json.dumps({"timestamp": now, "request": body})


if __name__ == "__main__":
    LOG.write_text("".join(f"{line}\n" for line in requests()))
