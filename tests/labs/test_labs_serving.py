"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import pytest

from costlab import catalog
from labs import course as c

#: Each mistake: the checks that should see it, and the changes of the solved answer of that name.
WRONG = {
    "TTFT without the queue": ("times", "times", [("token_s[0] - arrival_s", "token_s[0] - begun_s")]),
    "TPOT over all tokens": ("times", "times", [("gaps.mean()", "gaps.sum() / len(token_s)")]),
    "no TPOT is 0": ("times", "times", [("ttft_s, math.nan, math.nan", "ttft_s, 0.0, 0.0")]),
    "a wait below 0": ("waits", "waits", [("max(0.0, ", "(")]),
    "the wait of its own service": ("waits", "waits", [("services[i - 1]", "services[i]")]),
    "no end to the queue": ("mean", "mean", [("if used < 1 else math.inf", "if used != 1 else math.inf")]),
    "exponential services": ("mean", "mean", [("(2 * (1 - used))", "(1 - used)")]),
    "answers beside the budget": ("compose-budget", "compose", [("budget - len(decoding)", "budget")]),
    "answers that stall": (
        "compose-budget",
        "compose",
        [("if call.read == call.prompt]", "if call.read == call.prompt][:budget - 1]")],
    ),
    "waiting before running": (
        "compose-order",
        "compose",
        [("    for call in running:\n", "    for call in sorted(running, key=lambda each: -each.prompt):\n")],
    ),
    "as many as come": ("compose-order", "compose", [(" and len(running) < most", "")]),
    "one newcomer a step": ("compose-order engine-equal", "compose", [("    while waiting and", "    if waiting and")]),
    "the last to come is begun first": ("compose-order engine-equal", "compose", [("waiting.pop(0)", "waiting.pop()")]),
    "begun without a piece": ("compose-budget", "compose", [("waiting and left > 0 and", "waiting and")]),
    "whole prompts only": ("compose-budget", "compose", [("min(call.prompt, left)", "call.prompt")]),
    "the first token by decode": (
        "after engine-equal",
        "after",
        [("[*decoding, *(call for call, _ in pieces if call.read == call.prompt)]", "decoding")],
    ),
    "a token for each piece": ("after engine-equal", "after", [(" if call.read == call.prompt)]", ")]")]),
    "a token too many": ("after engine-equal", "after", [("== call.answer", "> call.answer")]),
    "a step for the first token": ("decode-rate", "decode", [("(answer - 1)", "answer")]),
    "memory without end": (
        "decode-rate",
        "decode",
        [("and (batch + 1) * (prompt + answer) <= ROOM_TOKENS", "and batch < 9999")],
    ),
    "the promised step, not the real one": ("decode-rate", "decode", [("(step_s([context] * batch)", "(tpot_s")]),
    "a step more than promised": (
        "decode-rate",
        "decode",
        [("step_s([context] * (batch + 1)) <=", "step_s([context] * batch) <=")],
    ),
    "ratio inverted": ("ratio", "ratio", [("decode / prefill", "prefill / decode")]),
    "the faster side": ("split", "split", [("key=lambda n: min(", "key=lambda n: max(")]),
    "both sides together": (
        "split",
        "split",
        [("min(best * prefill, (workers - best) * decode)", "best * prefill + (workers - best) * decode")],
    ),
    "nobody decodes": ("split", "split", [("range(1, workers)", "range(workers, 0, -1)")]),
    "a load without a queue": ("ttft-load", "ttft", [("2 * wait_s / (read_s + 2 * wait_s)", "1.0")]),
    "the wait alone": ("ttft-load", "ttft", [("ttft_s - read_s  #", "ttft_s  #")]),
    "one queue for all": ("ttft-load", "ttft", [("workers * used / read_s", "used / read_s")]),
    "Little's law with all tokens": ("tpot-load", "tpot", [("(answer - 1)", "answer")]),
    "the context of the prompt": ("tpot-load", "tpot", [("prompt + answer / 2", "prompt")]),
    "a load below 0": ("tpot-load", "tpot", [("max(0.0, workers", "max(-9.0, workers")]),
    "a prompt alone": ("longest", "longest", [("each = rate / workers", "each = 1e-9")]),
    "a token too long": ("longest", "longest", [("math.floor(", "math.ceil(")]),
    "the threshold goes too": ("rule", "rule", [(" > threshold", " >= threshold")]),
    "the whole length": ("rule", "rule", [("prompt - cached", "prompt")]),
    "the article's 4,096": ("design-seen design-unseen", "design", [("1024", "4096")]),
    "one prefill worker": ("design-seen design-unseen", "design", [(', "threshold": 1024', "")]),
    "the closed form's split": ("design-seen design-unseen", "design", [("1024", "1024, 'prefill': 2, 'decode': 2")]),
    "buckets": (
        "design-seen design-unseen",
        "design",
        [("1, ", "2, "), ('3, "threshold"', '2, "edge"')],
    ),
    "all do both": ("design-seen design-unseen", "design", [("1, ", "0, "), ("3, ", "4, ")]),
    "more than there are": ("design-seen design-unseen", "design", [("3, ", "4, ")]),
    "weights alone": ("shares", "shares", [("(facts.weight_bytes + facts.cache_bytes)", "facts.weight_bytes")]),
    "a full link": ("shares", "shares", [("(0.7 * facts.link_bytes_s)", "facts.link_bytes_s")]),
    "all chips send all": ("shares", "shares", [(" / facts.prefill_chips", "")]),
    "allowed over needed": ("shares", "shares", [("facts.read_s / ttft_s", "ttft_s / facts.read_s")]),
    "the first above 1": (
        "binding",
        "binding",
        [("max(shares, key=shares.get)", "[n for n in shares if shares[n] > 1][0]")],
    ),
    "the loosest": ("binding", "binding", [("max(shares", "min(shares")]),
}
#: Other ways to be right.
RIGHT = {
    "a search for the load": (
        "ttft-load",
        "ttft",
        [
            (
                "    return workers * used / read_s if wait_s > 0 else 0.0",
                "    low, high = 0.0, 1 / read_s\n"
                "    for _ in range(80):\n"
                "        rate = (low + high) / 2\n"
                "        wait = rate * read_s**2 / 2 / (1 - rate * read_s)\n"
                "        low, high = (rate, high) if wait + read_s < ttft_s else (low, rate)\n"
                "    return workers * low if wait_s > 0 else 0.0",
            )
        ],
    ),
    "any threshold between the two kinds": ("design-seen design-unseen", "design", [("1024", "4095")]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    checks, answer, changes = WRONG[mistake]
    c.failed(c.cells("serving"), checks, c.given("serving", f"{answer}-answer", changes))


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    checks, answer, changes = RIGHT[way]
    c.passed(c.cells("serving"), checks, c.given("serving", f"{answer}-answer", changes))


def test_the_lab_s_step_is_close_to_a_published_fit() -> None:
    """Each term within 12% of DistServe's OPT-13B on one A100; it says so."""
    fit, names = catalog.tables().step_times["distserve-opt-13b-tp1"], c.told("serving")
    fixed_ms = (fit.prefill.constant_ms, fit.decode.constant_ms)
    assert [1e3 * names["STEP_S"]] * 2 == pytest.approx(fixed_ms, rel=0.12)
    assert 1e3 * names["PROMPT_S"] == pytest.approx(fit.prefill.token_ms, rel=0.12)
    assert 1e3 * names["ANSWER_S"] == pytest.approx(fit.decode.sequence_ms, rel=0.12)
    assert 1e3 * names["CONTEXT_S"] == pytest.approx(fit.decode.context_ms, rel=0.12)
    assert names["ROOM_TOKENS"] == pytest.approx(fit.kv_tokens, rel=0.12)
