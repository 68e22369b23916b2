"""Step times from measurements: a published fit, one's own points, and what one published rate says of another.

What was fitted is kept apart from what it predicts: each fit says how far its points lie from it, and each prediction
what it was fitted on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costlab import catalog
from costlab.arrays import Floats
from costlab.catalog import DecodeFit, FittedSteps, NodeRate
from costlab.checks import pick
from costlab.roofline.coefficients import Chunk
from costlab.roofline.deployments import deployment
from costlab.roofline.layers import entries_between
from costlab.roofline.mixed import StepCost
from costlab.roofline.steps import Step

# --- a published fit ---------------------------------------------------------------------------------------------


def published_cost(key: str, dispatch: bool = False) -> StepCost:
    """Return step times that others fitted, e.g. "distserve-opt-13b-tp1".

    A prompt that is read in pieces takes as long as in one go but for the constants, and a step that reads prompts and
    decodes takes the sum of both: the source fits whole prompts and either phase alone.

    Args:
        key: of a fit in the catalog.
        dispatch: whether to add what the source adds for handing out a step, and to each prefill.

    Raises:
        ValueError: an unknown key.

    Source: catalog/step_times.toml.
    """
    fit = pick(catalog.tables().step_times, key, "fit of step times")
    small, large = (_fitted(fit, decode, dispatch) for decode in (fit.decode, fit.decode_large))
    return dataclasses.replace(small, larger=((fit.large_from, large),))


def _fitted(fit: FittedSteps, decode: DecodeFit, dispatch: bool) -> StepCost:
    # n tokens after p have n (2p + n + 1) / 2 pairs; twice that less n is (p + n)^2 - p^2
    prefill, more = fit.prefill, 1.0 if dispatch else 0.0
    return StepCost.linear(
        more * fit.dispatch_ms / 1e3,
        prefill_step_s=(prefill.constant_ms + more * fit.pipeline_ms) / 1e3,
        token_s=(prefill.token_ms - prefill.square_ms + more * fit.dispatch_token_ms) / 1e3,
        pair_s=2 * prefill.square_ms / 1e3,
        decode_step_s=decode.constant_ms / 1e3,
        context_s=(decode.context_ms + more * fit.dispatch_token_ms) / 1e3,
        sequence_s=decode.sequence_ms / 1e3,
    )


# --- one's own points --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepPoint:
    """A measured step: what it did and how long it took."""

    seconds: float  # that it took
    sequences: int = 0  # that decoded
    context_tokens: int = 0  # of these together, the new ones included
    chunks: tuple[Chunk, ...] = ()  # (new tokens, tokens before them) of each prompt read

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds = {self.seconds!r} of a measured step should be above 0 and finite")
        if self.sequences < 0 or self.context_tokens < self.sequences or not (self.sequences or self.chunks):
            raise ValueError(f"{self}: a step should decode sequences of at least 1 token each, or read prompts")
        if any(new < 1 or prefix < 0 for new, prefix in self.chunks):
            raise ValueError(f"{self}: a chunk should be (at least 1 new token, at least 0 before them)")


@dataclass(frozen=True)
class StepFit:
    """Step times fitted to points, and how far the points lie from them."""

    cost: StepCost  # what was fitted
    points: int  # how many it was fitted to
    rms_error: float  # root of the mean square of (fitted - measured) / measured
    worst_error: float  # the largest of these, in size


def fit_steps(points: Sequence[StepPoint]) -> StepFit:
    """Fit `StepCost.linear` to measured steps by least squares of relative errors, all coefficients at least 0.

    Points that decode and read prompts at once are fitted with one constant for all steps, others with one for each
    phase. What does not vary in the points is not fitted.

    Raises:
        ValueError: fewer points than coefficients, or points of which two coefficients explain the same.
    """
    columns = _columns(points)
    if len(points) < max(1, len(columns)):
        raise ValueError(f"{len(points)} points are too few for {len(columns)} coefficients: {', '.join(columns)}")
    took = np.array([point.seconds for point in points])
    design = np.stack(list(columns.values()), axis=1) / took[:, None]
    scale = np.linalg.norm(design, axis=0)
    if np.linalg.matrix_rank(design / scale) < len(columns):
        raise ValueError(f"the {len(points)} points do not tell {', '.join(columns)} apart: vary them separately")
    found = _nonnegative(design / scale, np.ones(len(points))) / scale
    errors = design @ found - 1
    cost = StepCost.linear(**dict(zip(columns, found.tolist(), strict=True)))
    return StepFit(cost, len(points), float(np.sqrt(np.mean(errors**2))), float(np.abs(errors).max()))


def _columns(points: Sequence[StepPoint]) -> dict[str, Floats]:
    """What each coefficient is multiplied by at each point, of those that the points can tell."""
    decodes = np.array([float(point.sequences > 0) for point in points])
    reads = np.array([float(len(point.chunks) > 0) for point in points])
    together = bool((decodes * reads).any())
    found = {
        "step_s": np.ones(len(points)) * together,
        "prefill_step_s": reads * (not together),
        "decode_step_s": decodes * (not together),
        "token_s": np.array([float(sum(new for new, _ in point.chunks)) for point in points]),
        "pair_s": np.array([float(sum(entries_between(p, n, 1, None) for n, p in point.chunks)) for point in points]),
        "sequence_s": np.array([float(point.sequences) for point in points]),
        "context_s": np.array([float(point.context_tokens) for point in points]),
    }
    return {name: column for name, column in found.items() if column.any()}


def _nonnegative(design: Floats, wanted: Floats) -> Floats:
    """Return the x of at least 0 that makes |design x - wanted| least.

    Source: Lawson and Hanson, Solving Least Squares Problems, 1974, ch. 23.
    """
    free = np.zeros(design.shape[1], dtype=bool)
    x = np.zeros(design.shape[1])
    while not free.all():
        pull = np.where(free, -np.inf, design.T @ (wanted - design @ x))
        if pull.max() <= 1e-12 * len(wanted):
            break
        free[int(pull.argmax())] = True
        while True:
            best = np.zeros_like(x)
            best[free] = np.linalg.lstsq(design[:, free], wanted, rcond=None)[0]
            below = free & (best <= 0)
            if not below.any():
                break
            share = float((x[below] / (x[below] - best[below])).min())
            x = x + share * (best - x)
            free &= x > 1e-15
        x = best
    return x


# --- one published rate from another -----------------------------------------------------------------------------


@dataclass(frozen=True)
class RatePrediction:
    """A node's rate in one phase, predicted by the roofline at the share of its speed that another node reaches."""

    rate: NodeRate  # what is predicted, as published
    fitted_on: NodeRate  # what the share was taken from
    share: float  # of the roofline's speed that `fitted_on` reaches
    tokens_s: float  # predicted, of a node

    @property
    def error(self) -> float:
        """(predicted - published) / published."""
        return self.tokens_s / self.rate.tokens_s - 1


def predict_rate(key: str, fitted_on: str, batch_per_chip: int | None = None) -> RatePrediction:
    """Predict a node's published rate from the efficiency of another one in the same phase.

    One number is fitted, the share of the roofline's speed; it predicts other batches, lengths, chips and numbers of
    nodes. Of decode it is a share of the whole step. Of prefill it is one of the compute time alone: the roofline's
    link sends each visit to an expert by itself, which takes longer than prefill was measured to take as a whole, since
    a node receives a token once for all its experts.

    Args:
        key: of a node's rate in catalog/serving.toml, e.g. "sglang-decode-2000".
        fitted_on: of another one, e.g. "deepseek-profile-decode".
        batch_per_chip: sequences of a decode step where the rate names none; prompts are those of `fitted_on` there.

    Raises:
        ValueError: an unknown key, rates of two phases, a decode rate without a batch.

    Source: catalog/serving.toml.
    """
    nodes = catalog.tables().serving.nodes
    rate, known = pick(nodes, key, "rate of a node"), pick(nodes, fitted_on, "rate of a node")
    if rate.phase != known.phase:
        raise ValueError(f"{key!r} is of {rate.phase}, {fitted_on!r} of {known.phase}: fit on a rate of the same phase")
    share = known.tokens_s / _ideal_rate(known)
    asked = dataclasses.replace(
        rate,
        batch_per_chip=rate.batch_per_chip or batch_per_chip,
        input_tokens=rate.input_tokens or known.input_tokens,
        tokens_per_chip=rate.tokens_per_chip or known.tokens_per_chip,
    )
    return RatePrediction(rate, known, share, share * _ideal_rate(asked))


def _ideal_rate(rate: NodeRate) -> float:
    """Tokens per second of a node by the roofline."""
    step = ideal_step(rate)
    seconds = step.compute_s if rate.phase == "prefill" else step.seconds
    return step.tokens / seconds / rate.nodes


def ideal_step(rate: NodeRate) -> Step:
    """Return the roofline's step of a node's published rate: all nodes together, at the published batch.

    Raises:
        ValueError: a rate that names no batch, prompt or context.
    """
    node = deployment(rate.model, rate.chip, rate.nodes * rate.chips_per_node)
    if rate.phase == "decode":
        if rate.batch_per_chip is None or rate.context is None:
            raise ValueError(f"the decode rate {rate.tokens_s:g} names no batch_per_chip or no context")
        return node.decode(rate.batch_per_chip * node.chips, rate.context)
    if rate.tokens_per_chip is None or rate.input_tokens is None:
        raise ValueError(f"the prefill rate {rate.tokens_s:g} names no tokens_per_chip or no input_tokens")
    return node.prefill(rate.input_tokens, batch=max(1, rate.tokens_per_chip // rate.input_tokens) * node.chips)


__all__ = [
    "RatePrediction", "StepFit", "StepPoint", "fit_steps", "ideal_step", "predict_rate", "published_cost",
]  # fmt: skip
