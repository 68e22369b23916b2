"""Speculative decoding beside its peers: text of the shipped models by each method.

python benchmarks/speculative.py [--quick] [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from peers import Row, beside, best, from_tests, main, timed

from costlab.nn.speculative import ByteModel, Family, held_out_text, load_family
from costlab.nn.speculative.decoding import Generation, conditional_acceptance, generate_texts, streams_of
from costlab.nn.speculative.drafts import NoDraft, Proposer
from costlab.nn.speculative.rounds import Line
from costlab.nn.speculative.runners import ByteRunner, Rows
from costlab.nn.speculative.shipped import proposer

#: Methods and their lengths; a name of `shipped.METHODS`, and after a dash another length than the bars' own.
METHODS = {"draft": 3, "mtp": 3, "lookup": 7, "ngram": 5, "ngram-7": 7, "tree": 3}
BATCHES = (1, 4, 16, 32)
TEMPERATURES = (0.0, 1.0)
#: Smallest speed-up at batch 1 on text before it loops, at temperature 0 and at 1; and smallest tokens a pass.
SPEED_GOALS = {"best": (2.0, 1.5), "draft": (1.3, 1.15), "mtp": (1.25, 1.1)}
TOKEN_GOALS = {"draft": (3.0, 2.7), "mtp": (3.1, 2.9), "ngram": (3.5, 2.8)}
#: Prompts at batches above 1, half of them at batch 1; tokens behind each; how often each is timed. And with --quick.
SIZES = {False: (32, 128, 2), True: (2, 24, 1)}
LOOP_FREE = 192  # prompts of the loop-free figures at batch 1, of which few bytes are left before the loop
MOST_ROWS = 16  # of a round: so far behind the loop's first byte a text goes on, so that its last round is not cut
PROMPT, SHORTEST = 192, 16  # bytes of a prompt; texts that loop from fewer bytes on are left out of loop-free figures
PERIOD, REPEATED = 48, 16  # a loop: a period of at most so many bytes that stays for two periods and so many bytes


class Run(NamedTuple):
    """What a method did with some prompts, from the end of each one's first round on: no prompt is read meanwhile."""

    seconds: float
    tokens: int
    passes: int
    generations: list[Generation]

    def with_(self, other: Run) -> Run:
        """Return both together."""
        return Run(*(own + its for own, its in zip(self, other, strict=True)))


class Clocked(ByteRunner):
    """A byte model that notes when each round has ended, and what it emitted."""

    def start(self, batch: int, capacity: int) -> None:
        super().start(batch, capacity)
        self.rounds: list[tuple[float, int]] = []

    def keep(self, rows: Rows) -> None:
        super().keep(rows)
        self.rounds.append((time.perf_counter(), sum(map(len, rows))))

    def run(self, prompts: list[bytes], draft: Proposer, until: int | None = None, **how: Any) -> Run:
        """Decode, and take the time from the end of the first round.

        Args:
            prompts: a batch of them.
            draft: what drafts.
            until: of a single text the tokens after which the rounds that follow are not counted; None: all count.
            how: what `generate_texts` takes besides.
        """
        found = generate_texts(self, prompts, draft, **how)
        (start, first), *others = self.rounds
        if until is None:
            tokens, passes = (sum(each) for each in zip(*((len(g.tokens), g.passes) for g in found), strict=True))
            return Run(self.rounds[-1][0] - start, tokens - first, passes - len(found), found)
        run = Run(0.0, 0, 0, found)
        for end, emitted in others:
            if first + run.tokens >= until:
                break
            run = Run(end - start, run.tokens + emitted, run.passes + 1, found)
        return run


def some_prompts(count: int) -> list[bytes]:
    """Return held-out prompts, half code and half prose, the two in turns."""
    rng = np.random.default_rng(0)
    texts = [held_out_text(kind) for kind in ("code", "prose")]
    starts = [(text, int(rng.integers(0, len(text) - PROMPT))) for _ in range(-(-count // 2)) for text in texts]
    return [text[start : start + PROMPT] for text, start in starts][:count]


def loop_start(text: Sequence[int]) -> int:
    """Return where a text begins to loop, or its length."""
    found = len(text)
    for period in range(1, PERIOD + 1):
        equal, need = 0, max(2 * period, REPEATED) - period
        for place in range(period, len(text)):
            equal = equal + 1 if text[place] == text[place - period] else 0
            if equal >= need:
                found = min(found, place - equal + 1 - period)
                break
    return found


def raced(
    target: Clocked,
    drafts: dict[str, Proposer],
    prompts: list[bytes],
    caps: list[int],
    batch: int,
    heat: float,
    few: int,
    until: list[int] | None = None,
) -> dict[str, Run]:
    """Decode groups of prompts, all methods in turns; of each method and group the shortest time counts."""
    total: dict[str, Run] = {}
    for first in range(0, len(prompts), batch):
        group = slice(first, first + batch)
        how: dict[str, Any] = {"tokens": caps[group], "temperature": heat, "seed": first}
        how |= {"until": until[first]} if until else {}
        turns = [{name: target.run(prompts[group], draft, **how) for name, draft in drafts.items()} for _ in range(few)]
        for name in drafts:
            best_run = min((turn[name] for turn in turns), key=lambda run: run.seconds)
            total[name] = total[name].with_(best_run) if name in total else best_run
    return total


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Each method beside plain decoding, by batch and temperature, greedy text whole and loop-free; and parts."""
    family = load_family()
    target = Clocked(family.target)
    drafts: dict[str, Proposer] = {"plain": NoDraft()}
    drafts |= {name: proposer(name.split("-")[0], length, family) for name, length in METHODS.items()}
    count, tokens, few = SIZES[options.quick]
    prompts = some_prompts(LOOP_FREE if not options.quick else count)
    plain_texts = [each.tokens for each in generate_texts(target, prompts, tokens=tokens)]
    starts = [loop_start(text) for text in plain_texts]
    loops = 1 - sum(starts) / sum(map(len, plain_texts))
    parts = costs(family, drafts, 2 if options.quick else 40)
    yield from part_rows(parts)
    slower: dict[tuple[str, float], list[int]] = {}
    for heat in TEMPERATURES:
        for batch in BATCHES[:1] if options.quick else BATCHES:
            used = prompts[: count // 2 if batch == 1 else count]
            kinds = {"": (used, [tokens] * len(used))}
            if heat == 0:
                among = prompts if batch == 1 else used
                free = [i for i, start in enumerate(starts[: len(among)]) if start >= SHORTEST] or [0]
                kinds = {"whole": kinds[""], "": ([prompts[i] for i in free], [max(1, starts[i]) for i in free])}
            for kind, (own, caps) in kinds.items():
                until = None
                if batch == 1 and heat == 0 and not kind:  # the rounds that begin before a loop, none cut short
                    caps, until = [min(tokens, start + MOST_ROWS) for start in caps], caps
                runs = raced(target, drafts, own, caps, batch, heat, few, until)
                yield from speed_rows(runs, heat, batch, kind, loops)
                for name, run in runs.items():
                    if kind == "" and run.seconds / run.tokens > runs["plain"].seconds / runs["plain"].tokens:
                        slower.setdefault((name, heat), []).append(batch)
                if batch == 1 and kind == "":
                    yield from batch_one_rows(runs, heat, parts)
                if batch == 1 and heat == 0 and kind == "whole":
                    yield flips(family.target, own, runs)
    if not options.quick:
        yield from falling(slower)
        yield from beside_compiled(family, prompts[: count // 4], tokens, drafts)
    yield from beside_transformers(family, prompts[: count // 4 or 1], tokens, drafts, few)


def temperature_of(heat: float) -> str:
    return f"t{heat:.0f}"


def speed_rows(runs: dict[str, Run], heat: float, batch: int, kind: str, loops: float) -> Iterator[Row]:
    """Yield milliseconds a token of each method beside plain decoding of the same prompts."""
    plain = runs["plain"]
    text = (
        f"whole greedy text, {loops:.0%} of it loops"
        if kind
        else "greedy text before it loops"
        if heat == 0
        else "sampled text"
    )
    fastest = min((name for name in runs if name != "plain"), key=lambda name: runs[name].seconds / runs[name].tokens)
    for name, run in [(name, runs[name]) for name in METHODS] + [("best", runs[fastest])]:
        if name == "best" and (batch > 1 or kind):
            continue
        goals = SPEED_GOALS.get(name) if batch == 1 and not kind else None
        ms = [1e3 * each.seconds / each.tokens for each in (run, plain)]
        cut = batch == 1 and heat == 0 and not kind  # what was counted is of the whole text
        shares = [] if cut else [round(float(share), 3) for share in conditional_acceptance(run.generations)]
        yield Row(
            "-".join(filter(None, [name, temperature_of(heat), f"b{batch}", kind])),
            f"{name if name != 'best' else f'best method ({fastest})'}, temperature {heat:g}, batch {batch}, {text}",
            "plain decoding",
            "ms/token",
            *ms,
            goal=(goals[heat > 0], None) if goals else None,
            at={
                **({"acceptance": shares} if shares else {}),
                "tokens_per_pass": round(run.tokens / run.passes, 3),
                "round_cost": round((run.seconds / run.passes) / (plain.seconds / plain.passes), 3),
            },
        )


def batch_one_rows(runs: dict[str, Run], heat: float, parts: dict[str, float]) -> Iterator[Row]:
    """Yield tokens a pass, and what a round costs, predicted from its parts beside what it was measured to cost."""
    plain = runs["plain"].seconds / runs["plain"].passes
    for name, length in METHODS.items():
        run = runs[name]
        goals = TOKEN_GOALS.get(name)
        text = f"{name}, {length} drafted, temperature {heat:g}"
        yield Row(
            f"tokens-{name}-{temperature_of(heat)}", f"tokens a pass: {text}", "plain decoding", "tokens",
            run.tokens / run.passes, 1.0, more=True, goal=(goals[heat > 0], None) if goals else None,
        )  # fmt: skip
        measured = run.seconds / run.passes / plain
        predicted = parts[f"pass-{1 + runs_rows(name)}"] / parts["pass-1"] + parts[f"propose-{name}"] / parts["pass-1"]
        yield Row(
            f"round-{name}-{temperature_of(heat)}", f"a round's cost, passes and drafts added up: {text}",
            "the same measured", "plain steps", predicted, measured, more=True,
        )  # fmt: skip


def runs_rows(name: str) -> int:
    """Return how many drafted tokens the target reads in a round."""
    return 15 if name == "tree" else METHODS[name]


def costs(family: Family, drafts: dict[str, Proposer], times: int) -> dict[str, float]:
    """Return seconds of the parts of a round at batch 1, 256 bytes into a text."""
    target, text = ByteRunner(family.target), some_prompts(2)
    before = (text[0] + text[1])[:256]
    target.start(1, 600)
    target.read([list(before)])
    found = {}

    def verify(rows: int) -> None:
        target.read([list(before[:rows])])
        target.rewind([len(before)])

    passes = [partial(verify, rows) for rows in (*range(1, 10), 16)]
    for rows, seconds in zip((*range(1, 10), 16), best(*passes, rounds=times, warm=2), strict=True):
        found[f"pass-{rows}"] = seconds
    for name in METHODS:
        found[f"propose-{name}"] = min(drafting(family.target, drafts[name], before) for _ in range(max(2, times // 8)))
    return found


@torch.inference_mode()
def drafting(model: ByteModel, draft: Proposer, text: bytes) -> float:
    """Return the fewest seconds that a draft takes for its tokens of a round, in a text that grows meanwhile."""
    target = ByteRunner(model)
    line = Line(list(text), 99, 99, *streams_of(0))
    target.start(1, 700)
    target.read([line.text[:-1]])
    draft.start(target, 1, 700, None)
    seconds = []
    for _ in range(8):
        spent, _ = timed(lambda: draft.propose([line]))
        seconds.append(spent)
        target.read([[line.text[-1], 10]])
        line.text += [10, 32]
    return min(seconds[1:])  # the first reads the whole text


def part_rows(parts: dict[str, float]) -> Iterator[Row]:
    """Yield what a pass costs by its rows, and what drafting costs."""
    for rows in (*range(2, 10), 16):
        yield beside(
            f"pass-{rows}",
            f"a pass of {rows} rows, batch 1",
            "a pass of 1 row",
            (parts[f"pass-{rows}"], parts["pass-1"]),
        )
    for name in METHODS:
        what = f"drafting {runs_rows(name)} tokens of a round: {name}"
        yield beside(f"propose-{name}", what, "a pass of 1 row", (parts[f"propose-{name}"], parts["pass-1"]))


def flips(model: ByteModel, prompts: list[bytes], runs: dict[str, Run]) -> Row:
    """Return how many greedy texts differ in float32, and how close the two likeliest tokens were where they part."""
    margins = []
    for run in (runs[name] for name in METHODS):
        for prompt, plain, own in zip(prompts, runs["plain"].generations, run.generations, strict=True):
            if plain.tokens != own.tokens:
                same = next(i for i, (a, b) in enumerate(zip(plain.tokens, own.tokens, strict=True)) if a != b)
                with torch.inference_mode():
                    last = model(torch.tensor([[*prompt, *plain.tokens[:same]]]))[0, -1]
                margins.append(float(last.topk(2).values.diff().abs()))
    texts = len(METHODS) * len(prompts)
    return Row(
        "flips", "greedy texts in float32 equal to plain ones", "all", "texts",
        float(texts - len(margins)), float(texts), more=True,
        at={"margins": [round(each, 6) for each in sorted(margins)]},
    )  # fmt: skip


def falling(slower: dict[tuple[str, float], list[int]]) -> Iterator[Row]:
    """Yield the smallest batch at which each method is slower than plain decoding."""
    for heat in TEMPERATURES:
        for name in METHODS:
            row = f"falls-{name}-{temperature_of(heat)}", f"batch from which {name} loses, temperature {heat:g}"
            batches = slower.get((name, heat))
            why = "" if batches else f"faster than plain up to batch {BATCHES[-1]}"
            values = (float(min(batches)), float(BATCHES[-1])) if batches else (None, None)
            yield Row(*row, "the largest measured", "sequences", *values, more=True, why_not=why)


# --- beside a compiled decoder and transformers ----------------------------------------------------------------


class Compiled:
    """Plain greedy decoding of one text by a step that torch.compile has fused: one row, a cache of one size."""

    def __init__(self, model: ByteModel, capacity: int) -> None:
        self.model, width = model, model.size.hidden // model.size.heads
        shape = (1, model.size.heads, capacity, width)
        self.keys = [torch.zeros(shape) for _ in model.blocks]  # one tensor a layer: a stack would be copied whole
        self.values = [torch.zeros(shape) for _ in model.blocks]
        self.places = torch.arange(capacity)
        self.step = torch.compile(self._step, dynamic=False)

    def _step(self, token: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        x = self.model.embedding(token)  # (1, 1, hidden)
        cos, sin = self.model.cos[at], self.model.sin[at]
        for block, keys, values in zip(self.model.blocks, self.keys, self.values, strict=True):
            qkv = block.attention.qkv(block.attention_norm(x)).view(1, 1, 3, self.model.size.heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (1, heads, 1, width)
            keys.index_copy_(2, at, turned(k, cos, sin))
            values.index_copy_(2, at, v)
            read = F.scaled_dot_product_attention(
                turned(q, cos, sin), keys, values, (self.places <= at)[None, None, None]
            )
            x = x + block.attention.out(read.transpose(1, 2).reshape(1, 1, -1))
            x = x + block.ffn(block.ffn_norm(x))
        return self.model.logits(x)[0, -1].argmax()

    @torch.inference_mode()
    def write(self, prompt: bytes, tokens: int) -> tuple[int, ...]:
        """Return the tokens behind a prompt; its prefill is the model's own, as everywhere here."""
        cache = self.model.new_cache()
        self.model.read(torch.tensor([list(prompt[:-1])]), cache)
        for own, read in zip((*self.keys, *self.values), (*cache.keys, *cache.values), strict=True):
            own[:, :, : len(prompt) - 1] = read[:, :, : len(prompt) - 1]
        token, written = prompt[-1], []
        for at in range(len(prompt) - 1, len(prompt) - 1 + tokens):
            token = int(self.step(torch.tensor([[token]]), torch.tensor([at])))
            written.append(token)
        return tuple(written)


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def beside_compiled(family: Family, prompts: list[bytes], tokens: int, drafts: dict[str, Proposer]) -> Iterator[Row]:
    """Yield each method, which is not compiled, beside a compiled plain decoder, greedy, batch 1, whole texts."""
    why = "" if shutil.which("g++") or shutil.which("clang++") else "no C++ compiler, which torch.compile needs"
    target = ByteRunner(family.target)
    compiled = None if why else Compiled(family.target, PROMPT + tokens)
    calls = {name: partial(whole, target, drafts[name], prompts, tokens) for name in ("plain", *METHODS)}
    if compiled:
        calls["compiled"] = lambda: [compiled.write(prompt, tokens) for prompt in prompts]
    seconds = dict(zip(calls, best(*calls.values(), rounds=2), strict=True)) if compiled else {}
    for name in ("plain", *METHODS):
        each = 1e3 / (tokens * len(prompts))
        values = (seconds[name] * each, seconds["compiled"] * each) if compiled else (None, None)
        yield Row(
            f"compiled-{name}", f"{name}, temperature 0, batch 1, whole text", "plain decoding, compiled", "ms/token",
            *values, why_not=why,
        )  # fmt: skip


def whole(target: ByteRunner, draft: Proposer, prompts: list[bytes], tokens: int, heat: float = 0.0) -> None:
    """Write a text behind each prompt, one after another."""
    for prompt in prompts:
        generate_texts(target, [prompt], draft, tokens=tokens, temperature=heat)


def beside_transformers(
    family: Family, prompts: list[bytes], tokens: int, drafts: dict[str, Proposer], few: int
) -> Iterator[Row]:
    """Yield assisted generation and prompt lookup beside transformers' own with the same weights, batch 1."""
    llama = from_tests("speculative/llama_peer.py").llama
    target, small = llama(family.target), llama(family.draft)
    small.generation_config.update(
        num_assistant_tokens=METHODS["draft"],
        num_assistant_tokens_schedule="constant",
        assistant_confidence_threshold=0.0,
    )
    ours, theirs = (
        ByteRunner(family.target),
        {"draft": {"assistant_model": small}, "lookup": {"prompt_lookup_num_tokens": 7}},
    )
    for heat in TEMPERATURES:
        for name, how in theirs.items():

            def run(how: dict[str, Any] = how, heat: float = heat) -> None:
                sampled = {"do_sample": True, "temperature": heat, "top_k": 0} if heat else {"do_sample": False}
                with torch.inference_mode():
                    for prompt in prompts:
                        target.generate(torch.tensor([list(prompt)]), max_new_tokens=tokens, **sampled, **how)

            own = partial(whole, ours, drafts[name], prompts, tokens, heat)
            ms = [1e3 * each / (tokens * len(prompts)) for each in best(own, run, rounds=few)]
            yield Row(
                f"transformers-{name}-{temperature_of(heat)}", f"{name}, temperature {heat:g}, batch 1, whole text",
                "transformers' generate, same weights", "ms/token", *ms, goal=(1.0, None),
            )  # fmt: skip


if __name__ == "__main__":
    main(rows, __doc__)
