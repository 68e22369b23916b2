"""Expert parallelism: the experts of a layer spread over processes, tokens sent to them and back.

Every rank holds its own tokens, the whole gate, the shared experts and E/R of the routed experts. A layer is then two
all-to-alls: dispatch sends a copy of each token to the rank of each of its experts, combine brings the results back.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException, start_processes

from costlab.arch import MoE
from costlab.nn.moe import Experts, MoELayer, Multiply
from costlab.nn.processes import start_method

#: A rank that waits longer than this for the others fails.
_TIMEOUT = timedelta(seconds=60)

#: Torch imports it, with all of SymPy, at a process's first backward pass.
_LOADED_BY_BACKWARD = "torch.fx.experimental.symbolic_shapes"


class _AllToAll(torch.autograd.Function):
    """Send `sent[r]` rows to each rank r and receive `received[r]`; gradients travel the other way."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: Any) -> Tensor:
        ctx.splits, ctx.group = (received, sent), group
        return _exchange(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        sent, received = ctx.splits
        return _exchange(grads[0], sent, received, ctx.group), None, None, None


def _exchange(rows: Tensor, sent: list[int], received: list[int], group: Any) -> Tensor:
    out = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), received, sent, group=group)
    return out


@dataclass(frozen=True)
class Traffic:
    """Rows that one rank sent to other ranks."""

    dispatched: int  # rows of tokens sent to their experts
    combined: int  # rows of results sent back
    hidden: int  # elements of a row

    def bytes(self, dispatch: float = 4.0, combine: float = 4.0) -> float:
        """Return the bytes sent at so many bytes per element: 4 is the FP32 of this code, 1 FP8, 2 BF16."""
        return self.hidden * (self.dispatched * dispatch + self.combined * combine)


class ExpertParallel(nn.Module):
    """One rank's part of an MoE layer; all ranks of the group must call it together."""

    def __init__(self, layer: MoELayer, group: Any = None) -> None:
        super().__init__()
        self.group, self.ffn = group, layer.ffn
        self.ranks, self.rank = dist.get_world_size(group), dist.get_rank(group)
        self.gate, self.shared = layer.gate, layer.shared
        self.experts = _own_experts(layer, self.ranks, self.rank)
        self.traffic = Traffic(0, 0, layer.hidden)

    def forward(self, x: Tensor, token_ids: Tensor | None = None) -> Tensor:
        """Return the layer's output for this rank's tokens, [tokens, hidden].

        Args:
            x: this rank's tokens, [tokens, hidden]; ranks may hold different numbers, also none.
            token_ids: [tokens], for a gate by token table.
        """
        choice = self.gate(x, token_ids)
        order = choice.experts.reshape(-1).argsort(stable=True)  # by expert, hence by rank
        token = order // self.ffn.top_k
        results = self._remote(x[token], choice.experts)
        weighted = results * choice.weights.reshape(-1)[order, None].to(x.dtype)
        output = torch.zeros_like(x).index_add(0, token, weighted)
        return output if self.shared is None else output + self.shared(x)

    def _remote(self, rows: Tensor, experts: Tensor) -> Tensor:
        """Have each row computed where its expert lives; rows are sorted by expert, and come back in that order."""
        loads = torch.bincount(experts.reshape(-1), minlength=self.ffn.experts).reshape(self.ranks, -1)
        arriving = _exchange(loads, [1] * self.ranks, [1] * self.ranks, self.group)  # [from rank, my expert]
        sent, received = loads.sum(dim=1).tolist(), arriving.sum(dim=1).tolist()
        inbox = _AllToAll.apply(rows, sent, received, self.group)
        outbox = self._compute(inbox, arriving)
        self.traffic = Traffic(sum(sent) - sent[self.rank], sum(received) - received[self.rank], rows.shape[1])
        return _AllToAll.apply(outbox, received, sent, self.group)

    def _compute(self, inbox: Tensor, arriving: Tensor) -> Tensor:
        mine = torch.arange(arriving.shape[1]).repeat(self.ranks)  # rows arrive by rank, then by expert
        expert = mine.repeat_interleave(arriving.reshape(-1))[:, None]
        return self.experts(inbox, expert, torch.ones_like(expert, dtype=inbox.dtype))


def _own_experts(layer: MoELayer, ranks: int, rank: int) -> Experts:
    check_divides(layer.ffn.experts, ranks)
    count = layer.ffn.experts // ranks
    whole = layer.experts
    own = Experts(layer.hidden, replace(layer.ffn, experts=count, top_k=1, routing=_plain(layer.ffn)), whole.multiply)
    own.to(whole.down)  # its dtype and device
    with torch.no_grad():
        for name, weight in own.named_parameters():
            weight.copy_(getattr(whole, name)[rank * count : (rank + 1) * count])
    return own


def _plain(ffn: MoE) -> Any:
    return replace(ffn.routing, groups=1, groups_kept=1)  # the whole layer's groups need not divide a part of it


def check_divides(experts: int, ranks: int) -> None:
    """Raise unless each rank gets the same number of experts.

    Raises:
        ValueError: experts that don't divide among the ranks.
    """
    if ranks < 1 or experts % ranks:
        divisors = [r for r in range(1, experts + 1) if experts % r == 0]
        raise ValueError(f"{experts} experts don't divide among {ranks} ranks; ranks could be one of {divisors}")


@dataclass(frozen=True)
class ParallelRun:
    """What several processes computed together, put back in order."""

    output: Tensor  # of all tokens, [tokens, hidden]
    traffic: tuple[Traffic, ...]  # rows that each rank sent
    # of the layer's parameters by name, and of the input as "x"; empty without a backward pass
    gradients: Mapping[str, Tensor]


def run_parallel(
    layer: MoELayer,
    x: Tensor,
    ranks: int,
    token_ids: Tensor | None = None,
    upstream: Tensor | None = None,
) -> ParallelRun:
    """Run a layer over several processes on this machine, each with its share of the tokens and of the experts.

    Args:
        layer: the whole layer.
        x: all tokens, [tokens, hidden].
        ranks: processes; must divide the experts.
        token_ids: [tokens], for a gate by token table.
        upstream: the gradient of the output, [tokens, hidden]; None skips the backward pass.

    Raises:
        ValueError: experts that don't divide among the ranks.
        RuntimeError: a process that fails; the message holds its traceback.
    """
    check_divides(layer.ffn.experts, ranks)
    with tempfile.TemporaryDirectory() as name:
        job = {"state": layer.state_dict(), "x": x.detach(), "token_ids": token_ids, "upstream": upstream}
        torch.save(job, Path(name) / "job.pt")
        spec = (layer.hidden, layer.ffn, layer.vocabulary, layer.experts.multiply)
        try:
            how = start_method([__name__, _LOADED_BY_BACKWARD])
            start_processes(_work, args=(ranks, name, spec), nprocs=ranks, start_method=how)
        except ProcessException as error:
            raise RuntimeError(f"a rank of {ranks} failed: {error}") from error
        parts = [torch.load(Path(name) / f"{rank}.pt") for rank in range(ranks)]
    gradients = {k: _join(k, [p["gradients"][k] for p in parts]) for k in parts[0]["gradients"]}
    return ParallelRun(torch.cat([p["output"] for p in parts]), tuple(Traffic(*p["traffic"]) for p in parts), gradients)


def _join(name: str, parts: list[Tensor]) -> Tensor:
    """Experts and tokens are spread over ranks; gate and shared experts are copies, whose gradients add up."""
    spread = name == "x" or name.startswith("experts.")
    return torch.cat(parts) if spread else torch.stack(parts).sum(dim=0)


def _work(rank: int, ranks: int, folder: str, spec: tuple[int, MoE, int | None, Multiply | None]) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all ranks are on this machine
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks, timeout=_TIMEOUT)
    job = torch.load(Path(folder) / "job.pt")
    layer = MoELayer(*spec)
    layer.load_state_dict(job["state"], assign=True)  # in the dtypes of the layer that was given
    torch.save(_part(ExpertParallel(layer), job, rank, ranks), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def _part(layer: ExpertParallel, job: Mapping[str, Any], rank: int, ranks: int) -> Mapping[str, Any]:
    x, token_ids, upstream = (_share(job[name], rank, ranks) for name in ("x", "token_ids", "upstream"))
    x.requires_grad_(upstream is not None)
    output = layer(x, token_ids)
    gradients = {}
    if upstream is not None:
        output.backward(upstream)
        gradients = {name: p.grad for name, p in layer.named_parameters()} | {"x": x.grad}
    t = layer.traffic
    return {"output": output.detach(), "traffic": (t.dispatched, t.combined, t.hidden), "gradients": gradients}


def _share(tensor: Tensor | None, rank: int, ranks: int) -> Any:
    return None if tensor is None else tensor.tensor_split(ranks)[rank].clone()
