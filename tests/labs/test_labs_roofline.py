"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import textwrap
from functools import cache
from typing import Any

import numpy as np
import pytest

from costlab import roofline
from labs import course as c

CELLS = {cell.id: cell.source for cell in c.source("roofline").cells}
SLOWER = "max(flops / chip.flops_s, moved / chip.bytes_s)"
SQUARES = "np.sum(x**2) / np.sum(x)"
FOUND = "usd, group, batch = min(found)"

#: Each mistake: the check that should see it, and the changes of the solved answer of that name.
WRONG = {
    "one after the other": (
        "attained",
        [("max(flops / chip.flops_s, moved_bytes", "(flops / chip.flops_s + moved_bytes")],
    ),
    "the faster of the two": ("attained", [("max(", "min(")]),
    "no flat roof": (
        "attained",
        [("max(flops / chip.flops_s, moved_bytes / chip.bytes_s)", "(moved_bytes / chip.bytes_s)")],
    ),
    "the flat roof alone": (
        "attained",
        [("max(flops / chip.flops_s, moved_bytes / chip.bytes_s)", "(flops / chip.flops_s)")],
    ),
    "seconds": ("attained", [("flops / max", "max")]),
    "one FLOP a pair": ("intensity", [("2 * batch", "batch")]),
    "a matrix for each vector": ("intensity", [("(rows * columns + batch", "(batch * rows * columns + batch")]),
    "no results": ("intensity", [(" + batch * columns", "")]),
    "no vectors": ("intensity", [(" + batch * rows + batch * columns", "")]),
    "numbers for bytes": ("intensity", [("size * (", "(")]),
    "bytes by FLOPs": ("intensity", [("return flops / (", "return 1 / flops * (")]),
    "weights for each sequence": ("decode", [("model.weight_bytes + batch", "batch * model.weight_bytes + batch")]),
    "one cache for all": ("decode", [("+ batch * context * model.kept", "+ context * model.kept")]),
    "no attention": ("decode", [(" + context * model.seen_flops", "")]),
    "a FLOP a parameter": ("decode", [("2 * model.params", "model.params")]),
    "the work of one": ("decode", [("batch * (2", "(2")]),
    "both in turn": ("decode", [(SLOWER, "flops / chip.flops_s + moved / chip.bytes_s")]),
    "memory alone": ("decode", [(SLOWER, "moved / chip.bytes_s")]),
    "per token": ("decode", [("return max", "return 1 / batch * max")]),
    "not at itself": ("prefill", [("new * (new + 1) / 2", "new * (new - 1) / 2")]),
    "at those after it": ("prefill", [("new * (new + 1) / 2", "new * new")]),
    "not at the prefix": ("prefill", [("new * prefix + ", "")]),
    "the prefix once": ("prefill", [("new * prefix + ", "prefix + ")]),
    "a prefix that nobody reads": ("prefill", [("(prefix + new) * model.kept", "new * model.kept")]),
    "no weights": ("prefill", [("model.weight_bytes + ", "")]),
    "the prefix computed again": ("prefill", [("2 * new * model.params", "2 * (prefix + new) * model.params")]),
    "no caches": ("leaves", [("reads = context * model.kept_bytes / chip.bytes_s", "reads = 0.0")]),
    "no attention at all": ("leaves", [(" + context * model.seen_flops", "")]),
    "never is below zero": ("leaves", [("if computes <= reads:", "if computes == reads:")]),
    "a batch more": ("leaves", [("return model", "return 1 // 1 + model")]),
    "caches that save": ("leaves", [("(computes - reads)", "(computes + reads)")]),
    "context without attention": ("never", [(" - model.seen_flops / chip.flops_s", "")]),
    "context below zero": ("never", [(" if more > 0 else math.inf", "")]),
    "half the parameters": ("never", [("2 * model.params", "model.params")]),
    "split evenly": ("split", [("math.ceil(heads / group) * cache_bytes / heads", "cache_bytes / group")]),
    "parts of heads": ("split", [("math.ceil(heads / group)", "max(1, heads / group)")]),
    "rounded down": ("split", [("math.ceil(heads / group)", "max(1, heads // group)")]),
    "never split": ("split", [("math.ceil(heads / group)", "heads")]),
    "one head each": ("split", [("math.ceil(heads / group)", "1")]),
    "all memory": ("room", [("0.9 * memory_bytes", "memory_bytes")]),
    "nine tenths of what is free": (
        "room",
        [("(0.9 * memory_bytes - weight_bytes)", "0.9 * (memory_bytes - weight_bytes)")],
    ),
    "each chip alone": ("room", [("chips // group * max", "chips * max")]),
    "one big chip": (
        "room",
        [
            (
                "chips // group * max(0, each)",
                "max(0, int(chips // group * (0.9 * memory_bytes - weight_bytes) / cache_bytes))",
            )
        ],
    ),
    "fewer than none": ("room", [("max(0, each)", "each")]),
    "rounded up": ("room", [("math.floor", "math.ceil")]),
    "one chip's rent": ("usd", [("rent * chips", "rent")]),
    "a day": ("usd", [("3600", "86400")]),
    "a thousand tokens": ("usd", [("1e6", "1e3")]),
    "chips that make tokens": ("usd", [("/ tokens", "/ (tokens * chips)")]),
    "whatever was promised": ("design", [("if step_s(group, batch) * speed <= 1", "")]),
    "the speed of all users": (
        "design",
        [("step_s(group, batch) * speed <= 1", "step_s(group, batch) * speed <= batch")],
    ),
    "speed taken for seconds": ("design", [("step_s(group, batch) * speed <= 1", "step_s(group, batch) <= speed")]),
    "a user too few": ("design", [("room(group) + 1", "room(group)")]),
    "room of one chip": ("design", [("room(group) + 1", "room(1) + 1")]),
    "the rent of one chip": ("design", [("rent * group", "rent")]),
    "the largest batch": ("design", [(FOUND, "usd, group, batch = max(found, key=lambda each: each[2])")]),
    "the first that will do": ("design", [(FOUND, "usd, group, batch = found[0]")]),
    "full replicas only": ("design", [("range(1, room(group) + 1)", "[room(group)]")]),
    "an empty choice": ("design", [("return None", "return ()")]),
    "a mean of shares": ("fit", [(SQUARES, "np.mean(x)")]),
    "a mean of slowdowns": ("fit", [(SQUARES, "1 / np.mean(1 / x)")]),
    "all together": ("fit", [(SQUARES, "np.sum(ideal_s) / np.sum(took_s)")]),
    "squares of seconds": ("fit", [(SQUARES, "np.dot(ideal_s, ideal_s) / np.dot(ideal_s, took_s)")]),
    "upside down": ("fit", [(SQUARES, "np.sum(x) / np.sum(x**2)")]),
    "seen after all": (
        "left",
        [("e = fit([*ideal_s[:i], *ideal_s[i + 1 :]], [*took_s[:i], *took_s[i + 1 :]])", "e = fit(ideal_s, took_s)")],
    ),
    "only those before": (
        "left",
        [
            ("*ideal_s[:i], *ideal_s[i + 1 :]", "*(ideal_s[:i] or ideal_s[1:])"),
            ("*took_s[:i], *took_s[i + 1 :]", "*(took_s[:i] or took_s[1:])"),
        ],
    ),
    "faster than the roof": ("left", [("ideal_s[i] / e", "ideal_s[i] * e")]),
    "no sign": ("left", [("ideal_s[i] / e / took_s[i] - 1", "abs(ideal_s[i] / e / took_s[i] - 1)")]),
    "relative to the prediction": ("left", [("ideal_s[i] / e / took_s[i] - 1", "1 - took_s[i] / (ideal_s[i] / e)")]),
    "measured less predicted": ("left", [("ideal_s[i] / e / took_s[i] - 1", "1 - ideal_s[i] / e / took_s[i]")]),
}

#: Each other way that is right: the check that should pass, and the answer.
RIGHT = {
    "the lower roof": (
        "attained",
        """
        def attained(flops, moved_bytes, chip):
            return np.float32(min(chip.flops_s, flops / moved_bytes * chip.bytes_s))
        """,
    ),
    "halves added": (
        "intensity",
        """
        def intensity(batch, rows, columns, size):
            return 2 / size / (1 / batch + 1 / columns + 1 / rows)
        """,
    ),
    "one sequence at a time": (
        "decode",
        """
        def decode_s(batch, context, model, chip):
            reading, computing = model.weight_bytes / chip.bytes_s, 0.0
            for _ in range(batch):
                reading += context * model.kept_bytes / chip.bytes_s
                computing += (2 * model.params + context * model.seen_flops) / chip.flops_s
            return np.float32(max(reading, computing))
        """,
    ),
    "an array of looks": (
        "prefill",
        """
        def prefill_s(new, prefix, model, chip):
            looks = np.arange(prefix + 1, prefix + new + 1, dtype=float).sum()
            computing = (2 * model.params * new + looks * model.seen_flops) / chip.flops_s
            reading = (model.weight_bytes + model.kept_bytes * new + model.kept_bytes * prefix) / chip.bytes_s
            return computing if computing > reading else reading
        """,
    ),
    "in bytes for a FLOP": (
        "leaves",
        """
        def leaves_at(context, model, chip):
            ridge = chip.flops_s / chip.bytes_s
            more = 2 * model.params + context * model.seen_flops - ridge * context * model.kept_bytes
            return ridge * model.weight_bytes / more if more > 0 else float("inf")
        """,
    ),
    "by the ridge": (
        "never",
        """
        def never_from(model, chip):
            more = model.kept_bytes * (chip.flops_s / chip.bytes_s) - model.seen_flops
            return np.float32(2 * model.params / more) if more > 0 else np.inf
        """,
    ),
    "whole numbers": (
        "split",
        """
        def cache_on_chip(cache_bytes, heads, group):
            return (heads + group - 1) // group * (cache_bytes / heads)
        """,
    ),
    "a count": (
        "room",
        """
        def room(memory_bytes, weight_bytes, cache_bytes, chips, group):
            free, users = memory_bytes * 0.9 - weight_bytes, 0
            while free >= cache_bytes:
                free, users = free - cache_bytes, users + chips / group
            return users
        """,
    ),
    "tokens of an hour": (
        "usd",
        """
        def usd_per_million(seconds, tokens, chips, rent):
            return np.float32(chips * rent / (3600 / seconds * tokens / 1_000_000))
        """,
    ),
    "loops": (
        "design",
        """
        def cheapest(groups, room, step_s, speed, rent):
            best = None
            for group in groups:
                for batch in range(room(group), 0, -1):
                    seconds = step_s(group, batch)
                    if 1 / seconds < speed:
                        continue
                    usd = group * rent / (batch / seconds * 3600) * 1e6
                    if best is None or usd < best[2]:
                        best = [group, batch, usd]
            return best
        """,
    ),
    "least squares": (
        "fit",
        """
        def efficiency(ideal_s, took_s):
            x = np.array(ideal_s, dtype=np.float32) / np.array(took_s, dtype=np.float32)
            slowdown = np.linalg.lstsq(x[:, None], np.ones_like(x), rcond=None)[0]
            return 1 / slowdown[0]
        """,
    ),
    "lists with one removed": (
        "left",
        """
        def left_out(ideal_s, took_s, fit):
            told = []
            for i, (ideal, took) in enumerate(zip(ideal_s, took_s)):
                others = [pair for j, pair in enumerate(zip(ideal_s, took_s)) if j != i]
                share = fit([pair[0] for pair in others], [pair[1] for pair in others])
                told.append((ideal / share - took) / took)
            return np.array(told)
        """,
    ),
}


@cache
def told() -> dict[str, Any]:
    """What the lab's cells define that an answer or a check may use."""
    names: dict[str, Any] = {}
    exec(CELLS["setup"], names)
    return names


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    check, changes = WRONG[mistake]
    names = dict(told())
    exec(c.changed(CELLS[f"{check}-answer"], changes), names)
    c.failed(CELLS, check, names)


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    check, answer = RIGHT[way]
    names = dict(told())
    exec(textwrap.dedent(answer), names)
    c.passed(CELLS, check, names)


def test_a_prefill_is_close_to_the_package_s() -> None:
    """The package runs the output head for the last token of a prompt only, which the lab leaves out."""
    names = dict(told())
    exec(CELLS["prefill-answer"], names)
    ours = roofline.deployment("llama-3.1-70b", "h100-sxm", 1).prefill(8192, prefix=4096)
    assert names["prefill_s"](8192, 4096, names["LLAMA"], names["H100"]) == pytest.approx(ours.seconds, rel=0.02)


def test_the_published_day_s_price_comes_out() -> None:
    """14,800 tokens a second of a node of eight at 2 USD a chip and hour: 0.30 USD a million, as the chapter says."""
    names = dict(told())
    exec(CELLS["usd-answer"], names)
    assert names["usd_per_million"](1.0, 14_800, 8, 2.0) == pytest.approx(0.30, abs=0.005)
    assert np.isclose(names["H100"].flops_s / names["H100"].bytes_s, 295, rtol=0.01)  # the ridge that is often quoted
