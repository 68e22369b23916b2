"""What a gated delta net takes beside full attention by context, and beside transformers' torch form of it.

    python benchmarks/delta.py [--quick] [--threads N] [--json FILE]

One layer each of Qwen3.5-397B-A17B at its own widths, float32 on a CPU. For decode, caches and states are filled with
random entries, which do not change the work. The rule alone is what a prompt takes apart from its matrices. What the
same two layers take on a GPU is in `gpu/decode.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from peers import Row, beside, best, from_tests, main
from torch import Tensor

from costlab import arch
from costlab.nn.attention import CachedLayer, delta_rule

bench = from_tests("../benchmarks/attention.py")  # how caches are filled and prompts are timed
oracles, label, K = bench.oracles, bench.label, bench.K
# Qwen3.5-397B-A17B's config.json
HIDDEN = 4096
DELTA = arch.GatedDelta(heads=64, key_heads=16, key_dim=128, value_dim=128, conv_width=4, conv_dtype=bench.STORED)
FULL = arch.FullAttention(32, 64, bench.plain(512), kv_heads=2, qk_dim=256, v_dim=256, qk_norm=True, gate_dim=256)
SMALL = arch.GatedDelta(heads=8, key_heads=2, key_dim=32, value_dim=32, conv_width=4, conv_dtype=bench.STORED)
SMALL_FULL = arch.FullAttention(4, 16, bench.plain(128), kv_heads=2, qk_dim=64, v_dim=64, qk_norm=True, gate_dim=64)
BATCHES = (1, 4)


def by_context(delta: CachedLayer, full: CachedLayer, contexts: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """Time a decoded token beside full attention's: the states are one size, the caches are not."""
    for n in contexts:
        took = best(*(bench.decoding(layer, n, rounds + 2) for layer in (delta, full)), rounds=rounds, warm=2)
        what, at = f"decode at {label(n)}, gated delta net", {"kind": "gated-delta", "context": n}
        yield beside(f"decode-{label(n)}", what, "full attention", took, at=at)


def their_step(theirs: Any, batch: int) -> Callable[[], Tensor]:
    """Return a call in which transformers' layer reads one more token."""
    hidden = theirs.config.hidden_size
    cache, token = theirs.new_cache(), bench.noise(batch, 1, hidden)
    theirs(bench.noise(batch, 8, hidden), cache)
    return partial(theirs, token, cache)


def layers(delta: CachedLayer, theirs: Any, prompt: int, rounds: int) -> Iterator[Row]:
    """Time the whole layer beside transformers': tokens, and a prompt."""
    for batch in BATCHES:
        took = best(bench.decoding(delta, 8, rounds + 2, batch), their_step(theirs, batch), rounds=rounds, warm=2)
        yield beside(f"transformers-decode-{batch}", f"decode, sequences: {batch}", "transformers", took)
    found = [
        bench.prefill(delta, partial(delta.new_cache, 1, prompt), prompt, delta.hidden),
        bench.prefill(theirs, theirs.new_cache, prompt, delta.hidden),
    ]
    (seconds, peak), (their_seconds, their_peak) = found
    what = f"prefill of {label(prompt)}, whole layer"
    yield beside("transformers-prefill", what, "transformers", (seconds, their_seconds), "s")
    yield bench.memory("transformers-memory", what, "transformers", peak, their_peak)


def rule(dims: arch.GatedDelta, tokens: int, rounds: int) -> Iterator[Row]:
    """Time the rule alone: chunks beside one token after another, and each form beside transformers'."""
    q, k = torch.randn(2, 1, tokens, dims.key_heads, dims.key_dim).unbind()
    v, rate = torch.randn(1, tokens, dims.heads, dims.value_dim), -torch.rand(1, tokens, dims.heads)
    beta = torch.rand(1, tokens, dims.heads)
    state = torch.randn(1, dims.heads, dims.key_dim, dims.value_dim)
    steps = delta_rule.Steps(
        delta_rule.unit(q).transpose(1, 2) * dims.key_dim**-0.5,
        delta_rule.unit(k).transpose(1, 2),
        *(x.unflatten(2, (dims.key_heads, -1)).movedim(1, 3) for x in (v, rate, beta)),
    )
    grouped = state.unflatten(1, (dims.key_heads, -1))
    theirs = {"initial_state": state, "output_final_state": True, "use_qk_l2norm_in_kernel": True}
    chunked, recurrent, their_chunked, their_recurrent = best(
        partial(delta_rule.chunked, grouped, steps),
        partial(delta_rule.recurrent, grouped, steps),
        partial(oracles.qwen3_next.torch_chunk_gated_delta_rule, q, k, v, rate, beta, **theirs),
        partial(oracles.qwen3_next.torch_recurrent_gated_delta_rule, q, k, v, rate, beta, **theirs),
        rounds=rounds,
    )
    what = f"the rule over {label(tokens)} tokens"
    yield beside("chunked", f"{what}, chunks of 64", "one token after another", (chunked, recurrent))
    yield beside("transformers-chunked", f"{what}, chunks of 64", "transformers", (chunked, their_chunked))
    yield beside("transformers-recurrent", f"{what}, one by one", "transformers", (recurrent, their_recurrent))


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The rule, the layer beside transformers', then decode by context beside full attention."""
    torch.manual_seed(0)
    contexts = (256, 512) if options.quick else tuple(n * K for n in (1, 8, 32, 128))
    prompt, rounds = (256, 1) if options.quick else (2 * K, 7)
    dims, full, hidden = (SMALL, SMALL_FULL, 256) if options.quick else (DELTA, FULL, HIDDEN)
    with torch.inference_mode():
        yield from rule(dims, 64 if options.quick else 512, min(rounds, 3))
        theirs, delta = oracles.delta_pair(dims, hidden)
        yield from layers(delta, theirs, prompt, rounds)
        del theirs
        yield from by_context(delta, bench.built(full, hidden), contexts, rounds)


if __name__ == "__main__":
    main(rows, __doc__)
