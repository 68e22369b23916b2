"""Expert collapse and its cures: a small layer trained on a CPU in seconds, the load of its experts kept of each step.

The task is regression with hidden topics: each topic has its own linear map, so experts pay. All inputs share a large
common component, as hidden states of language models do; it makes an untrained gate prefer the same few experts for
every token, and those alone learn, which makes them preferred. Every method starts from the same weights and data.

Chapter: moe
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from costlab.arch import MoE
from costlab.catalog import Routing
from costlab.checks import one_of
from costlab.nn.moe import Choice, MoELayer
from costlab.nn.threads import one_thread

#: "article" adds article E's KL loss, which is made of counts.
Method = Literal["none", "switch", "sequence", "bias", "article"]


@dataclass(frozen=True)
class Setup:
    """The experiment; the defaults run in about a second and a half per method."""

    experts: int = 16  # routed experts of the layer
    top_k: int = 2  # experts that a token visits
    hidden: int = 32  # width of the layer
    inner: int = 4  # width inside an expert
    topics: int = 16  # hidden topics, each with a linear map of its own
    common: float = 6.0  # size of the component that all inputs share, in standard deviations of a topic's centre
    steps: int = 300  # of the optimiser
    sequences: int = 16  # per step
    sequence_length: int = 32  # tokens
    learning_rate: float = 3e-3  # of the optimiser
    coefficient: float = 0.02  # factor on an auxiliary loss
    bias_speed: float = 0.005  # change of the selection bias per step
    seed: int = 0  # of weights and data


@dataclass(frozen=True)
class TrainingRun:
    """What one method did, step by step."""

    method: Method  # how the load was balanced
    losses: tuple[float, ...]  # task loss of each step, mean square error over variance
    entropies: tuple[float, ...]  # load entropy of each step, 0 to 1 (even)
    loads: tuple[int, ...]  # assignments per expert in the last 20 steps

    @property
    def loss(self) -> float:
        """Mean task loss of the last 20 steps; each step has fresh data, so none of it was learned by heart."""
        return sum(self.losses[-20:]) / len(self.losses[-20:])

    @property
    def entropy(self) -> float:
        """Mean load entropy of the last 20 steps."""
        return sum(self.entropies[-20:]) / len(self.entropies[-20:])

    @property
    def idle(self) -> int:
        """Experts that got less than a fifth of the fair share in the last 20 steps."""
        return sum(load < 0.2 * sum(self.loads) / len(self.loads) for load in self.loads)


def switch_loss(choice: Choice, sequences: int = 1) -> Tensor:
    """Return E x sum of (share of assignments x mean score share), within each sequence, then the mean; 1 at balance.

    Gradients flow through the scores, not through the counts.

    Args:
        choice: the gate's answer for sequences of equal length, one after the other.
        sequences: 1 is the Switch loss (arXiv 2101.03961 eqs. 4-6), more is DeepSeek's (arXiv 2412.19437 eqs. 17-20).
    """
    total = choice.scores.shape[-1]
    visits = F.one_hot(choice.experts, total).float().mean(dim=1)  # [tokens, experts], rows sum to 1
    chance = choice.scores / choice.scores.sum(dim=-1, keepdim=True)
    shares, means = (part.reshape(sequences, -1, total).mean(dim=1) for part in (visits, chance))
    return total * (shares * means).sum(dim=-1).mean()


def count_loss(choice: Choice) -> Tensor:
    """Return article E's loss: the divergence of the load shares from uniform, times E. It has no gradient."""
    total = choice.scores.shape[-1]
    shares = torch.bincount(choice.experts.reshape(-1), minlength=total) / choice.experts.numel()
    return total * torch.xlogy(shares, shares * total).sum()


def load_entropy(loads: Tensor) -> float:
    """Return the entropy of the load shares over its maximum, 0 to 1."""
    shares = loads / loads.sum()
    return -float(torch.xlogy(shares, shares).sum()) / math.log(len(shares))


#: What each method adds to the loss; the bias method adds nothing.
_AUXILIARY: Mapping[str, Callable[[Choice, Setup], Tensor | float]] = {
    "none": lambda choice, setup: 0.0,
    "bias": lambda choice, setup: 0.0,
    "switch": lambda choice, setup: setup.coefficient * switch_loss(choice),
    "sequence": lambda choice, setup: setup.coefficient * switch_loss(choice, setup.sequences),
    "article": lambda choice, setup: setup.coefficient * count_loss(choice),
}


def train_layer(method: Method, setup: Setup | None = None) -> TrainingRun:
    """Train the layer with one balancing method, or "none", and return its course.

    The global random state of torch is left as it was.

    Args:
        method: "none", "switch", "sequence", "bias" or "article".
        setup: sizes and seed; None takes the defaults.

    Raises:
        ValueError: another method.
    """
    method = one_of(get_args(Method), method, "method")
    setup = setup or Setup()
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(setup.seed)
        return _Experiment(method, setup).run()


class _Experiment:
    """The layer, the task and the optimiser of one run."""

    def __init__(self, method: Method, setup: Setup) -> None:
        self.method, self.setup = method, setup
        routing = Routing("softmax", bias=method == "bias")
        self.layer = MoELayer(setup.hidden, MoE(setup.experts, setup.top_k, setup.inner, routing=routing))
        self.optimiser = torch.optim.Adam(self.layer.parameters(), setup.learning_rate)
        self.centres = torch.randn(setup.topics, setup.hidden)
        self.common = setup.common * torch.randn(setup.hidden)
        self.maps = torch.randn(setup.topics, setup.hidden, setup.hidden) / setup.hidden**0.5
        self.losses: list[float] = []
        self.loads: list[Tensor] = []

    def run(self) -> TrainingRun:
        for _ in range(self.setup.steps):
            self._step(*self._batch())
        last = torch.stack(self.loads[-20:]).sum(dim=0)
        entropies = tuple(load_entropy(loads) for loads in self.loads)
        return TrainingRun(self.method, tuple(self.losses), entropies, tuple(last.tolist()))

    def _batch(self) -> tuple[Tensor, Tensor]:
        setup = self.setup
        topic = torch.randint(setup.topics, (setup.sequences * setup.sequence_length,))
        meaning = self.centres[topic] + 0.3 * torch.randn(len(topic), setup.hidden)
        target = torch.einsum("tij,tj->ti", self.maps[topic], meaning)
        return F.rms_norm(meaning + self.common, (setup.hidden,)), target

    def _step(self, x: Tensor, target: Tensor) -> None:
        choice = self.layer.gate(x)
        output = self.layer.experts(x, choice.experts, choice.weights)
        loss = F.mse_loss(output, target) / target.var()
        self.optimiser.zero_grad()
        (loss + _AUXILIARY[self.method](choice, self.setup)).backward()
        self.optimiser.step()
        loads = torch.bincount(choice.experts.reshape(-1), minlength=self.setup.experts)
        if self.method == "bias":
            self.layer.gate.update_bias(loads, self.setup.bias_speed)
        self.losses.append(float(loss.detach()))
        self.loads.append(loads)
