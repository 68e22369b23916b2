"""A running mixture-of-experts layer: a gate, routed experts, shared experts.

Tokens are sorted by expert, so that each expert multiplies one block of rows: the work of a dense layer plus a sort.

>>> import torch
>>> from costlab import arch
>>> from costlab.nn.moe import MoELayer
>>> layer = MoELayer(16, arch.MoE(experts=8, top_k=2, inner=4, shared=1))
>>> layer(torch.randn(3, 5, 16)).shape
torch.Size([3, 5, 16])

Chapter: moe
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab.arch import MoE, extras
from costlab.arch.experts import BIAS_SPEED

#: How the experts multiply: a loop over blocks of rows, or torch's grouped matrix kernel.
Multiply = Literal["loop", "kernel"]

#: DeepSeek's guard against a sum of zero.
_TINY = 1e-20

#: Score functions by the catalog's word; `costlab.moe.SCORES` says the same in NumPy.
SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=-1),
    "sigmoid": torch.sigmoid,
    "sqrt-softplus": lambda logits: F.softplus(logits).sqrt(),
}


def top_k(scores: Tensor, k: int) -> Tensor:
    """Return the indices of the k best scores of each row, best first; of equal scores the lower index wins.

    Args:
        scores: [rows, experts].
        k: how many to choose, 1 to experts.

    Raises:
        ValueError: k outside 1 … experts.
    """
    if not 1 <= k <= scores.shape[-1]:
        raise ValueError(f"top_k = {k} should lie between 1 and the number of experts, {scores.shape[-1]}")
    if torch.compiler.is_compiling():  # a graph cannot ask whether any scores tie
        return scores.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    values, indices = scores.topk(min(k + 1, scores.shape[-1]))
    tied = (values[:, 1:] == values[:, :-1]).any(dim=-1)
    if tied.any():  # torch.topk leaves the order of ties open; a stable sort does not, but costs more
        indices[tied] = scores[tied].sort(dim=-1, descending=True, stable=True).indices[:, : indices.shape[1]]
    return indices[:, :k]


class Choice(NamedTuple):
    """A gate's answer."""

    experts: Tensor  # chosen experts, [tokens, top_k]
    weights: Tensor  # their weights, [tokens, top_k]
    scores: Tensor  # scores of all experts without bias, [tokens, experts]
    logits: Tensor  # the gate's output, [tokens, experts]


class Gate(nn.Module):
    """Scores every expert for every token, and chooses by the rule of the layer.

    Args:
        hidden: width of its input.
        ffn: experts, and how they are chosen.
        vocabulary: for experts that are chosen by token.

    Attributes:
        bias: added to the scores for the choice alone, [experts]; there only where the rule has one.
        table: experts of each token, [vocabulary, top_k]; there only where they are chosen by token.
    """

    bias: Tensor
    table: Tensor

    def __init__(self, hidden: int, ffn: MoE, vocabulary: int | None = None) -> None:
        super().__init__()
        self.ffn = ffn
        self.weight = nn.Parameter(torch.randn(ffn.experts, hidden) / hidden**0.5)
        if ffn.routing.bias:
            self.register_buffer("bias", torch.zeros(ffn.experts))
        if ffn.routing.select == "token-table":
            if vocabulary is None:
                raise ValueError("a gate by token table needs the size of the vocabulary")
            # until a checkpoint's table comes: different experts per token, each as often as the others
            every = torch.arange(vocabulary * ffn.top_k) % ffn.experts
            self.register_buffer("table", every.view(vocabulary, ffn.top_k))

    def forward(self, x: Tensor, token_ids: Tensor | None = None) -> Choice:
        """Return the experts of each token and their weights.

        Args:
            x: [tokens, hidden].
            token_ids: [tokens], for a gate by token table.

        Raises:
            ValueError: NaN in the gate's output, or token ids missing or not one per token.
        """
        dtype = torch.promote_types(x.dtype, torch.float32)  # at least FP32: a flipped choice is a jump in the output
        logits = F.linear(x.to(dtype), self.weight.to(dtype))
        scores = SCORES[self.ffn.routing.score](logits)
        # also of infinite logits, where they compete; a graph cannot ask, and its output holds the NaN
        if not torch.compiler.is_compiling() and scores.isnan().any():
            raise ValueError("the gate's output holds NaN: look at the layer's input and the gate's weights")
        experts = self._choose(scores.detach(), token_ids)
        picked = scores.gather(1, experts)
        weights = picked / (picked.sum(dim=-1, keepdim=True) + _TINY) * self.ffn.routing.scale
        return Choice(experts, weights, scores, logits)

    def _choose(self, scores: Tensor, token_ids: Tensor | None) -> Tensor:
        routing = self.ffn.routing
        if routing.select == "token-table":
            if token_ids is None:
                raise ValueError("a gate by token table needs token_ids")
            if token_ids.numel() != scores.shape[0]:
                raise ValueError(f"token_ids {tuple(token_ids.shape)} should be one for each of {len(scores)} tokens")
            return self.table.index_select(0, token_ids.reshape(-1))  # unlike table[ids], refuses negative ones
        steered = scores + self.bias if routing.bias else scores
        if routing.groups > 1:
            steered = limit_groups(steered, routing.groups, routing.groups_kept)
        return top_k(steered, self.ffn.top_k)

    @torch.no_grad()
    def update_bias(self, loads: Tensor, speed: float = BIAS_SPEED) -> None:
        """Move the selection bias down where an expert is overloaded and up where it is not (arXiv 2408.15664).

        Args:
            loads: assignments per expert in the last step.
            speed: change per step.
        """
        self.bias += speed * torch.sign(loads.float().mean() - loads)


def limit_groups(scores: Tensor, groups: int, kept: int) -> Tensor:
    """Rule out all experts but those of the `kept` groups whose two best scores sum highest.

    Args:
        scores: [tokens, experts].
        groups: number of groups; divides the experts.
        kept: groups a token may visit.
    """
    grouped = scores.unflatten(-1, (groups, -1))  # [tokens, groups, experts of a group]
    best_two = grouped.topk(min(2, grouped.shape[-1]), dim=-1).values.sum(dim=-1)  # [tokens, groups]
    barred = torch.ones_like(best_two, dtype=torch.bool).scatter(1, top_k(best_two, kept), False)
    return grouped.masked_fill(barred[..., None], -torch.inf).flatten(-2)


class SwiGLU(nn.Module):
    """A dense feed-forward layer, and the shared experts of a mixture: all of them are one wider layer."""

    def __init__(self, hidden: int, inner: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.gate_up = nn.Parameter(torch.randn(2 * inner, hidden) / hidden**0.5)
        self.down = nn.Parameter(torch.randn(hidden, inner) / inner**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return down(silu(gate x) * up x)."""
        return F.linear(swiglu(F.linear(x, self.gate_up), self.clamp), self.down)


def swiglu(gate_up: Tensor, clamp: float | None = None) -> Tensor:
    """Return silu(gate) * up; with a clamp, gate <= clamp and up in [-clamp, clamp] (DeepSeek-V4).

    Args:
        gate_up: gate and up side by side, [..., 2 inner].
        clamp: the limit, or None.
    """
    gate, up = gate_up.chunk(2, dim=-1)
    if clamp is not None:
        gate, up = gate.clamp(max=clamp), up.clamp(-clamp, clamp)
    return F.silu(gate) * up


class Experts(nn.Module):
    """Routed experts: [experts, 2 inner, hidden] and [experts, hidden, inner], multiplied block by block."""

    def __init__(self, hidden: int, ffn: MoE, multiply: Multiply | None = None) -> None:
        super().__init__()
        self.clamp = ffn.clamp
        self.multiply = multiply
        self.gate_up = nn.Parameter(torch.randn(ffn.experts, 2 * ffn.inner, hidden) / hidden**0.5)
        self.down = nn.Parameter(torch.randn(ffn.experts, hidden, ffn.inner) / ffn.inner**0.5)

    def forward(self, x: Tensor, experts: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of the chosen experts for each token.

        Args:
            x: [tokens, hidden].
            experts: chosen experts, [tokens, top_k].
            weights: of the same shape.
        """
        by_expert, order = experts.reshape(-1).sort(stable=True)
        ends = torch.searchsorted(by_expert, torch.arange(len(self.down), device=x.device), right=True)
        token = order // experts.shape[1]  # the token of each sorted assignment
        weight = weights.reshape(-1)[order, None].to(x.dtype)
        multiply = self._loop if self._way(x) == "loop" else self._kernel
        return multiply(x, token, weight, ends)

    def _way(self, x: Tensor) -> Multiply:
        # On a CPU a block at a time stays in the cache; on a GPU one launch for all blocks wins. The kernel wants
        # rows of whole 16 bytes.
        whole = all(size * x.element_size() % 16 == 0 for size in self.down.shape[1:])
        return self.multiply or ("kernel" if x.is_cuda and whole else "loop")

    def _loop(self, x: Tensor, token: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
        output = torch.zeros_like(x)
        sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
        # unbind, not an index per expert: its backward pass writes each expert's gradient once
        parts = zip(token.split(sizes), weight.split(sizes), self.gate_up.unbind(), self.down.unbind(), strict=True)
        for rows, w, gate_up, down in parts:
            if torch.compiler.is_compiling() or len(rows):
                # the weight multiplies the inner vector, which is narrower than the output
                inner = swiglu(F.linear(x.index_select(0, rows), gate_up), self.clamp) * w
                output = output.index_add_(0, rows, F.linear(inner, down))
        return output

    def _kernel(self, x: Tensor, token: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
        ends = ends.to(torch.int32)
        inner = swiglu(F.grouped_mm(x[token], self.gate_up.transpose(1, 2), offs=ends), self.clamp) * weight
        return torch.zeros_like(x).index_add(0, token, F.grouped_mm(inner, self.down.transpose(1, 2), offs=ends))


class MoELayer(nn.Module):
    """Gate, routed experts and shared experts: the feed-forward part of a transformer layer."""

    def __init__(self, hidden: int, ffn: MoE, vocabulary: int | None = None, multiply: Multiply | None = None) -> None:
        super().__init__()
        if left := extras(ffn).keys() - {"shared_gate", "shared_inner"}:
            raise ValueError(f"no running layer for experts with {', '.join(sorted(left))}")
        self.hidden, self.ffn, self.vocabulary = hidden, ffn, vocabulary
        self.gate = Gate(hidden, ffn, vocabulary)
        self.experts = Experts(hidden, ffn, multiply)
        self.shared = SwiGLU(hidden, ffn.shared * (ffn.shared_inner or ffn.inner), ffn.clamp) if ffn.shared else None
        self.shared_gate = nn.Linear(hidden, 1, bias=False) if ffn.shared_gate else None

    def forward(self, x: Tensor, token_ids: Tensor | None = None) -> Tensor:
        """Return the layer's output, without the residual.

        Args:
            x: [..., hidden]; no tokens give no output.
            token_ids: [...], for a gate by token table.

        Raises:
            ValueError: a width that doesn't fit, NaN, or token ids missing or not one per token.
        """
        if x.shape[-1] != self.hidden:
            raise ValueError(f"input of shape {tuple(x.shape)} should end in hidden = {self.hidden}")
        tokens = x.reshape(-1, self.hidden)  # [tokens, hidden]
        choice = self.gate(tokens, token_ids)
        output = self.experts(tokens, choice.experts, choice.weights)
        if self.shared is not None:
            shared = self.shared(tokens)
            output = output + (shared if self.shared_gate is None else self.shared_gate(tokens).sigmoid() * shared)
        return output.reshape(x.shape)
