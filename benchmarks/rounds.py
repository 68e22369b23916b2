"""Rounds per second of speculative decoding's rule, beside transformers' function for one round.

python benchmarks/rounds.py [--quick] [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from peers import Row, best, from_tests, main, peer

from costlab.arrays import Floats, Ints
from costlab.speculative import decide_many, distribution, draw, verify_many

same_uniforms = from_tests("speculative/peer.py").play
sampling = peer("transformers.generation.utils")._speculative_sampling

LENGTH = 4  # drafted tokens a round
COUNTS = {8: 1024, 256: 64}  # rounds at once, by vocabulary: as many as keep their laws near the processor
GOALS = {8: 150.0, 256: 20.0}


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Rounds per second, each with laws of its own, which neither side checks; both draw their own uniforms.

    That they decide alike is looked at first, by the same uniforms. A simulation has laws and no logits; the peer takes
    logits and makes laws of them. So ours is timed twice: from laws, and from logits, which is the same work.
    """
    for vocabulary, goal in GOALS.items():
        drafted, q, p = inputs(vocabulary, 16 if options.quick else COUNTS[vocabulary])
        check_decisions(drafted, q, p)
        laws = distribution(q), distribution(p)
        rng, times = np.random.default_rng(1), 1 if options.quick else 10
        ours = partial(play, drafted, *laws, rng, times), partial(play_logits, drafted, q, p, rng, times)
        few = [torch.tensor(each[:64]) for each in (drafted, q.astype(np.float32), p.astype(np.float32))]
        seconds = best(*ours, partial(peer_rounds, *few), rounds=3 if options.quick else 30)
        for place, source in enumerate(("laws", "logits")):
            yield Row(
                f"rounds-{vocabulary}-{source}",
                f"rounds of {LENGTH} drafted tokens, vocabulary {vocabulary}, from {source}",
                "transformers' _speculative_sampling",
                "rounds/s",
                times * len(drafted) / seconds[place],
                len(few[0]) / seconds[2],
                more=True,
                goal=(goal, None) if source == "laws" else None,
            )


def play(drafted: Ints, q: Floats, p: Floats, rng: np.random.Generator, times: int) -> None:
    """Play rounds from laws, some times over."""
    for _ in range(times):
        decide_many(drafted, q, p, rng.random(drafted.shape), rng.random(len(drafted)))


def play_logits(drafted: Ints, q: Floats, p: Floats, rng: np.random.Generator, times: int) -> None:
    """Play rounds from logits, some times over."""
    for _ in range(times):
        play(drafted, distribution(q), distribution(p), rng, 1)


def peer_rounds(drafted: torch.Tensor, q: torch.Tensor, p: torch.Tensor) -> None:
    """Play rounds one by one, as transformers can."""
    for row in range(len(drafted)):
        sampling(drafted[row : row + 1], q[row : row + 1], LENGTH, p[row : row + 1])


def check_decisions(drafted: Ints, q: Floats, p: Floats) -> None:
    """Raise unless both sides decide the first rounds alike by the same uniforms."""
    rng = np.random.default_rng(2)
    given = drafted[:256], q[:256], p[:256], rng.random((len(drafted[:256]), LENGTH)), rng.random(len(drafted[:256]))
    theirs = same_uniforms(*map(torch.tensor, given))[0]
    ours = verify_many(given[0], distribution(given[1]), distribution(given[2]), *given[3:]).tokens
    assert (ours == theirs).all(), "decisions differ"


def inputs(vocabulary: int, count: int) -> tuple[Ints, Floats, Floats]:
    """Return drafted tokens, and logits of draft and target."""
    rng = np.random.default_rng(0)
    p = 2 * rng.normal(size=(count, LENGTH + 1, vocabulary))
    q = p[:, :LENGTH] + 0.7 * rng.normal(size=(count, LENGTH, vocabulary))
    return draw(distribution(q), rng.random((count, LENGTH))), q, p


if __name__ == "__main__":
    main(rows, __doc__)
